"""NVIDIA's library of convolutions. It is not used; programs may set what they set elsewhere."""

from contextlib import AbstractContextManager

from ._flags import replaced

__all__ = [
    "allow_tf32", "benchmark", "benchmark_limit", "deterministic", "enabled", "flags", "is_acceptable",
    "is_available", "version",
]  # fmt: skip

enabled = True
benchmark = False
benchmark_limit: int | None = None
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: no cuDNN is used."""
    return False


def version() -> int | None:
    """None: no cuDNN is used."""
    return None


def is_acceptable(tensor: object) -> bool:
    """Whether cuDNN computes with a tensor: with none."""
    return False


def flags(
    enabled: bool = False, benchmark: bool = False, benchmark_limit: int = 10, deterministic: bool = False,
    allow_tf32: bool = True,
) -> AbstractContextManager[None]:  # fmt: skip
    """Other settings inside a `with` block."""
    return replaced(
        globals(), enabled=enabled, benchmark=benchmark, benchmark_limit=benchmark_limit, deterministic=deterministic,
        allow_tf32=allow_tf32,
    )  # fmt: skip
