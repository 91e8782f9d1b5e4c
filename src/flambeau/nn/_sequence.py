"""A recurrent layer over all steps as one node of the graph.

A step is one product with the recurrent weights and one kernel for everything else; the inputs of all steps meet their
weights in one product, and so do all gradients of weights. Gates, cells and states stand in buffers of the whole
sequence, into which the steps write.
"""

from __future__ import annotations

from flambeau import _core
from flambeau import functional_ns as o
from flambeau.autograd import grad as differentiate
from flambeau.nn._recurrence import State, Weights, run_by_steps

Tensor = o.Tensor
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_NONLINEARITY = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}


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
    if not _fits(data, batch_sizes, start, w):
        return run_by_steps(mode, data, batch_sizes, start, w, backward)
    weights = (w["w_ih"], w["w_hh"], w["b_ih"], w["b_hh"])
    out, *state = _Sequence.apply(mode, len(batch_sizes), backward, data, *weights, *start)
    return out, tuple(state)


def _fits(data: Tensor, batch_sizes: list[int], start: State, w: Weights) -> bool:
    """Whether the steps' kernels serve: sequences of one length, floats they compute in, calls that nobody watches."""
    tensors = [data, *start, *(t for t in w.values() if t is not None)]
    return (
        w["w_hr"] is None
        and data.dtype in (o.float32, o.float64)
        and batch_sizes[0] == batch_sizes[-1]
        and all(t.dtype == data.dtype and not t.is_meta for t in tensors)
        and not _core.has_torch_function(tensors)
    )


def _steps(buffer: Tensor, parts: int) -> list[list[Tensor]]:
    """Views of every step's parts: buffer (T, N, parts * H) -> [part][step]."""
    return [list(part.unbind(0)) for part in buffer.chunk(parts, -1)]


class _Sequence(o.Function):
    @staticmethod
    def forward(ctx, mode, length, reverse, data, w_ih, w_hh, b_ih, b_hh, h, c=None):
        gates = _GATES[mode]
        n, width = h.shape
        kept = o.linear(data, w_ih, b_ih).view(length, n, gates * width)  # the inputs' share, then the gates
        states = o.empty((length + 1, n, width), dtype=data.dtype)  # the state before every step, and the last
        states[length if reverse else 0] = h
        parts, state = _steps(kept, gates), list(states.unbind(0))
        # Every step multiplies by this weight: it is transposed once, so that rows of its transpose are contiguous.
        w_steps = w_hh.t().contiguous().t()
        extra = None  # cells of an LSTM, the hidden share of n of a GRU
        if mode == "LSTM":
            extra = o.empty_like(states)
            extra[length if reverse else 0] = c
        elif mode == "GRU":
            extra = o.empty((length, n, width), dtype=data.dtype)
        row = None if extra is None else list(extra.unbind(0))
        for t in range(length - 1, -1, -1) if reverse else range(length):
            before, after = (t + 1, t) if reverse else (t, t + 1)
            hidden = o.linear(state[before], w_steps, b_hh)
            if mode == "LSTM":
                i, f, g, out = (part[t] for part in parts)
                hi, hf, hg, ho = hidden.chunk(4, 1)
                o.lstm_step(
                    i, f, g, out, hi, hf, hg, ho, row[before], i=i, f=f, g=g, o=out, c_out=row[after], h=state[after]
                )
            elif mode == "GRU":
                r, z, n_ = (part[t] for part in parts)
                hr, hz, hn = hidden.chunk(3, 1)
                o.gru_step(r, z, n_, hr, hz, hn, state[before], r=r, z=z, n=n_, hn_out=row[t], h_out=state[after])
            else:
                o.rnn_step(parts[0][t], hidden, _NONLINEARITY[mode], y=state[after])
        ctx.mode, ctx.reverse = mode, reverse
        ctx.save_for_backward(data, w_ih, w_hh, b_ih, b_hh, h, c, kept, states, extra)
        out = (states[:length] if reverse else states[1:]).reshape(length * n, width).clone()
        last = 0 if reverse else length
        if mode == "LSTM":
            return out, states[last].clone(), extra[last].clone()
        return out, states[last].clone()

    @staticmethod
    def backward(ctx, grad, grad_h, grad_c=None):
        if o.is_grad_enabled():
            return (None, None, None, *_recorded(ctx, grad, grad_h, grad_c))
        data, w_ih, _, _, _, h, c, kept, states, _ = ctx.saved_tensors
        needs = ctx.needs_input_grad[3:]
        length, n, _ = kept.shape
        width = h.size(1)
        dx, dh, grad_h, grad_c = _through_steps(ctx, grad.reshape(length, n, width), grad_h, grad_c)
        dx, dh = dx.view(length * n, -1), dh.view(length * n, -1)
        bias_x = bias_h = None
        if needs[3] or needs[4]:
            bias_x = dx.sum(0)
            bias_h = dh.sum(0) if ctx.mode == "GRU" else bias_x.clone()
        before = (states[1:] if ctx.reverse else states[:length]).view(length * n, width)
        return (
            None, None, None,
            o.mm(dx, w_ih) if needs[0] else None,
            o.linear_weight_grad(dx, data) if needs[1] else None,
            o.linear_weight_grad(dh, before) if needs[2] else None,
            bias_x if needs[3] else None,
            bias_h if needs[4] else None,
            grad_h, *([grad_c] if c is not None else []),
        )  # fmt: skip


