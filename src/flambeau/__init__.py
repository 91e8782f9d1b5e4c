"""Flambeau: a deep-learning framework with PyTorch's interface and its own code generator."""

from flambeau.version import __version__

__all__ = ["__version__"]
