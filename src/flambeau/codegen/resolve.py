"""`resolve(key) -> address`: a kernel from the wheel's pack, else from the user's cache, else generated.

A key is `op|variant|attrs|dtypes|classes|level` (see docs/architecture.md). Programs come from a provider that the
table of operators registers, so this module knows nothing of operators; families of kernels register how a kind of
program is emitted. Looking up a known key generates nothing and imports no LLVM.
"""

import atexit
import importlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from . import target as targets
from .arena import Arena
from .cache import Cache
from .digest import sources_digest
from .jit import compile_assembly, compile_code
from .link import Code
from .module import Module
from .pack import Pack
from .target import Target

# type of a program -> module with `emit(module, program, classes, name)`
FAMILIES: dict[str, str] = {
    "ScalarProgram": "flambeau.codegen.elementwise",
    "BandKernel": "flambeau.codegen.bands",
    "RunsKernel": "flambeau.codegen.runs",
    "AbreastKernel": "flambeau.codegen.abreast",
    "AheadKernel": "flambeau.codegen.ahead",
    "StaggeredKernel": "flambeau.codegen.staggered",
    "StaggeredRunsKernel": "flambeau.codegen.staggered",
    "RowKernel": "flambeau.codegen.row",
    "LoopProgram": "flambeau.codegen.loop",
}

PACK_FOLDER = Path(__file__).resolve().parent.parent / "_pack"

Provider = Callable[[str, str, str, tuple[str, ...]], Any]


@dataclass
class Stats:
    """How kernels of this process were found."""

    pack_hits: int = 0
    cache_hits: int = 0
    generated: int = 0
    milliseconds: float = 0.0


class _State:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.stats = Stats()
        self.addresses: dict[str, dict[str, int]] = {}
        self.arena: Arena | None = None
        self.cache: Cache | None = None
        self.packs: dict[str, Pack] = {}
        self.provider: Provider | None = None
        self.salt: Callable[[str], str] | None = None


_state = _State()


def set_provider(provider: Provider, salt: Callable[[str], str] | None = None) -> None:
    """Says where programs come from.

    Args:
        provider: `(op, variant, attrs, dtypes) -> program`; attrs is the key's text.
        salt: `(op) -> str`, a text that changes when an operator defined outside the package changes.
    """
    with _state.lock:
        _state.provider, _state.salt = provider, salt


def stats() -> dict[str, float]:
    """Kernels found in the pack, in the cache, and generated; milliseconds spent on all of it."""
    with _state.lock:
        return dict(vars(_state.stats))


def resolve(key: str) -> int:
    """The address of a kernel.

    Raises:
        LookupError: no provider, or no such operator.
    """
    return resolve_family(key, lambda: _compile(key))["k"]


def resolve_family(key: str, make: Callable[[], Code]) -> dict[str, int]:
    """Addresses of all functions that are compiled together under one key.

    Args:
        key: names the family and the target level; found in memory, pack or cache before `make` is called.
        make: compiles the family.
    """
    known = _state.addresses.get(key)
    if known is not None:
        return known
    with _state.lock:
        known = _state.addresses.get(key)
        if known is None:
            begun = time.perf_counter()
            known = _load(_find(key, make))
            _state.addresses[key] = known
            _state.stats.milliseconds += (time.perf_counter() - begun) * 1e3
        return known


def addresses_of(
    family: str, dtype: str, target: Target, names: Iterable[str], module: Callable[[Target, str], Module]
) -> list[int]:
    """Addresses of a family's kernels of one element type, for C++: in the order of names."""
    addresses = resolve_family(f"{family}||{dtype}|c|{target.level}", lambda: compile_code(module(target, dtype)))
    return [addresses[name] for name in names]


def _find(key: str, make: Callable[[], Code]) -> Code:
    salted = key + _salt_of(key)
    code = _pack_of(key).load(salted)
    if code is not None:
        _state.stats.pack_hits += 1
        return code
    if _state.cache is None:
        _state.cache = Cache(digest())
    code = _state.cache.load(salted)
    if code is not None:
        _state.stats.cache_hits += 1
        return code
    code = make()
    _state.stats.generated += 1
    _state.cache.store(salted, code)
    return code


@cache
def digest() -> str:
    """The digest of the sources, as they were when this process first asked."""
    return sources_digest()


def _pack_of(key: str) -> Pack:
    level = key.rsplit("|", 1)[1]
    if level not in _state.packs:
        path = PACK_FOLDER / f"{level}.pack"
        _state.packs[level] = Pack(path, sources_digest(compiler=False) if path.exists() else "")
    return _state.packs[level]


def _salt_of(key: str) -> str:
    text = _state.salt(key.split("|", 1)[0]) if _state.salt else ""
    return f"#{text}" if text else ""


def _load(code: Code) -> dict[str, int]:
    if _state.arena is None:
        _state.arena = Arena()
    base = _state.arena.load(code.blob)
    return {name: base + offset for name, offset in code.symbols.items()}


def _compile(key: str) -> Code:
    return compile_program(*_parts(key))


def ptx(key: str) -> str:
    """The PTX of a kernel: `resolve` for keys whose level is that of a GPU.

    Raises:
        LookupError: no provider, or no such operator.
    """
    return compile_ptx(*_parts(key))


def _parts(key: str) -> tuple[Any, Target, str]:
    """Program, target and classes of a key."""
    op, variant, attrs, dtypes, classes, level = key.split("|")
    if _state.provider is None:
        raise LookupError(f"no program for {key}: no provider of programs is registered")
    program = _state.provider(op, variant, attrs, tuple(dtypes.split(",")))
    return program, targets.by_level(level), classes


def compile_program(program: Any, target: Target, classes: str, name: str = "k") -> Code:
    """The kernel of a program as flat code, its function called `name`."""
    return compile_code(_module(program, target, classes, name))


def compile_ptx(program: Any, target: Target, classes: str, name: str = "k") -> str:
    """The kernel of a program as PTX."""
    return compile_assembly(_module(program, target, classes, name))


def _module(program: Any, target: Target, classes: str, name: str) -> Module:
    module = Module(target, optimize=getattr(program, "is_scalar", False))
    emit_program(module, program, classes, name)
    return module


def emit_program(module: Module, program: Any, classes: str, name: str) -> None:
    """Writes the kernel of a program by its family's emitter."""
    for kind in type(program).__mro__:
        if kind.__name__ in FAMILIES:
            emitter = "flambeau.codegen.ptx" if module.target.is_gpu else FAMILIES[kind.__name__]
            importlib.import_module(emitter).emit(module, program, classes, name)
            return
    raise LookupError(f"no code generator for programs of type {type(program).__name__}")


def compile_lock() -> threading.RLock:
    """Held while kernels are looked up and made; a fork takes it, and so does the end of the process."""
    return _state.lock


def _finish_compiling() -> None:
    """Waits for a thread that is inside of LLVM, whose state goes with the process, and lets no other one in."""
    compile_lock().acquire()


atexit.register(_finish_compiling)
