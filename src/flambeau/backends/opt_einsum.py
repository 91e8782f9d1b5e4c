"""Searching for the best order of contractions."""

from typing import Any

__all__ = ["enabled", "get_opt_einsum", "is_available", "strategy"]

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """False: the library opt_einsum is not used."""
    return False


def get_opt_einsum() -> Any:
    """None: the library opt_einsum is not used."""
    return None
