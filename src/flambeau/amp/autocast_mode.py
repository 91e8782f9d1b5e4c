"""`autocast`: inside its block matrix products run in 16 bits and delicate functions in float32.

A call is seen before it runs, and its floating-point arguments are converted by the function's name.
"""

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import _core
from flambeau._core import Tensor

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

# Products, which gain from 16 bits and add up in more.
LOWER = frozenset({
    "__matmul__", "addbmm", "addmm", "baddbmm", "bmm", "chain_matmul", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "einsum", "inner", "linalg_multi_dot", "linalg_vecdot", "linear", "matmul",
    "mkldnn_rnn_layer", "mm", "multi_dot", "scaled_dot_product_attention", "tensordot",
})  # fmt: skip
# Functions whose results 16 bits would spoil, or that have none of 16 bits; as are those of `fft`.
FLOAT32 = frozenset({
    "adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "cdist", "cholesky", "cholesky_inverse", "cholesky_solve",
    "cosine_embedding_loss", "cross_entropy", "ctc_loss", "geqrf", "grid_sample", "hinge_embedding_loss", "huber_loss",
    "inverse", "kl_div", "l1_loss", "linalg_cholesky", "linalg_cholesky_ex", "linalg_cond", "linalg_eig", "linalg_eigh",
    "linalg_eigvals", "linalg_eigvalsh", "linalg_householder_product", "linalg_inv", "linalg_inv_ex", "linalg_lstsq",
    "linalg_matrix_rank", "linalg_qr", "linalg_solve", "linalg_svd", "linalg_svdvals", "linalg_tensorinv",
    "linalg_tensorsolve", "lu_solve", "margin_ranking_loss", "max_pool3d", "max_unpool2d", "max_unpool3d", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nanquantile", "nll_loss", "orgqr", "ormqr", "pinverse",
    "poisson_nll_loss", "polar", "prod", "qr", "quantile", "smooth_l1_loss", "soft_margin_loss", "stft", "svd", "trace",
    "triplet_margin_loss", "view_as_complex",
})  # fmt: skip
# Functions of several tensors, which all take the widest dtype among them.
WIDEST = frozenset({"cat", "index_copy", "stack"})

_DEFAULTS = {"cpu": _core.bfloat16, "cuda": _core.float16}
_innermost = threading.local()  # by kind of device: the block that holds
_dtypes = dict(_DEFAULTS)


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a kind of device."""
    return _core.device(device_type).type in _DEFAULTS


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether calls on a kind of device (a GPU where none is named) are converted on this thread."""
    block = getattr(_innermost, device_type or "cuda", None)
    return block is not None and block._enabled


def get_autocast_dtype(device_type: str) -> _core.dtype:
    """The dtype that products run in."""
    return _dtypes[_known(device_type)]


def set_autocast_dtype(device_type: str, dtype: _core.dtype) -> None:
    """Sets the dtype that products run in where a block names none."""
    _dtypes[_known(device_type)] = dtype


def get_autocast_gpu_dtype() -> _core.dtype:
    """The dtype that products on a GPU run in."""
    return _dtypes["cuda"]


def get_autocast_cpu_dtype() -> _core.dtype:
    """The dtype that products on the CPU run in."""
    return _dtypes["cpu"]


def is_autocast_cpu_enabled() -> bool:
    """Whether calls on the CPU are converted on this thread."""
    return is_autocast_enabled("cpu")


def is_autocast_cache_enabled() -> bool:
    """Whether converted weights are kept: they are not, a conversion costs little beside the product."""
    return False


def _known(device_type: str) -> str:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    kind = _core.device(device_type).type
    if kind not in _DEFAULTS:
        raise RuntimeError(
            f"User specified an unsupported autocast device_type '{device_type}' [in autocast: Flambeau has "
            f"{', '.join(_DEFAULTS)}]. Use device_type='cpu'"
        )
    return kind


def _converted(value: Any, dtype: _core.dtype, rounded: bool) -> Any:
    """Floating-point tensors in another dtype, float64 as it is; `rounded`: those of 16 bits only."""
    if isinstance(value, Tensor):
        narrow = value.dtype in (_core.float16, _core.bfloat16)
        return value.to(dtype) if narrow or (not rounded and value.dtype == _core.float32) else value
    if type(value) in (list, tuple):
        return type(value)(_converted(item, dtype, rounded) for item in value)
    return value


def _widest(args: tuple) -> _core.dtype | None:
    tensors = [t for arg in args for t in (arg if isinstance(arg, list | tuple) else (arg,)) if isinstance(t, Tensor)]
    if any(t.dtype == _core.float32 for t in tensors):
        return _core.float32
    return None


def _rule(name: str, args: tuple, dtype: _core.dtype) -> tuple[_core.dtype | None, bool]:
    """The dtype that a function's arguments take, and whether only those of 16 bits do."""
    if name in LOWER:
        return dtype, False
    if name in FLOAT32 or name.startswith("fft_"):
        return _core.float32, True
    return (_widest(args), True) if name in WIDEST else (None, False)


class autocast:
    """Runs products in 16 bits and delicate functions in float32, in a `with` block or a decorated function.

    Args:
        device_type: `cpu` or `cuda`. Without a GPU, `cuda` warns and changes nothing.
        dtype: what products run in; bfloat16 on the CPU where none is given.
        enabled: False: the block runs as it stands, also inside another that is enabled.
        cache_enabled: taken and not needed.

    Example:
        >>> with torch.autocast("cpu"):
        ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        torch.bfloat16
    """

    def __init__(
        self, device_type: str, dtype: _core.dtype | None = None, enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:  # fmt: skip
        self.device = _known(device_type)
        self.fast_dtype = _dtypes[self.device] if dtype is None else dtype
        if enabled and self.device == "cuda" and _core.cuda_driver()["problem"]:
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in (_core.float16, _core.bfloat16):
            warnings.warn(
                f"In {self.device.upper()} autocast, but the target dtype is not supported. Disabling autocast. "
                "Supported dtypes are torch.bfloat16 and torch.float16",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._around: list[autocast | None] = []

    def __enter__(self) -> "autocast":
        self._around.append(getattr(_innermost, self.device, None))
        setattr(_innermost, self.device, self)
        if self._enabled:
            _core.push_mode(self._run)
        return self

    def __exit__(self, *exc: object) -> None:
        setattr(_innermost, self.device, self._around.pop())
        if self._enabled:
            _core.pop_mode()

    def _run(self, function: Any, types: tuple, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Sees every call of the block; those that belong to a block inside it are left to that."""
        dtype, rounded = _rule(getattr(function, "__name__", ""), args, self.fast_dtype)
        if dtype is None or getattr(_innermost, self.device) is not self:
            return function(*args, **kwargs)
        kwargs = {name: _converted(value, dtype, rounded) for name, value in kwargs.items()}
        return function(*(_converted(value, dtype, rounded) for value in args), **kwargs)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: _core.dtype | None = None
) -> Callable[..., Any]:
    """For `forward` of an `autograd.Function`: `backward`, decorated with custom_bwd, runs in the same mode.

    Args:
        fwd: the method.
        device_type: the kind of device.
        cast_inputs: inside autocast, floating-point arguments are converted to this dtype and autocast is off.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def inside(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        enabled = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        args = _converted(args, cast_inputs, rounded=False)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *args, **{k: _converted(v, cast_inputs, rounded=False) for k, v in kwargs.items()})

    return inside


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """For `backward` of an `autograd.Function`: runs in the mode that custom_fwd found.

    Args:
        bwd: the method.
        device_type: the kind of device.
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def inside(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, dtype=ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(ctx, *args, **kwargs)

    return inside
