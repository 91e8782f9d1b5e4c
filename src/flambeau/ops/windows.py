"""Window functions: `hann_window` and its kin. `signal.windows` has its own, with other arguments."""

import math

from .creation import OPTIONS
from .table import Composite, op


def _cosine(o, place, *weights):
    """weights[0] - weights[1] cos(place) + weights[2] cos(2 place) - ..., place from 0 to 2 pi."""
    total = weights[0]
    for k, w in enumerate(weights[1:], 1):
        total = o.add(o.mul(o.cos(o.mul(place, k)), (-1) ** k * w), total)
    return total


def _triangle(o, place):
    return o.sub(1, o.abs(o.sub(o.div(place, math.pi), 1)))


def _kaiser(o, place, beta):
    height = o.sub(o.div(place, math.pi), 1)
    root = o.sqrt(o.clamp(o.sub(1, o.mul(height, height)), 0))
    return o.div(o.i0(o.mul(root, beta)), o.i0(o.scalar_tensor(beta, dtype=o.float64)))


def _window(o, name, shape, window_length, periodic, dtype, layout, device, requires_grad):
    """shape(place) at window_length places, those of a periodic window one short of the whole turn."""
    dtype = dtype or o.get_default_dtype()
    if dtype.is_complex:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dtype.title}'")
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: TensorOptions(dtype={dtype})")
    if layout not in (None, o.strided):
        raise RuntimeError(f"{name} is not implemented for sparse types, got: TensorOptions(layout={layout})")
    if window_length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
    if window_length < 2:
        return o.ones([window_length], dtype=dtype, device=device, requires_grad=requires_grad)
    steps = window_length if periodic else window_length - 1
    place = o.mul(o.arange(0, window_length, 1, dtype=o.float64, device=device), 2 * math.pi / steps)
    return shape(o, place).to(dtype).requires_grad_(requires_grad)


_OVERLOADS = ("", "periodic", "alpha", "beta")


def _entry(name, overload, parameters, shape, doc):
    """One overload; `parameters` are the numbers that it takes beside length and periodicity."""
    given = ["bool periodic"] if overload else []
    given += [f"float {p}" for p in parameters]

    def body(o, window_length, *rest):
        *numbers, dtype, layout, device, _pin_memory, requires_grad = rest
        periodic, numbers = (numbers[0], numbers[1:]) if overload else (True, [])
        placed = lambda o, place: shape(o, place, *numbers)  # noqa: E731
        return _window(o, name, placed, window_length, periodic, dtype, layout, device, requires_grad)

    signature = ", ".join(["int window_length", *given])
    op(
        f"{name}{'.' if overload else ''}{overload}({signature}, *, {OPTIONS}) -> Tensor",
        names=(name,),
        body=Composite(body),
        differentiable=False,
        doc=doc,
    )


for _name, _shape, _numbers, _formula in (
    ("hann_window", lambda o, place: _cosine(o, place, 0.5, 0.5), (), "(1 - cos(2 pi k / n)) / 2"),
    ("hamming_window", lambda o, place, alpha=0.54, beta=0.46: _cosine(o, place, alpha, beta), ("alpha", "beta"),
     "alpha - beta cos(2 pi k / n)"),
    ("blackman_window", lambda o, place: _cosine(o, place, 0.42, 0.5, 0.08), (),
     "0.42 - 0.5 cos(2 pi k / n) + 0.08 cos(4 pi k / n)"),
    ("bartlett_window", _triangle, (), "1 - |2 k / n - 1|"),
    ("kaiser_window", lambda o, place, beta=12.0: _kaiser(o, place, beta), ("beta",),
     "i0(beta sqrt(1 - (2 k / n - 1)^2)) / i0(beta)"),
):  # fmt: skip
    _doc = (
        f"{_formula} for k = 0 ... window_length - 1, with n = window_length; periodic=False: n = window_length - 1.\n\n"
        "Computed in float64."
    )
    for _count, _overload in enumerate((*_OVERLOADS[:2], *_numbers), -1):
        _entry(_name, _overload, _numbers[: max(_count, 0)], _shape, _doc)
