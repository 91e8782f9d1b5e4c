"""GPUs of Apple. Flambeau does not compute on them."""

__all__ = ["is_available", "is_built", "is_macos13_or_newer", "is_macos_or_newer"]


def is_built() -> bool:
    """False."""
    return False


def is_available() -> bool:
    """False."""
    return False


def is_macos_or_newer(major: int, minor: int) -> bool:
    """Whether the system is macOS of a version or newer, as far as it matters to a GPU that is not used: False."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """is_macos_or_newer(13, minor)."""
    return is_macos_or_newer(13, minor)
