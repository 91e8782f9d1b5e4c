"""Mixed precision: matrix products in 16 bits, delicate functions in 32, losses scaled where float16 needs it."""

from flambeau import _suggest

from . import autocast_mode, grad_scaler
from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = [
    "GradScaler", "autocast", "autocast_mode", "custom_bwd", "custom_fwd", "grad_scaler", "is_autocast_available",
]  # fmt: skip
__getattr__ = _suggest.suggesting(__name__)
