"""One step of recurrent cells after their product with the weights, and its gradient: one kernel each.

`nn._recurrence` runs them over all steps, writing into buffers of the whole sequence. The x operands are a step's
share of the product of all inputs, the h operands the product of the state before; the gates come out activated.
"""

from ..ir.fn import relu, sigmoid, tanh, where
from .table import REAL_FLOATS, Scalar, op

_FLOATS = REAL_FLOATS[2:]


def _signature(name: str, operands: str, results: str, more: str = "") -> str:
    """All results are written to tensors that are given."""
    inputs = ", ".join(f"Tensor {n}" for n in operands.split())
    outs = ", ".join(f"Tensor({chr(97 + k)}!) {n}" for k, n in enumerate(results.split()))
    returns = ", ".join(f"Tensor({chr(97 + k)}!)" for k in range(len(results.split())))
    returns = f"({returns})" if "," in returns else returns
    return f"{name}({inputs}{more}, *, {outs}) -> {returns}"


def _lstm(xi, xf, xg, xo, hi, hf, hg, ho, c):
    i, f, g, o = sigmoid(xi + hi), sigmoid(xf + hf), tanh(xg + hg), sigmoid(xo + ho)
    c = f * c + i * g
    return i, f, g, o, c, o * tanh(c)


def _lstm_grad(grad, grad_h, grad_c, i, f, g, o, before, c):
    t = tanh(c)
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


def _rnn(x, h, nonlinearity):
    return tanh(x + h) if nonlinearity == "tanh" else relu(x + h)


def _rnn_grad(grad, grad_h, y, nonlinearity):
    dh = grad + grad_h
    return dh * (1 - y * y) if nonlinearity == "tanh" else where(y > 0, dh, 0.0)


_KIND = ", str nonlinearity"
for _name, _operands, _results, _more, _fn, _doc in (
    ("lstm_step", "xi xf xg xo hi hf hg ho c", "i f g o c_out h", "", _lstm, "Gates, cell and state of an LSTM."),
    (
        "lstm_step_grad", "grad grad_h grad_c i f g o before c", "di df dg do dc", "", _lstm_grad,
        "Gradients of the gates before activation, and of the cell before, from those of the state and the cell.",
    ),
    ("gru_step", "xr xz xn hr hz hn h", "r z n hn_out h_out", "", _gru, "Gates and state of a GRU."),
    (
        "gru_step_grad", "grad grad_h kept r z n hn h", "xr xz xn hr hz hn_out dh", "", _gru_grad,
        "Gradients of both products, and of the state before where it is added to the new one.",
    ),
    ("rnn_step", "x h", "y", _KIND, _rnn, "State of a plain recurrent network."),
    ("rnn_step_grad", "grad grad_h y", "dx", _KIND, _rnn_grad, "Gradient of the sum before the nonlinearity."),
):  # fmt: skip
    op(
        _signature(_name, _operands, _results, _more), names=(), dtypes=_FLOATS, body=Scalar(_fn, work=8), differentiable=False,
        doc=_doc + " Checked by nn's LSTM, GRU and RNN.",
    )  # fmt: skip
