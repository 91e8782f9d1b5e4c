"""A recurrent layer over all steps as one node of the graph.

The inputs of all steps meet their weights in one product, and so do all gradients of weights. What depends on the step
before runs in `recurrent_steps`: a product with the recurrent weights and one kernel for everything else.
"""

from __future__ import annotations

from flambeau import _core
from flambeau import functional_ns as o
from flambeau.autograd import grad as differentiate
from flambeau.nn._recurrence import State, Weights, run_by_steps
from flambeau.nn._seen import seen

Tensor = o.Tensor
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_FLOATS = (o.float32, o.float64, o.bfloat16, o.float16)


def run_layer(
    mode: str, data: Tensor, batch_sizes: list[int], start: State, w: Weights, backward: bool
) -> tuple[Tensor, State]:
    """Runs a cell over all steps.

    Args:
        data: the inputs of all steps, one after the other; longer sequences stand first in every step.
        batch_sizes: rows of every step.
        start: the state of every sequence before its first step.
        backward: go from the last step to the first.

    Returns:
        the outputs, ordered as the inputs are, and the state of every sequence after its last step.
    """
    if mode == "LSTM" and w["w_hr"] is None and batch_sizes[0] == batch_sizes[-1]:
        return mkldnn_rnn_layer(data, batch_sizes, start, w["w_ih"], w["w_hh"], w["b_ih"], w["b_hh"], backward)
    return _run_layer(mode, data, batch_sizes, start, w, backward)


@seen
def mkldnn_rnn_layer(
    data: Tensor, batch_sizes: list[int], start: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None,
    b_hh: Tensor | None, backward: bool,
) -> tuple[Tensor, State]:  # fmt: skip
    """`run_layer` for an LSTM over sequences of one length, which PyTorch computes in 16 bits where autocast holds."""
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh, "w_hr": None}
    return _run_layer("LSTM", data, batch_sizes, start, weights, backward)


def _run_layer(
    mode: str, data: Tensor, batch_sizes: list[int], start: State, w: Weights, backward: bool
) -> tuple[Tensor, State]:
    if not _fits(mode, data, batch_sizes, start, w):
        return run_by_steps(mode, data, batch_sizes, start, w, backward)
    out, *state = _Sequence.apply(mode, batch_sizes, backward, data, w["w_ih"], w["w_hh"], w["b_ih"], w["b_hh"], *start)
    return out, tuple(state)


def _fits(mode: str, data: Tensor, batch_sizes: list[int], start: State, w: Weights) -> bool:
    """Whether the steps' kernels serve: floats they compute in, sizes that fit, calls that nobody watches."""
    tensors = [data, *start, *(t for t in w.values() if t is not None)]
    n, width = start[0].shape
    wide = _GATES[mode] * width
    return (
        w["w_hr"] is None
        and data.dtype in _FLOATS
        and batch_sizes[0] == n
        and all(t.shape == (n, width) for t in start)
        and w["w_hh"].shape == (wide, width)
        and all(w[name] is None or w[name].shape == (wide,) for name in ("b_ih", "b_hh"))
        and all(t.dtype == data.dtype and not t.is_meta for t in tensors)
        and not _core.has_torch_function(tensors)
    )


class _Sequence(o.Function):
    @staticmethod
    def forward(ctx, mode, sizes, reverse, data, w_ih, w_hh, b_ih, b_hh, h, c=None):
        gates = o.linear(data, w_ih, b_ih)  # the inputs' share, then the gates
        out, last, last_cell, before, extra = o.recurrent_steps(gates, w_hh, b_hh, h, c, mode, sizes, reverse)
        ctx.mode, ctx.sizes, ctx.reverse = mode, sizes, reverse
        ctx.save_for_backward(data, w_ih, w_hh, b_ih, b_hh, h, c, gates, before, extra)
        return (out, last, last_cell) if mode == "LSTM" else (out, last)

    @staticmethod
    def backward(ctx, grad, grad_h, grad_c=None):
        if o.is_grad_enabled():
            return (None, None, None, *_recorded(ctx, grad, grad_h, grad_c))
        data, w_ih, w_hh, _, _, _, c, gates, before, extra = ctx.saved_tensors
        needs = ctx.needs_input_grad[3:]
        dx, dh, grad_h, grad_c = o.recurrent_steps_grad(
            grad, grad_h, grad_c, gates, before, extra, w_hh, ctx.mode, ctx.sizes, ctx.reverse
        )
        if ctx.mode == "GRU":
            grad_h = grad_h + grad_c
        bias_x = bias_h = None
        if needs[3] or needs[4]:
            bias_x = dx.sum(0)
            bias_h = dh.sum(0) if ctx.mode == "GRU" else bias_x.clone()
        return (
            None, None, None,
            o.mm(dx, w_ih) if needs[0] else None,
            o.linear_weight_grad(dx, data) if needs[1] else None,
            o.linear_weight_grad(dh, before) if needs[2] else None,
            bias_x if needs[3] else None,
            bias_h if needs[4] else None,
            grad_h, *([grad_c] if c is not None else []),
        )  # fmt: skip


def _recorded(ctx, grad, grad_h, grad_c):
    """The same gradients from single operators, whose own gradients are known."""
    data, w_ih, w_hh, b_ih, b_hh, h, c, *_ = ctx.saved_tensors
    start = (h,) if c is None else (h, c)
    inputs = (data, w_ih, w_hh, b_ih, b_hh, *start)
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh, "w_hr": None}
    out, state = run_by_steps(ctx.mode, data, ctx.sizes, start, weights, ctx.reverse)
    grads = (grad, grad_h) if c is None else (grad, grad_h, grad_c)
    wanted = [t for t, needed in zip(inputs, ctx.needs_input_grad[3:], strict=True) if needed]
    found = iter(differentiate((out, *state), wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[3:]]
