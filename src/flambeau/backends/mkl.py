"""Intel's library of linear algebra. It is not used: kernels are generated."""

__all__ = ["is_available"]


def is_available() -> bool:
    """False: no MKL is used."""
    return False
