"""Checkpoints: PyTorch's zip format both ways, the format before it for reading, and safetensors."""

from flambeau.serialization.constructors import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from flambeau.serialization.reading import load
from flambeau.serialization.writing import save

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save"]
