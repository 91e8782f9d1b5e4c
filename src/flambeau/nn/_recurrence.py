"""Cells of recurrent networks, and a layer of them over steps of different batch sizes, written in operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor
State = tuple[Tensor, ...]
Weights = dict[str, Any]


def _tanh_cell(projected: Tensor, state: State, w: Weights) -> State:
    return (o.tanh(projected + o.linear(state[0], w["w_hh"], w["b_hh"])),)


def _relu_cell(projected: Tensor, state: State, w: Weights) -> State:
    return (o.relu(projected + o.linear(state[0], w["w_hh"], w["b_hh"])),)


def _lstm_cell(projected: Tensor, state: State, w: Weights) -> State:
    h, c = state
    i, f, g, out = (projected + o.linear(h, w["w_hh"], w["b_hh"])).chunk(4, -1)
    c = o.sigmoid(f) * c + o.sigmoid(i) * o.tanh(g)
    h = o.sigmoid(out) * o.tanh(c)
    return (h if w["w_hr"] is None else o.linear(h, w["w_hr"])), c


def _gru_cell(projected: Tensor, state: State, w: Weights) -> State:
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, -1)
    h_r, h_z, h_n = o.linear(h, w["w_hh"], w["b_hh"]).chunk(3, -1)
    r, z = o.sigmoid(x_r + h_r), o.sigmoid(x_z + h_z)
    n = o.tanh(x_n + r * h_n)
    return (n + z * (h - n),)


# cell(W_ih x + b_ih, state, other weights) -> the next state, whose first tensor is the output
CELLS: dict[str, Callable[[Tensor, State, Weights], State]] = {
    "RNN_TANH": _tanh_cell,
    "RNN_RELU": _relu_cell,
    "LSTM": _lstm_cell,
    "GRU": _gru_cell,
}


def run_by_steps(
    mode: str, data: Tensor, batch_sizes: list[int], start: State, w: Weights, backward: bool
) -> tuple[Tensor, State]:
    """Runs a cell over all steps, operator by operator; arguments and results as for `_sequence.run_layer`."""
    # One product for the inputs of all steps.
    steps = o.linear(data, w["w_ih"], w["b_ih"]).split(batch_sizes)
    cell = CELLS[mode]
    outputs: list[Any] = [None] * len(steps)
    state = tuple(t[: batch_sizes[-1]] for t in start) if backward else start
    ended: list[State] = []
    for t in reversed(range(len(steps))) if backward else range(len(steps)):
        rows, have = batch_sizes[t], state[0].size(0)
        if rows > have:  # going backward, shorter sequences begin later
            state = tuple(o.cat([s, first[have:rows]]) for s, first in zip(state, start, strict=True))
        elif rows < have:  # going forward, they end earlier
            ended.append(tuple(s[rows:] for s in state))
            state = tuple(s[:rows] for s in state)
        state = cell(steps[t], state, w)
        outputs[t] = state[0]
    if ended:
        state = tuple(o.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return o.cat(outputs), state
