"""NVIDIA's library of sparse products. It is not used."""

__all__ = ["is_available", "version"]


def is_available() -> bool:
    """False: no cuSPARSELt is used."""
    return False


def version() -> int | None:
    """None: no cuSPARSELt is used."""
    return None
