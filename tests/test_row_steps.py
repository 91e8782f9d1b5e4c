"""Row programs of two steps: gradients of weights, summed over the rows while these are in the cache."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.ir import centred, row
from flambeau.ir.expr import const, input_
from flambeau.ops import rowderive
from flambeau.ops.names import operators

F = torch.nn.functional


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def layer_norm(x, w, b):
    return F.layer_norm(x, x.shape[1:], w, b)


def rms_norm(x, w, b):
    return F.rms_norm(x, x.shape[1:], w) + b


def normal(x, centre):
    """The normalised rows and their scale."""
    x = x.astype("f8")
    centred = x - x.mean(1, keepdims=True) if centre else x
    scale = 1 / np.sqrt((centred * centred).mean(1, keepdims=True) + (1e-5 if centre else np.finfo("f4").eps))
    return centred * scale, scale


def reference(x, w, g, centre):
    """Gradients of x, w and b in float64."""
    y, scale = normal(x, centre)
    gw = g.astype("f8") * w
    to_x = gw - y * (gw * y).mean(1, keepdims=True)
    to_x = to_x - gw.mean(1, keepdims=True) if centre else to_x
    return to_x * scale, (g * y).sum(0), g.astype("f8").sum(0)


def gradients(call, arrays, g, change=lambda x: x):
    x, w, b = (torch.tensor(a, requires_grad=True) for a in arrays)
    return [t.numpy() for t in torch.autograd.grad(call(change(x), w, b), (x, w, b), torch.tensor(g))]


@pytest.mark.parametrize("call", [layer_norm, rms_norm])
@pytest.mark.parametrize("rows, columns", [(3000, 70), (1100, 129), (600, 256), (70, 1000), (520, 2000), (9000, 8)])
def test_gradients(call, rows, columns):
    rng = np.random.default_rng(rows)
    x, w, b, g = (rng.standard_normal(s).astype("f4") for s in ((rows, columns), columns, columns, (rows, columns)))
    wanted = reference(x + 3, w, g, call is layer_norm)
    found = gradients(call, (x + 3, w, b), g)
    for a, b_, scale in zip(found, wanted, (1, rows**0.5, rows**0.5), strict=True):
        np.testing.assert_allclose(a, b_, rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("call", [layer_norm, rms_norm])
def test_threads_do_not_change_them(call):
    rng = np.random.default_rng(1)
    x, w, b, g = (rng.standard_normal(s).astype("f4") for s in ((2000, 100), 100, 100, (2000, 100)))
    found = []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        found.append([a.tobytes() for a in gradients(call, (x, w, b), g)])
    assert all(f == found[0] for f in found)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("bfloat16", 1e-2), ("float16", 2e-3)])
def test_sums_of_other_dtypes(dtype, tolerance):
    """A row of two dimensions, and weights that want a gradient alone."""
    rng = np.random.default_rng(3)
    x, w, b, g = (
        torch.tensor(rng.standard_normal(s)).to(getattr(torch, dtype)) for s in ((900, 90), 90, 90, (900, 90))
    )
    exact = reference(*(a.double().numpy() for a in (x, w, g)), True)
    for wanted in ((0, 1, 2), (1, 2), (2,), (0, 2)):
        leaves = [a.reshape(*a.shape[:-1], 9, 10).requires_grad_(k in wanted) for k, a in enumerate((x, w, b))]
        y = F.layer_norm(leaves[0], (9, 10), *leaves[1:])
        for k, got in zip(
            wanted, torch.autograd.grad(y, [leaves[k] for k in wanted], g.reshape(900, 9, 10)), strict=True
        ):
            scale = np.abs(exact[k]).max()
            np.testing.assert_allclose(
                got.double().numpy().reshape(exact[k].shape), exact[k], rtol=0, atol=tolerance * scale
            )


def test_rows_in_another_order():
    """A transposed input has rows that are not dense; a sum's gradient is one number expanded over all elements."""
    rng = np.random.default_rng(2)
    x, w, b, g = (rng.standard_normal(s).astype("f4") for s in ((96, 1200), 96, 96, (1200, 96)))
    for a, want in zip(gradients(layer_norm, (x, w, b), g, lambda x: x.t()), reference(x.T, w, g, True), strict=True):
        np.testing.assert_allclose(a.T if a.shape == x.shape else a, want, rtol=1e-5, atol=1e-4)
    ones = np.ones((1200, 96), "f4")
    x_, w_, b_ = (torch.tensor(a, requires_grad=True) for a in (x.T.copy(), w, b))
    layer_norm(x_, w_, b_).sum().backward()
    for t, want in zip((x_, w_, b_), reference(x.T, w, ones, True), strict=True):
        np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-5, atol=1e-4)


def test_sums_without_what_is_known():
    x, y, b, c = (input_(k, "f64") for k in range(4))
    roles = dict(enumerate("FFBB"))
    total = lambda e: centred.row_sum(e, lambda v: bool(row.spaces([v], roles)[v] & row.ROW))  # noqa: E731
    from_mean = x - row.row_mean(x)
    assert total(from_mean * b) is const(0.0, "f64")
    assert total(x * b * y) is b * row.row_sum(x * y)
    assert total(y * (x / c) * b) is (1.0 / c) * b * row.row_sum(y * x)
    assert total(y * b - from_mean * c) is b * row.row_sum(y)
    assert total(-(x * b)) is -b * row.row_sum(x)
    for kept in (x * b + y, x + b, x * y, x - row.row_mean(y)):
        assert total(kept) is row.row_sum(kept)


def test_statistics_that_the_forward_gives_are_not_made_again():
    _, saved, _ = rowderive.backward_plan("batch_norm_train", "", False, 7)
    assert {(True, 1), (True, 2)} <= set(saved)
    x = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    _, mean, var = operators.batch_norm_train(x, None, None, 1e-5)
    assert mean.dtype is torch.float32 and var.dtype is torch.float32
    exact = x.double()
    torch.testing.assert_close(mean.double(), exact.mean((0, 2)), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(var.double(), exact.var((0, 2), unbiased=False), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", [65536, 65537, 81919, 300001, 1 << 20])
def test_long_rows_in_chunks(n):
    x = np.random.default_rng(n).standard_normal(2 * n).astype("f4")
    for array, view in ((x[:n], lambda t: t[:n]), (x[::2], lambda t: t[::2]), (x, lambda t: t.reshape(2, n))):
        t, exact = view(torch.tensor(x)), array.astype("f8")
        np.testing.assert_allclose(t.sum().item(), exact.sum(), rtol=0, atol=1e-7 * n)
        np.testing.assert_allclose(t.var().item(), exact.var(ddof=1), rtol=1e-5)
        np.testing.assert_allclose(t.reshape(-1).logsumexp(0).item(), np.log(np.exp(exact).sum()), rtol=1e-6)
        assert t.argmax().item() == exact.argmax() and t.max().item() == exact.max()
    softmax = torch.softmax(torch.tensor(x), 0).numpy()
    np.testing.assert_allclose(softmax, np.exp(x.astype("f8")) / np.exp(x.astype("f8")).sum(), rtol=1e-5)
