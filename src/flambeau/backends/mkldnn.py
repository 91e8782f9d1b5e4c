"""Intel's library of network layers, oneDNN. It is not used: kernels are generated."""

from contextlib import AbstractContextManager

from ._flags import replaced

__all__ = ["allow_tf32", "deterministic", "enabled", "flags", "is_available"]

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: no oneDNN is used."""
    return False


def flags(enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True) -> AbstractContextManager[None]:
    """Other settings inside a `with` block."""
    return replaced(globals(), enabled=enabled, deterministic=deterministic, allow_tf32=allow_tf32)
