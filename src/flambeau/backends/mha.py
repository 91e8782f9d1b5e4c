"""The quick way through attention in inference."""

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_enabled = True


def get_fastpath_enabled() -> bool:
    """What set_fastpath_enabled() was given."""
    return _enabled


def set_fastpath_enabled(value: bool) -> None:
    """Whether attention may take a quicker way in inference; it has one way, which is taken always."""
    global _enabled
    _enabled = bool(value)
