"""Recurrent layers: one step of a cell after its product with the weights, and its gradient, are one kernel each.

`recurrent_steps` (csrc/runtime/contract/recurrent.cpp) runs them over all steps. The x operands are a step's share of
the product of all inputs, the h operands the product of the state before; the gates come out activated.
"""

from ..ir.fn import relu, sigmoid, tanh, where
from .table import REAL_FLOATS, Native, Scalar, op


def _signature(name: str, operands: str, results: str) -> str:
    """All results are written to tensors that are given."""
    inputs = ", ".join(f"Tensor {n}" for n in operands.split())
    outs = ", ".join(f"Tensor({chr(97 + k)}!) {n}" for k, n in enumerate(results.split()))
    returns = ", ".join(f"Tensor({chr(97 + k)}!)" for k in range(len(results.split())))
    returns = f"({returns})" if "," in returns else returns
    return f"{name}({inputs}, *, {outs}) -> {returns}"


def _lstm(xi, xf, xg, xo, hi, hf, hg, ho, c):
    i, f, g, o = sigmoid(xi + hi), sigmoid(xf + hf), tanh(xg + hg), sigmoid(xo + ho)
    c = f * c + i * g
    return i, f, g, o, c, o * tanh(c)


def _lstm_grad(grad, grad_h, grad_c, i, f, g, o, before):
    t = tanh(f * before + i * g)
    dh = grad + grad_h
    dc = grad_c + dh * o * (1 - t * t)
    return dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o), dc * f


def _gru(xr, xz, xn, hr, hz, hn, h):
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = tanh(xn + r * hn)
    return r, z, n, hn, n + z * (h - n)


def _gru_grad(grad, grad_h, kept, r, z, n, hn, h):
    dh = grad + grad_h + kept
    dn = dh * (1 - z) * (1 - n * n)
    dz = dh * (h - n) * z * (1 - z)
    dr = dn * hn * r * (1 - r)
    return dr, dz, dn, dr, dz, dn * r, dh * z


def _tanh(x, h):
    return tanh(x + h)


def _tanh_grad(grad, grad_h, y):
    return (grad + grad_h) * (1 - y * y)


def _relu(x, h):
    return relu(x + h)


def _relu_grad(grad, grad_h, y):
    return where(y > 0, grad + grad_h, 0.0)


for _name, _operands, _results, _fn, _doc in (
    ("lstm_step", "xi xf xg xo hi hf hg ho c", "i f g o c_out h", _lstm, "Gates, cell and state of an LSTM."),
    (
        "lstm_step_grad", "grad grad_h grad_c i f g o before", "di df dg do dc", _lstm_grad,
        "Gradients of the gates before activation, and of the cell before, from those of the state and the cell.",
    ),
    ("gru_step", "xr xz xn hr hz hn h", "r z n hn_out h_out", _gru, "Gates and state of a GRU."),
    (
        "gru_step_grad", "grad grad_h kept r z n hn h", "xr xz xn hr hz hn_out dh", _gru_grad,
        "Gradients of both products, and of the state before where it is added to the new one.",
    ),
    ("rnn_tanh_step", "x h", "y", _tanh, "State of a plain recurrent network."),
    ("rnn_tanh_step_grad", "grad grad_h y", "dx", _tanh_grad, "Gradient of the sum before tanh."),
    ("rnn_relu_step", "x h", "y", _relu, "State of a plain recurrent network with relu."),
    ("rnn_relu_step_grad", "grad grad_h y", "dx", _relu_grad, "Gradient of the sum before relu."),
):  # fmt: skip
    op(
        _signature(_name, _operands, _results), names=(), dtypes=REAL_FLOATS, body=Scalar(_fn, work=8), differentiable=False,
        doc=_doc + " Checked by nn's LSTM, GRU and RNN.",
    )  # fmt: skip

op(
    "recurrent_steps(Tensor gates, Tensor w_hh, Tensor? b_hh, Tensor h, Tensor? c, str mode, int[] sizes, bool reverse)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    names=(), dtypes=REAL_FLOATS, body=Native("recurrent_steps"), differentiable=False,
    doc="Outputs of a layer, last states and cells, states before every step, and an LSTM's cells before it or a GRU's"
    " share of the state in n. gates holds the inputs' share of the gates and is overwritten by the gates; sizes are"
    " the rows of every step. Checked by nn's LSTM, GRU and RNN.",
)  # fmt: skip
op(
    "recurrent_steps_grad(Tensor grad, Tensor grad_h, Tensor? grad_c, Tensor gates, Tensor before, Tensor extra, "
    "Tensor w_hh, str mode, int[] sizes, bool reverse) -> (Tensor, Tensor, Tensor, Tensor)",
    names=(), dtypes=REAL_FLOATS, body=Native("recurrent_steps_grad"), differentiable=False,
    doc="Gradients of the inputs' share of the gates, of the states' share (the same tensor but in a GRU), of the first"
    " states, and of the first cells (in a GRU what to add to that of the states). Checked by nn's LSTM, GRU and RNN.",
)  # fmt: skip
