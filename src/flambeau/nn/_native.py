"""Functions of `torch` that take their arguments in the order of PyTorch's native operators.

Beside `nn.functional.kl_div(input, target, reduction="mean")` there is `torch.kl_div(input, target, 1)`: programs that
were written against the native operators call these. Each is a function of networks by another name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn import functional as F
from flambeau.nn._recurrence import CELLS
from flambeau.nn._sequence import run_layer
from flambeau.nn.utils.weight_norm import norm_except_dim as _norm_except_dim

Tensor = o.Tensor
_REDUCTIONS = ("none", "mean", "sum")
_BAG_MODES = ("sum", "mean", "max")


def _reduction(number: Any) -> str:
    if number not in (0, 1, 2):
        raise ValueError(f"{number} is not a valid value for reduction")
    return _REDUCTIONS[number]


def _loss(name: str, tensors: int, *options: str) -> Callable:
    """A loss whose reduction is a number."""
    function = getattr(F, name)

    def loss(*args: Any, reduction: int = 1, **kwargs: Any) -> Tensor:
        kwargs.update(zip((*options, "reduction"), args[tensors:], strict=False))
        kwargs["reduction"] = _reduction(kwargs.get("reduction", reduction))
        return function(*args[:tensors], **kwargs)

    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = f"nn.functional.{name}, whose reduction is a number here: 0 none, 1 mean, 2 sum."
    return loss


binary_cross_entropy_with_logits = _loss("binary_cross_entropy_with_logits", 2, "weight", "pos_weight")
cosine_embedding_loss = _loss("cosine_embedding_loss", 3, "margin")
hinge_embedding_loss = _loss("hinge_embedding_loss", 2, "margin")
margin_ranking_loss = _loss("margin_ranking_loss", 3, "margin")
poisson_nll_loss = _loss("poisson_nll_loss", 2, "log_input", "full", "eps")
triplet_margin_loss = _loss("triplet_margin_loss", 3, "margin", "p", "eps", "swap")


def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """nn.functional.kl_div, whose reduction is a number here: 0 none, 1 mean, 2 sum."""
    losses, how = F.kl_div(input, target, reduction="none", log_target=log_target), _reduction(reduction)
    return losses if how == "none" else losses.mean() if how == "mean" else losses.sum()


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """nn.functional.ctc_loss, whose reduction is a number here: 0 none, 1 mean, 2 sum."""
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction), zero_infinity)


# ---- normalisation and dropout


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """nn.functional.batch_norm, its weight and bias first."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    """nn.functional.instance_norm, its weight and bias first."""
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """nn.functional.alpha_dropout; whether it drops is always said."""
    return F.alpha_dropout(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """alpha_dropout, written to its input."""
    return F.alpha_dropout(input, p, train, True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels are dropped, and the others scaled by 1 / (1 - p)."""
    return F.dropout2d(input, p, train) if input.dim() == 4 else F.dropout1d(input, p, train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """nn.functional.feature_alpha_dropout; whether it drops is always said."""
    return F.feature_alpha_dropout(input, p, train)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Dropout and the mask of what is left."""
    if train is False:
        return input.clone(), o.ones_like(input, dtype=o.bool)
    mask = o.empty_like(input, dtype=o.bool).bernoulli_(1 - p)
    return input * mask * (0.0 if p == 1 else 1 / (1 - p)), mask


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dimensions but one; -1 leaves none out."""
    if pow == 2:
        return _norm_except_dim(v, dim)
    others = [d for d in range(v.dim()) if d != dim % v.dim()] if dim != -1 else list(range(v.dim()))
    return o.linalg.vector_norm(v, pow, others, dim != -1)


# ---- embeddings, convolution, pooling


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """nn.functional.embedding_bag, with what PyTorch's own gradient needs.

    Args:
        mode: 0 sum, 1 mean, 2 max.

    Returns:
        The bags; the bag of each index (of sums nothing: they need none); the size of each bag; of max the places.
    """
    out = F.embedding_bag(
        indices, weight, offsets, scale_grad_by_freq=scale_grad_by_freq, mode=_BAG_MODES[mode], sparse=sparse,
        per_sample_weights=per_sample_weights, include_last_offset=include_last_offset, padding_idx=padding_idx,
    )  # fmt: skip
    starts = offsets[:-1] if include_last_offset else offsets
    ends = o.cat([starts[1:], starts.new_tensor([indices.numel()])])
    sizes = ends - starts
    places = o.repeat_interleave(o.arange(len(starts), dtype=indices.dtype), sizes)
    return out, places, sizes, sizes


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Shortens the rows that indices name to `max_norm` at most."""
    with o.no_grad():
        rows = indices.reshape(-1).unique()
        kept = input[rows]
        length = o.linalg.vector_norm(kept, norm_type, 1, True)
        input[rows] = o.where(length > max_norm, kept * (max_norm / (length + 1e-7)), kept)
    return input


def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """A convolution, or a transposed one, of as many dimensions as its weight has."""
    kind = f"{weight.dim() - 2}d"
    if transposed:
        run = getattr(o, f"conv_transpose{kind}")
        return run(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return getattr(o, f"conv{kind}")(input, weight, bias, stride, padding, dilation, groups)


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """nn.functional.max_pool1d with the places of the maxima."""
    return F.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode, True)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """nn.functional.adaptive_max_pool1d with the places of the maxima."""
    return F.adaptive_max_pool1d(input, output_size, True)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """nn.functional.affine_grid."""
    return F.affine_grid(theta, size, align_corners)


# ---- recurrent networks


def _layers(
    mode: str, data: Tensor, sizes: list[int], hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    directions = 1 + bidirectional
    each = len(params) // (num_layers * directions)
    names = ["w_ih", "w_hh"] + ["b_ih", "b_hh"] * has_biases + ["w_hr"] * (each % 2)
    finals: list[tuple[Tensor, ...]] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            i = layer * directions + direction
            given = dict(zip(names, params[i * each : (i + 1) * each], strict=True))
            weights = {"b_ih": None, "b_hh": None, "w_hr": None, **given}
            out, final = run_layer(mode, data, sizes, tuple(h[i] for h in hx), weights, direction == 1)
            outputs.append(out)
            finals.append(final)
        data = outputs[0] if len(outputs) == 1 else o.cat(outputs, -1)
        if dropout > 0 and layer < num_layers - 1:
            data = o.dropout(data, dropout, train)
    return (data, *(o.stack(tensors) for tensors in zip(*finals, strict=True)))


def _network(mode: str, name: str) -> Callable:
    def run(input: Tensor, *args: Any) -> tuple[Tensor, ...]:
        packed = isinstance(args[0], Tensor) and isinstance(args[1], Tensor | list | tuple) and len(args) == 8 and (
            isinstance(args[2], list | tuple)
        )  # fmt: skip
        if packed:  # (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)
            sizes, hx, *rest = args
            hx = (hx,) if isinstance(hx, Tensor) else tuple(hx)
            return _layers(mode, input, sizes.tolist(), hx, *rest)
        hx, *rest, batch_first = args
        hx = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        steps = input.transpose(0, 1) if batch_first else input
        length, n = steps.shape[:2]
        out, *state = _layers(mode, steps.reshape(length * n, -1), [n] * length, hx, *rest)
        out = out.reshape(length, n, -1)
        return (out.transpose(0, 1) if batch_first else out, *state)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"A network of {mode} cells: (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, "
        "batch_first), or (data, batch_sizes, hx, params, ...) of a packed sequence."
    )
    return run


def _cell(mode: str, name: str) -> Callable:
    def run(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
    ) -> Any:
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        state = CELLS[mode](o.linear(input, w_ih, b_ih), state, {"w_hh": w_hh, "b_hh": b_hh, "w_hr": None})
        return state if mode == "LSTM" else state[0]

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"One step of a network of {mode} cells."
    return run


rnn_tanh, rnn_relu, lstm, gru = (
    _network(mode, name) for mode, name in
    (("RNN_TANH", "rnn_tanh"), ("RNN_RELU", "rnn_relu"), ("LSTM", "lstm"), ("GRU", "gru"))
)  # fmt: skip
rnn_tanh_cell, rnn_relu_cell, lstm_cell, gru_cell = (
    _cell(mode, name) for mode, name in
    (("RNN_TANH", "rnn_tanh_cell"), ("RNN_RELU", "rnn_relu_cell"), ("LSTM", "lstm_cell"), ("GRU", "gru_cell"))
)  # fmt: skip

# ---- the same function as in nn.functional

avg_pool1d, channel_shuffle, cosine_similarity = F.avg_pool1d, F.channel_shuffle, F.cosine_similarity
conv_tbc = F.conv_tbc
native_channel_shuffle, pairwise_distance = F.channel_shuffle, F.pairwise_distance
pixel_shuffle, pixel_unshuffle = F.pixel_shuffle, F.pixel_unshuffle
