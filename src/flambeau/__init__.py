"""Flambeau: a deep-learning framework with PyTorch's interface and its own code generator."""

import importlib
import math
from typing import Any

from flambeau import _core, _fork, autograd, ops, version
from flambeau import tensor as _tensor
from flambeau._core import (
    Generator,
    Size,
    Tensor,
    UntypedStorage,
    as_tensor,
    default_generator,
    device,
    dtype,
    from_dlpack,
    from_numpy,
    frombuffer,
    get_default_device,
    get_default_dtype,
    get_num_threads,
    layout,
    memory_format,
    promote_types,
    set_default_device,
    set_default_dtype,
    set_num_threads,
    tensor,
)
from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.ops.names import namespace as _namespace
from flambeau.version import __version__

# dtypes, layouts and memory formats; then the operators.
globals().update({n: v for n, v in vars(_core).items() if isinstance(v, dtype | layout | memory_format)})
globals().update(_namespace())

pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
newaxis = None

# What is imported when it is first asked for: modules, and names by the module that has them.
_SUBMODULES = (
    "_C", "_dynamo", "_higher_order_ops", "_utils", "accelerator", "amp", "backends", "compiler", "cpu", "cuda",
    "distributed", "distributions", "fft", "func", "futures", "fx", "hub", "jit", "library", "linalg", "masked", "mps",
    "nn", "optim", "overrides", "random", "serialization", "signal", "sparse", "special", "storage", "testing",
    "torch_version", "types", "utils", "xpu",
)  # fmt: skip
_ELSEWHERE = {
    "_more": (
        "alias_copy", "as_strided_copy", "asarray", "dequantize", "detach", "detach_", "detach_copy", "diagonal_copy",
        "expand_copy", "frobenius_norm", "get_device", "index_put_", "narrow_copy", "nuclear_norm", "permute_copy",
        "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy", "transpose_copy",
        "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_as_complex_copy", "view_as_real_copy", "view_copy",
    ),
    "_kinds": (
        "_assert", "_check", "_shape_as_tensor", "get_device_module",
        "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size",
        "is_signed", "is_storage", "is_tensor", "numel", "typename",
    ),
    "_printing": ("set_printoptions",),
    "_settings": (
        "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_float32_matmul_precision",
        "get_num_interop_threads", "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
        "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision",
        "set_flush_denormal", "set_num_interop_threads", "set_warn_always", "use_deterministic_algorithms",
    ),
    "_tensor_types": (
        "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
        "IntTensor", "LongTensor", "ShortTensor",
    ),
    "amp.autocast_mode": (
        "autocast", "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
        "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled", "set_autocast_dtype",
    ),
    "amp.grad_scaler": ("GradScaler",),
    "codegen.resolve": ("stats",),
    "compiler": ("compile",),
    "cuda": ("Event", "OutOfMemoryError", "Stream"),
    "batching.vmap": ("vmap",),
    "futures": ("Future",),
    "nn._native": (
        "adaptive_max_pool1d", "affine_grid_generator", "alpha_dropout", "alpha_dropout_", "avg_pool1d", "batch_norm",
        "binary_cross_entropy_with_logits", "channel_shuffle", "conv_tbc", "convolution", "cosine_embedding_loss",
        "cosine_similarity", "ctc_loss", "embedding_bag", "embedding_renorm_", "feature_alpha_dropout",
        "feature_dropout", "gru", "gru_cell", "hinge_embedding_loss", "instance_norm", "kl_div", "lstm", "lstm_cell",
        "margin_ranking_loss", "max_pool1d_with_indices", "native_channel_shuffle", "native_dropout",
        "norm_except_dim", "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss",
        "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell", "triplet_margin_loss",
    ),
    "nn._grid": ("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"),
    "ops": ("op",),
    "overrides": ("DisableTorchFunction", "DisableTorchFunctionSubclass"),
    "random": ("get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"),
    "serialization": ("load", "save"),
    "storage": (
        "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage",
        "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage", "LongStorage", "ShortStorage", "TypedStorage",
    ),
    "types": ("finfo", "iinfo"),
}  # fmt: skip
_WHERE = {name: module for module, names in _ELSEWHERE.items() for name in names}

__all__ = sorted(
    {n for n, v in globals().items() if not n.startswith("_") and type(v).__name__ != "module"} - {"Any"}
    | {n for n in _WHERE if not n.startswith("_")}
)


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for; a name that does not exist is answered with the closest one."""
    if name in _WHERE:
        value = getattr(importlib.import_module(f"flambeau.{_WHERE[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"flambeau.{name}")
    elif name.startswith("_foreach_"):
        value = importlib.import_module("flambeau._foreach").make(name)
    elif name in _namespace():  # an operator that was added later
        value = _namespace()[name]
    else:
        from flambeau._suggest import missing

        raise missing("flambeau", name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    shown = {n for n in globals() if not n.startswith("_") or n.startswith("__")} | {*_WHERE, *_SUBMODULES}
    return sorted(shown - {"Any", "functional_ns", "importlib", "math"})
