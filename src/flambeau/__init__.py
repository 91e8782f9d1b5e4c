"""Flambeau: a deep-learning framework with PyTorch's interface and its own code generator."""

from flambeau import _core, autograd, ops
from flambeau.ops.names import namespace
from flambeau.version import __version__

globals().update({n: getattr(_core, n) for n in dir(_core) if not n.startswith("_")})
globals().update(namespace())

__all__ = ["__version__", "autograd", "ops"]
