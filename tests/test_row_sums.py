"""Sums of products over rows: each product is added in one operation, where nobody else asks for it."""

import pytest

from flambeau.ir import fn
from flambeau.ir import row as ir
from flambeau.ir.expr import input_
from flambeau.ir.printer import text
from flambeau.ir.sums import fused

X, Y, B, C = (input_(k, "f32") for k in range(4))  # the last two are the same for a whole row
SQUARE = X * B


def rewritten(*roots):
    space = ir.spaces(roots, dict(enumerate("FFBB")))
    return fused(roots, lambda e: bool(space[e] & ir.ROW))


@pytest.mark.parametrize(
    "root, wanted",
    [
        (X * Y + B, "fma(i0, i1, i2)"),
        (X * Y - B, "fma(i0, i1, neg(i2))"),
        (B - X * Y, "fma(neg(i0), i1, i2)"),
        (X * Y + (Y - X * B), "fma(neg(i0), i2, fma(i0, i1, i1))"),
        (X * X + Y * Y, "fma(i1, i1, (i0 * i0))"),
        (Y * C + SQUARE + SQUARE, "fma((i2 + i2), i0, (i1 * i3))"),  # the derivative of a square
        ((X + Y) * B - (Y - X), "fma((i0 + i1), i2, (i0 - i1))"),
    ],
)
def test_products_are_added_in_one_operation(root, wanted):
    assert text(rewritten(root)[0]) == wanted


def test_what_stays():
    """Products of which others are made, sums that do not vary, exact ones, and what functions are made of."""
    product = X * Y
    several = (product + B, product * C)
    constant = B * C + C
    whole = input_(0, "i64") * input_(1, "i64") + input_(1, "i64")
    assert all(new is old for new, old in zip(rewritten(*several), several, strict=True))
    assert rewritten(constant * X)[0] is constant * X
    assert rewritten(whole)[0] is whole
    assert rewritten(fn.exp(X) - Y)[0] is fn.exp(X) - Y
