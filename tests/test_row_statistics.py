"""Mean and variance of rows in one pass: as exact as in two, whatever a row begins with."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.codegen import shifted
from flambeau.codegen.row_program import prepare
from flambeau.ir import row
from flambeau.ir.expr import input_

F = torch.nn.functional

ROWS = {
    "normal": lambda x: x,
    "large mean": lambda x: x + 1000,
    "ramp": lambda x: np.linspace(-3, 3, x.shape[1]) + 0.01 * x,
    "far at first": lambda x: np.where(np.arange(x.shape[1]) < 64, 1000.0, 0.0) + x,
    "one far off": lambda x: np.where(np.arange(x.shape[1]) == 3, 3000.0, 0.0) + x,
    "steps": lambda x: np.where(np.arange(x.shape[1]) < x.shape[1] // 2, 5000.0, -5000.0) + x,
    "constant": lambda x: np.full(x.shape, 0.1),
}


def test_which_programs():
    x, h, w = (input_(k, "f32") for k in range(3))
    d = x - row.row_mean(x)
    var = row.row_mean(d * d)

    def found(*roots):
        step = row.plan(roots, "FFR", "B" * len(roots)).steps[0]
        return shifted.find(prepare(step, ["f32"] * len(roots), ["f32"] * len(step.inputs), "k"))

    assert found(var).squares == (row.row_sum(d * d),)
    assert found(var, row.row_sum(h * w), row.row_sum(h * w * d)).products
    assert found(var, row.row_sum(h * d)) is None  # the sum of h is not there
    assert found(row.row_mean(x * x)) is None and found(row.row_sum(d * d * d)) is None


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("n", [5, 63, 64, 130, 1000, 4099])
def test_as_exact_as_in_two_passes(kind, n):
    rng = np.random.default_rng(n)
    x = ROWS[kind](rng.standard_normal((30, n))).astype("f4")
    exact = x.astype("f8")
    mean, var = exact.mean(1), exact.var(1)
    spread, centre = torch.var_mean(torch.tensor(x), 1, unbiased=False)
    np.testing.assert_allclose(spread.numpy(), var, rtol=5e-6, atol=1e-12)
    np.testing.assert_allclose(centre.numpy(), mean, rtol=1e-6, atol=2e-6 * np.abs(exact).max())
    scale = 1 / np.sqrt(var[:, None] + 1e-5)
    normal = (exact - mean[:, None]) * scale
    rounded = 4 * np.finfo("f4").eps * np.abs(exact).max() * scale.max() + 2e-6
    leaf = torch.tensor(x, requires_grad=True)
    y = F.layer_norm(leaf, (n,))
    np.testing.assert_allclose(y.detach().numpy(), normal, rtol=3e-6, atol=rounded)
    g = rng.standard_normal(x.shape).astype("f4")
    (slope,) = torch.autograd.grad(y, leaf, torch.tensor(g))
    wanted = (g - g.mean(1, keepdims=True) - normal * (g * normal).mean(1, keepdims=True)) * scale
    np.testing.assert_allclose(slope.numpy(), wanted, rtol=1e-5, atol=(rounded + 1e-5) * 5 * scale.max())


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3e19])
def test_rows_that_are_not_finite(bad):
    x = np.random.default_rng(0).standard_normal((3, 200)).astype("f4")
    x[1, 150] = bad
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = x.var(1)
    var = torch.tensor(x).var(1, unbiased=False).numpy()
    np.testing.assert_allclose(var[[0, 2]], wanted[[0, 2]], rtol=1e-6)
    assert np.isnan(var[1]) if bad != 3e19 else np.isinf(var[1])
    assert torch.tensor(np.full((2, 200), 0.1, "f4")).var(1).eq(0).all()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("bfloat16", 1e-2), ("float16", 2e-3)])
def test_other_dtypes_and_rows_of_several_runs(dtype, tolerance):
    x = torch.randn(3, 4, 15, 16, generator=torch.Generator().manual_seed(0)).add(20).to(getattr(torch, dtype))
    exact = x.double().numpy()
    for y in (x, x.transpose(2, 3), x[:, :, ::2], x.expand(3, 4, 15, 16).transpose(0, 1).contiguous().transpose(0, 1)):
        e = y.double().numpy()
        got = F.batch_norm(y, None, None, training=True).double().numpy()
        mean, var = e.mean((0, 2, 3), keepdims=True), e.var((0, 2, 3), keepdims=True)
        np.testing.assert_allclose(got, (e - mean) / np.sqrt(var + 1e-5), rtol=tolerance, atol=2 * tolerance)
    np.testing.assert_allclose(x.var((0, 2)).double().numpy(), exact.var((0, 2), ddof=1), rtol=tolerance)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("shape", [(1, 150001), (3, 70000), (2, 37 * 4099)])
def test_chunks_of_long_rows(kind, shape):
    """Means of chunks differ, guesses in some of them are bad, and the last one is short."""
    x = ROWS[kind](np.random.default_rng(1).standard_normal(shape)).astype("f4")
    exact = x.astype("f8")
    leaf = torch.tensor(x)
    if shape[1] == 37 * 4099:
        leaf = torch.tensor(np.pad(x.reshape(-1, 37, 4099), ((0, 0), (0, 0), (0, 5)))[..., :4099])[..., :4099]
    dims = tuple(range(1, leaf.dim()))
    spread, centre = torch.var_mean(leaf, dims, unbiased=False)
    np.testing.assert_allclose(spread.numpy(), exact.var(1), rtol=5e-6, atol=1e-12)
    np.testing.assert_allclose(centre.numpy(), exact.mean(1), rtol=1e-6, atol=2e-6 * np.abs(exact).max())
    normal = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    rounded = 4 * np.finfo("f4").eps * np.abs(exact).max() / np.sqrt(exact.var(1).min() + 1e-5) + 2e-6
    y = F.layer_norm(leaf, leaf.shape[1:]).numpy().reshape(shape)
    np.testing.assert_allclose(y, normal, rtol=3e-6, atol=rounded)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 3e19])
def test_chunks_that_are_not_finite(bad):
    x = np.random.default_rng(0).standard_normal((2, 70000)).astype("f4")
    x[1, 40000] = bad
    var = torch.tensor(x).var(1).numpy()
    np.testing.assert_allclose(var[0], x[0].astype("f8").var(ddof=1), rtol=1e-6)
    assert np.isnan(var[1]) if bad != 3e19 else np.isinf(var[1])
    assert torch.tensor(np.full((2, 70001), 0.1, "f4")).std(1).eq(0).all()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("bfloat16", 4e-3), ("complex64", 2e-6)])
def test_other_dtypes_of_long_rows(dtype, tolerance):
    x = torch.randn(2, 70000, generator=torch.Generator().manual_seed(0)).add(3).to(getattr(torch, dtype))
    exact = (x.to(torch.complex128) if x.is_complex() else x.double()).numpy()
    np.testing.assert_allclose(x.var(1).double().numpy(), exact.var(1, ddof=1), rtol=tolerance)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("shape", [(700, 300), (20001, 7), (130, 2500), (3, 150, 401)])
def test_chunks_of_columns(kind, shape):
    """More than one panel, columns that fill no vector, rows of two dimensions."""
    rows = ROWS[kind](np.random.default_rng(1).standard_normal((shape[-1], int(np.prod(shape[:-1]))))).astype("f4")
    exact = rows.astype("f8")
    x = torch.tensor(np.ascontiguousarray(rows.T)).reshape(shape)
    x = torch.cat([x, x[..., :5]], -1)[..., :-5]  # dimensions of the row that are not one
    spread, centre = torch.var_mean(x, tuple(range(len(shape) - 1)), unbiased=False)
    np.testing.assert_allclose(spread.numpy(), exact.var(1), rtol=3e-5 if "far" in kind else 5e-6, atol=1e-12)
    np.testing.assert_allclose(centre.numpy(), exact.mean(1), rtol=1e-6, atol=2e-6 * np.abs(exact).max())


@pytest.mark.parametrize("bad", [np.inf, np.nan, 3e19])
def test_chunks_of_columns_that_are_not_finite(bad):
    x = np.random.default_rng(0).standard_normal((700, 300)).astype("f4")
    x[500, 7] = bad
    var = torch.tensor(x).var(0).numpy()
    assert np.isnan(var[7]) if bad != 3e19 else np.isinf(var[7])
    rest = np.arange(300) != 7
    np.testing.assert_allclose(var[rest], x[:, rest].astype("f8").var(0, ddof=1), rtol=3e-6)
    assert torch.tensor(np.full((700, 300), 0.1, "f4")).var(0).eq(0).all()
