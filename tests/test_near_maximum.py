"""Sums of exponentials in one pass: as exact as in two, however far above the first guess a row's maximum lies."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.codegen.row_program import prepare
from flambeau.ir import fn, row
from flambeau.ir.expr import input_

# Rows that take one pass, if they are long, then such that are read again: the maximum is far above all else or far from
# 0, or there is none.
ROWS = {
    "normal": lambda x: x,
    "wide": lambda x: 20 * x,
    "large": lambda x: x + 1000,
    "constant": lambda x: np.full(x.shape, 0.1),
    "peak": lambda x: x + at(x, 1, 12),
    "high peak": lambda x: x + at(x, 1, 60),
    "low at first": lambda x: np.where(np.arange(x.shape[1]) < 20, -np.inf, x),
    "masked": lambda x: np.where(x < 1, -1e9, x),
    "masked at first": lambda x: np.where(np.arange(x.shape[1]) < x.shape[1] - 3, -np.inf, x),
    "steps": lambda x: x - np.arange(x.shape[1]) % 150,
    "higher peak": lambda x: x + at(x, 1, 90),
    "far": lambda x: x + 1e4,
    "all masked": lambda x: np.where(np.arange(x.shape[1]) != 1, -1e9, x),
    "one number": lambda x: np.where(np.arange(x.shape[1]) != 1, -np.inf, x),
    "no number": lambda x: np.full(x.shape, -np.inf),
    "nan": lambda x: x + at(x, 1, np.nan),
    "infinite": lambda x: x + at(x, 1, np.inf),
    "all infinite": lambda x: np.full(x.shape, np.inf),
}
ONE_PASS = tuple(ROWS)[:10]


def at(x, position, value):
    return np.where(np.arange(x.shape[1]) == min(position, x.shape[1] - 1), value, 0.0)


def reference(x):
    """softmax, log_softmax and logsumexp in float64; an infinite element makes the first two nan, as in PyTorch."""
    x = x.astype("f8")
    with np.errstate(all="ignore"):
        top = x.max(1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0)
        e = np.exp(x - top)
        total = e.sum(1, keepdims=True)
        known = np.where(np.isposinf(x).any(1, keepdims=True), np.nan, 1.0)
        return e / total * known, (x - top - np.log(total)) * known, (np.log(total) + top)[:, 0]


def test_which_programs():
    x = input_(0, "f32")
    top = row.row_max(x)
    e = fn.exp(x - row.constant(top))

    def found(*roots):
        step = row.plan(roots, "FB", "".join("F" if r.dtype == "f32" else "B" for r in roots)).steps[0]
        return prepare(step, ["f32"] * len(roots), ["f32", "i64"][: len(step.inputs)], "k").near

    assert found(e / row.row_sum(e)) and found(fn.log(row.row_sum(e)) + row.constant(top))
    assert found(e / row.row_sum(e)).alone and not found(row.row_sum(e), row.constant(top)).alone
    assert found(fn.log(row.row_sum(e)) - row.row_pick(x - row.constant(top), input_(1, "i64"))).picks
    plain = fn.exp(x - top)
    assert found(plain / row.row_sum(plain)) is None  # not said to be the same without it
    assert found(e / row.row_sum(e * x)) is None


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("n", [5, 16, 70, 127, 128, 1000, 4099])
def test_as_exact_as_in_two_passes(kind, n):
    rows = ROWS[kind](np.random.default_rng(n).standard_normal((20, n))).astype("f4")
    wanted = reference(rows)
    for columns in (False, True):  # vectors along the row, or a row in every lane
        x = torch.tensor(rows.T.copy()).t() if columns else torch.tensor(rows)
        soft, logs, total = torch.softmax(x, 1), torch.log_softmax(x, 1), torch.logsumexp(x, 1)
        once = kind in ONE_PASS and n >= 64 and not columns
        np.testing.assert_allclose(soft.numpy(), wanted[0], rtol=2e-6 if once else 1e-5, atol=1e-43)
        assert not soft.numpy()[wanted[0] == 0].any()
        rounded = 3e-6 if columns else 1e-6
        np.testing.assert_allclose(logs.numpy(), wanted[1], rtol=rounded, atol=rounded)
        np.testing.assert_allclose(total.numpy(), wanted[2], rtol=rounded, atol=rounded)
        assert not (logs > 0).any()
        target = np.arange(len(rows)) % n
        loss = torch.nn.functional.cross_entropy(x, torch.tensor(target), reduction="none")
        np.testing.assert_allclose(loss.numpy(), -wanted[1][range(len(rows)), target], rtol=rounded, atol=rounded)


def test_a_row_is_one_probability():
    """Where one element outweighs all others, its logarithm is 0."""
    x = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    x[0, 77], x[1, 300], x[2, 499] = 40.0, 75.0, 3e5
    assert torch.log_softmax(x, 1).amax(1).eq(0).all() and torch.softmax(x, 1).amax(1).eq(1).all()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 4e-15), ("bfloat16", 8e-3), ("float16", 1e-3)])
def test_other_dtypes_and_layouts(dtype, tolerance):
    x = torch.randn(2, 3, 130, 140, generator=torch.Generator().manual_seed(0)).mul(5).to(getattr(torch, dtype))
    for y in (x, x.transpose(2, 3), x[:, :, ::2], x[..., ::2], x[0].expand(2, 3, 130, 140)):
        rows = y.double().numpy()
        for dim in range(y.dim()):
            turned = np.moveaxis(rows, dim, 1).swapaxes(1, -1)
            soft, logs, _ = reference(turned.reshape(-1, turned.shape[-1]))
            for got, want in ((torch.softmax(y, dim), soft), (torch.log_softmax(y, dim), logs)):
                want = np.moveaxis(want.reshape(turned.shape).swapaxes(1, -1), 1, dim)
                np.testing.assert_allclose(got.double().numpy(), want, rtol=tolerance, atol=tolerance)
    total = torch.logsumexp(x, (1, 2)).double().numpy()
    rows = x.double().numpy().transpose(0, 3, 1, 2).reshape(280, 390)
    np.testing.assert_allclose(total.ravel(), reference(rows)[2], rtol=tolerance)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 4e-3), ("float16", 5e-4)])
def test_exponentials_of_narrow_rows_wait_in_float32(kind, dtype, tolerance):
    with np.errstate(over="ignore"):
        x = torch.tensor(ROWS[kind](np.random.default_rng(2).standard_normal((40, 1000)))).to(getattr(torch, dtype))
    wanted = reference(x.double().numpy())[0]
    got = torch.softmax(x, 1).double().numpy()
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=1e-40 if dtype == "bfloat16" else 4e-8)


def test_bands_of_columns():
    """A band takes one pass or, where one of its columns is bad, is read again."""
    x = np.random.default_rng(1).standard_normal((65664, 131))
    for k, kind in enumerate(ROWS):
        x[640 * k : 640 * k + 70] = ROWS[kind](x[640 * k : 640 * k + 70])
    x = x.astype("f4")
    columns = torch.tensor(x.T.copy())
    part = slice(0, 640 * len(ROWS))
    soft, logs, _ = reference(x[part])
    np.testing.assert_allclose(torch.softmax(columns, 0).numpy().T[part], soft, rtol=1e-5, atol=1e-43)
    np.testing.assert_allclose(torch.log_softmax(columns, 0).numpy().T[part], logs, rtol=1e-6, atol=1e-6)
