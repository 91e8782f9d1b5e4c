"""Settings of the process that programs make at their start."""

import warnings

from flambeau import _core, _tensor_types
from flambeau._tensor_types import TensorType, make_types

__all__ = [
    "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_float32_matmul_precision",
    "get_num_interop_threads", "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
    "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal",
    "set_num_interop_threads", "set_warn_always", "use_deterministic_algorithms",
]  # fmt: skip

_DEBUG_MODES = ("default", "warn", "error")
_PRECISIONS = ("highest", "high", "medium")
_chosen = {"deterministic": 0, "precision": "highest", "interop": 1, "warn_always": False}


# ---- deterministic algorithms: there are no others, so these only remember what was asked for


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Asks for the same results from run to run. Flambeau gives them always, so this only remembers the wish.

    Args:
        mode: whether they are wanted.
        warn_only: whether operators without such an algorithm would only warn; there are none.
    """
    if not isinstance(mode, bool):
        raise TypeError(
            f"_set_deterministic_algorithms(): argument 'mode' (position 1) must be bool, not {type(mode).__name__}"
        )
    _chosen["deterministic"] = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms() was given."""
    return _chosen["deterministic"] > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether use_deterministic_algorithms() was given warn_only."""
    return _chosen["deterministic"] == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same wish as a number or word: 0 `default`, 1 `warn`, 2 `error`."""
    if not isinstance(debug_mode, int | str):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got " + debug_mode
            )
        debug_mode = _DEBUG_MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    _chosen["deterministic"] = debug_mode


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: see set_deterministic_debug_mode()."""
    return _chosen["deterministic"]


# ---- precision, threads, warnings


def set_float32_matmul_precision(precision: str) -> None:
    """How much precision products in float32 may give up: `highest`, `high`, `medium`. The CPU gives up none."""
    if precision not in _PRECISIONS:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setFloat32MatmulPrecision call "
            "has no effect.",
            stacklevel=2,
        )
        return
    _chosen["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision() was given."""
    return _chosen["precision"]


def set_num_interop_threads(threads: int) -> None:
    """Threads that run operators beside each other: taken and not needed, operators run one after another."""
    if threads <= 0:
        raise RuntimeError("Expected number of threads to be positive")
    _chosen["interop"] = threads


def get_num_interop_threads() -> int:
    """What set_num_interop_threads() was given."""
    return _chosen["interop"]


def set_flush_denormal(mode: bool) -> bool:
    """Asks for denormal numbers to become 0. Flambeau keeps them.

    Returns:
        False: it is not supported.
    """
    return False


def set_warn_always(b: bool, /) -> None:
    """Whether warnings that come once by default come every time."""
    _chosen["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What set_warn_always() was given."""
    return _chosen["warn_always"]


def set_default_tensor_type(t: TensorType | str, /) -> None:
    """Sets the default dtype by an old name, such as `torch.DoubleTensor`. See also set_default_dtype().

    Raises:
        TypeError: the name is of no floating-point type, or of one on a GPU.
    """
    if isinstance(t, str):
        place, _, name = t.rpartition(".")
        known = vars(_tensor_types) if place == "torch" else make_types(cuda=True) if place == "torch.cuda" else {}
        if not isinstance(known.get(name), TensorType):
            raise TypeError(f"invalid type name: '{t}'. Use one such as 'torch.DoubleTensor'")
        t = known[name]
    if not isinstance(t, TensorType) or not t.dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    if t.is_cuda:
        t()  # raises
    _core.set_default_dtype(t.dtype)
