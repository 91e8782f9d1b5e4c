"""Descriptions of the machines that code is generated for, and which of them this machine is.

Vector widths, register counts and cache sizes are taken from here, never from constants. `FLAMBEAU_TARGET` names
another level than the host's (code for it runs only where the host has it).
"""

import os
import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """What generated code may use.

    Attributes:
        level: name in kernel keys.
        triple, cpu, features: LLVM's names.
        vector_bytes: width of a vector register; 0: code for one element a thread (GPU).
        registers: number of vector registers.
        masks: are there masked loads and stores of every element size?
        scalef: is there an instruction x * 2**n?
        bfloat16: are there dot products of pairs of bfloat16? A feature beside the levels: code that uses it is asked
            for by names of its own.
        l1, l2, l3: bytes of data cache a core sees.
    """

    level: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    masks: bool = False
    scalef: bool = False
    bfloat16: bool = False
    l1: int = 32 << 10
    l2: int = 512 << 10
    l3: int = 8 << 20

    @property
    def is_gpu(self) -> bool:
        return self.triple.startswith("nvptx")

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith("x86_64")

    @property
    def is_arm(self) -> bool:
        return self.triple.startswith("aarch64")


_LINUX = "unknown-linux-gnu"

LEVELS = {
    "x86-64-v3": Target("x86-64-v3", f"x86_64-{_LINUX}", "x86-64-v3", "", 32, 16),
    "x86-64-v4": Target("x86-64-v4", f"x86_64-{_LINUX}", "x86-64-v4", "", 64, 32, masks=True, scalef=True),
    "aarch64": Target("aarch64", f"aarch64-{_LINUX}", "generic", "+neon,+fp-armv8", 16, 32),
    "sm_80": Target("sm_80", "nvptx64-nvidia-cuda", "sm_80", "+ptx70", 0, 0),
    "sm_90": Target("sm_90", "nvptx64-nvidia-cuda", "sm_90", "+ptx78", 0, 0),
}

_V3 = {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets that the kernel of the operating system reports."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def host_level() -> str | None:
    """The highest level this machine runs; None where code cannot be generated for it."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    if machine in ("x86_64", "amd64"):
        flags = cpu_flags()
        return "x86-64-v4" if flags >= _V4 else "x86-64-v3" if flags >= _V3 else None
    return None


@cache
def host() -> Target:
    """The target that kernels of this process are generated for."""
    level = os.environ.get("FLAMBEAU_TARGET") or host_level()
    if level is None:
        raise RuntimeError(
            "flambeau generates code for x86-64 with AVX2 and FMA, and for aarch64; "
            f"this is {platform.machine()} without them"
        )
    if level not in LEVELS:
        raise RuntimeError(f"FLAMBEAU_TARGET={level!r} is not one of {', '.join(LEVELS)}")
    if LEVELS[level].is_gpu:
        return LEVELS[level]
    bfloat16 = level == "x86-64-v4" and "avx512_bf16" in cpu_flags()
    return replace(LEVELS[level], bfloat16=bfloat16, **_cache_sizes())


def by_level(level: str) -> Target:
    """The description of a level; the host's own where it is the host's."""
    if level == host().level:
        return host()
    return LEVELS[level]


def _cache_sizes() -> dict[str, int]:
    """Bytes of data cache by level, where the system tells."""
    sizes = {}
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = ((entry / f).read_text().strip() for f in ("type", "level", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and size.endswith("K") and level in "123":
            sizes[f"l{level}"] = int(size[:-1]) << 10
    return sizes
