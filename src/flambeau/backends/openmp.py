"""OpenMP. It is not used: Flambeau has threads of its own."""

__all__ = ["is_available"]


def is_available() -> bool:
    """False: no OpenMP is used."""
    return False