def _through_steps(ctx, grad, grad_h, grad_c):
    """Gradients of both products of all steps (the same tensor but in a GRU), and of the first state and cell."""
    _, _, w_hh, _, _, _, _, kept, states, extra = ctx.saved_tensors
    mode, length = ctx.mode, kept.size(0)
    dx = o.empty_like(kept)
    dh = o.empty_like(kept) if mode == "GRU" else dx
    parts, dparts, hparts = (_steps(b, _GATES[mode]) for b in (kept, dx, dh))
    steps, grads, state = list(dh.unbind(0)), list(grad.unbind(0)), list(states.unbind(0))
    row = None if extra is None else list(extra.unbind(0))
    direct = o.zeros_like(grad_h) if mode == "GRU" else None
    cell = o.empty_like(grad_h) if mode == "LSTM" else None
    for t in range(length) if ctx.reverse else range(length - 1, -1, -1):
        before, after = (t + 1, t) if ctx.reverse else (t, t + 1)
        if mode == "LSTM":
            i, f, g, out = (part[t] for part in parts)
            di, df, dg, do = (part[t] for part in dparts)
            o.lstm_step_grad(
                grads[t], grad_h, grad_c, i, f, g, out, row[before], row[after], di=di, df=df, dg=dg, do=do, dc=cell
            )
            grad_c = cell
        elif mode == "GRU":
            r, z, n = (part[t] for part in parts)
            xr, xz, xn = (part[t] for part in dparts)
            hr, hz, hn = (part[t] for part in hparts)
            o.gru_step_grad(
                grads[t], grad_h, direct, r, z, n, row[t], state[before],
                xr=xr, xz=xz, xn=xn, hr=hr, hz=hz, hn_out=hn, dh=direct,
            )  # fmt: skip
        else:
            o.rnn_step_grad(grads[t], grad_h, state[after], _NONLINEARITY[mode], dx=steps[t])
        grad_h = o.mm(steps[t], w_hh)
    return dx, dh, grad_h if direct is None else grad_h + direct, grad_c


def _recorded(ctx, grad, grad_h, grad_c):
    """The same gradients from single operators, whose own gradients are known."""
    data, w_ih, w_hh, b_ih, b_hh, h, c, kept, _, _ = ctx.saved_tensors
    start = (h,) if c is None else (h, c)
    inputs = (data, w_ih, w_hh, b_ih, b_hh, *start)
    weights = {"w_ih": w_ih, "w_hh": w_hh, "b_ih": b_ih, "b_hh": b_hh, "w_hr": None}
    sizes = [kept.size(1)] * kept.size(0)
    out, state = run_by_steps(ctx.mode, data, sizes, start, weights, ctx.reverse)
    grads = (grad, grad_h) if c is None else (grad, grad_h, grad_c)
    wanted = [t for t, needed in zip(inputs, ctx.needs_input_grad[3:], strict=True) if needed]
    found = iter(differentiate((out, *state), wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[3:]]
