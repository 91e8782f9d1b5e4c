"""Object files (ELF64, little endian) linked to flat, position-independent code.

The result needs no relocation wherever it is loaded, so a cached kernel is loaded by copying bytes: no linker and no
LLVM in a warm process. On aarch64 the load address must be a multiple of 4096, as it always is (see `memory arena` in
`codegen.arena`).
"""

import struct
from dataclasses import dataclass

_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA = 1, 2, 4
_SHF_WRITE, _SHF_ALLOC, _SHF_EXEC = 1, 2, 4
_X86_64, _AARCH64 = 62, 183
_STB_GLOBAL, _STT_FUNC = 1, 2


class LinkError(RuntimeError):
    """An object file that cannot be linked to flat code."""


@dataclass
class Code:
    """Flat code: bytes, and the offset of each function in them."""

    blob: bytes
    symbols: dict[str, int]


@dataclass
class _Section:
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    name: str = ""
    base: int = -1  # where it lies in the flat code


@dataclass
class _Symbol:
    name: str
    info: int
    section: int
    value: int


def link(image: bytes) -> Code:
    """The flat code of an object file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise LinkError("not a little-endian ELF64 object")
    machine = struct.unpack_from("<H", image, 18)[0]
    sections = _sections(image)
    blob = _layout(image, sections)
    symbols = _symbols(image, sections)
    for section in sections:
        if section.kind == _SHT_RELA and sections[section.info].base >= 0:
            _relocate(image, section, sections, symbols, blob, machine)
    functions = {
        s.name: sections[s.section].base + s.value
        for s in symbols
        if s.info >> 4 == _STB_GLOBAL and s.info & 15 == _STT_FUNC and s.section
    }
    return Code(bytes(blob), functions)


def _text(image: bytes, offset: int) -> str:
    return image[offset : image.index(b"\0", offset)].decode()


def _sections(image: bytes) -> list[_Section]:
    start = struct.unpack_from("<Q", image, 40)[0]
    size, count, names = struct.unpack_from("<HHH", image, 58)
    sections, offsets = [], []
    for k in range(count):
        name, kind, flags, _, offset, length, link_to, info, align, _ = struct.unpack_from(
            "<IIQQQQIIQQ", image, start + k * size
        )
        sections.append(_Section(kind, flags, offset, length, link_to, info, max(align, 1)))
        offsets.append(name)
    for section, name in zip(sections, offsets, strict=True):
        section.name = _text(image, sections[names].offset + name)
    return sections


def _layout(image: bytes, sections: list[_Section]) -> bytearray:
    """Code first, then constants; unwinding tables are left out, for no exception passes through a kernel."""
    loaded = [s for s in sections if s.kind == _SHT_PROGBITS and s.flags & _SHF_ALLOC and s.name != ".eh_frame"]
    blob = bytearray()
    for section in sorted(loaded, key=lambda s: not s.flags & _SHF_EXEC):
        if section.flags & _SHF_WRITE and section.size:
            raise LinkError(f"writable section {section.name}")
        blob.extend(b"\0" * (-len(blob) % section.align))
        section.base = len(blob)
        blob.extend(image[section.offset : section.offset + section.size])
    return blob


def _symbols(image: bytes, sections: list[_Section]) -> list[_Symbol]:
    symbols = []
    for table in (s for s in sections if s.kind == _SHT_SYMTAB):
        names = sections[table.link].offset
        for offset in range(table.offset, table.offset + table.size, 24):
            name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", image, offset)
            symbols.append(_Symbol(_text(image, names + name), info, section, value))
    return symbols


def _relocate(image, table: _Section, sections, symbols: list[_Symbol], blob: bytearray, machine: int) -> None:
    patch = {_X86_64: _patch_x86, _AARCH64: _patch_aarch64}.get(machine)
    if patch is None:
        raise LinkError(f"machine {machine}")
    base = sections[table.info].base
    for offset in range(table.offset, table.offset + table.size, 24):
        where, info, addend = struct.unpack_from("<QQq", image, offset)
        symbol, kind = symbols[info >> 32], info & 0xFFFFFFFF
        if not 0 < symbol.section < len(sections) or sections[symbol.section].base < 0:
            raise LinkError(f"undefined symbol {symbol.name!r}")
        patch(blob, base + where, sections[symbol.section].base + symbol.value + addend, kind)


def _patch_x86(blob: bytearray, place: int, target: int, kind: int) -> None:
    if kind not in (2, 4):  # PC32, PLT32
        raise LinkError(f"relocation {kind} of x86-64 is not position-independent")
    struct.pack_into("<i", blob, place, target - place)


_LOW_12_SHIFT = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # ADD and LDST8 .. LDST128 _ABS_LO12_NC


def _patch_aarch64(blob: bytearray, place: int, target: int, kind: int) -> None:
    (word,) = struct.unpack_from("<I", blob, place)
    if kind == 261:  # PREL32
        word = (target - place) & 0xFFFFFFFF
    elif kind in (274, 275):  # ADR_PREL_LO21, ADR_PREL_PG_HI21
        distance = target - place if kind == 274 else (target >> 12) - (place >> 12)
        word |= (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5
    elif kind in _LOW_12_SHIFT:
        word |= (target & 0xFFF) >> _LOW_12_SHIFT[kind] << 10
    elif kind in (282, 283):  # JUMP26, CALL26
        word |= (target - place) >> 2 & 0x3FFFFFF
    else:
        raise LinkError(f"relocation {kind} of aarch64 is not position-independent")
    struct.pack_into("<I", blob, place, word)
