"""Matrix products and convolutions against NumPy: every layout, dtype and edge; the same bits for any thread count."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import contractions as c
import flambeau
from flambeau.codegen.target import host_level
from flambeau.ops.names import operators as o


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("left", c.LAYOUTS)
@pytest.mark.parametrize("right", c.LAYOUTS)
def test_layouts(rng: np.random.Generator, left: str, right: str) -> None:
    small = ((1, 1, 1), (1, 40, 70), (70, 1, 40), (2, 3, 4), (15, 33, 17))
    for m, n, k in (*small, (64, 64, 64), (17, 400, 33), (130, 300, 850)):
        for dtype in ("float32", "float64"):
            c.run_gemm(rng, m, n, k, left, right, dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_layouts_of_complex_numbers(rng: np.random.Generator, dtype: str) -> None:
    sizes = ((1, 1, 1), (1, 40, 70), (70, 1, 40), (2, 3, 4), (15, 33, 17), (64, 64, 64), (130, 100, 450), (9, 20, 5000))
    for left, right in itertools.product(c.LAYOUTS, repeat=2):
        for m, n, k in sizes:
            c.run_gemm(rng, m, n, k, left, right, dtype)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 700, 900), (2, 1100, 500), (3, 1001, 1301), (200, 230, 1300)])
def test_few_rows_of_a_far_operand_and_deep_blocks(rng: np.random.Generator, m: int, n: int, k: int) -> None:
    for left in c.LAYOUTS:
        c.run_gemm(rng, m, n, k, left, "plain", "float32")


@pytest.mark.parametrize(
    "dtype",
    ["float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "complex64", "complex128"],
)
def test_other_dtypes(rng: np.random.Generator, dtype: str) -> None:
    for m, n, k in ((1, 1, 1), (1, 40, 30), (40, 1, 30), (17, 33, 9), (250, 300, 20)):
        for right in ("plain", "transposed"):
            c.run_gemm(rng, m, n, k, "plain", right, dtype)


@pytest.mark.parametrize("dtype", ["int64", "complex64", "complex128"])
def test_blocks_of_other_dtypes(rng: np.random.Generator, dtype: str) -> None:
    """Copies of the left operand, and the right one in parts."""
    for m, n, k in ((3, 130, 70), (4, 64, 1), (70, 700, 900)):
        for left, right in (("plain", "plain"), ("transposed", "transposed")):
            c.run_gemm(rng, m, n, k, left, right, dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_sums_and_rows(rng: np.random.Generator, dtype: str) -> None:
    a, b, row, whole = (
        (rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in ((9, 20), (20, 70), 70, (9, 70))
    )
    x, y, r, w = (flambeau.from_numpy(v) for v in (a, b, row, whole))
    close = {"rtol": 1e-4 if dtype == "complex64" else 1e-12, "atol": 1e-5 if dtype == "complex64" else 1e-13}
    np.testing.assert_allclose(o.addmm(w, x, y).numpy(), whole + a @ b, **close)
    np.testing.assert_allclose(o.linear(x, y.mT, r).numpy(), a @ b + row, **close)
    np.testing.assert_allclose(o.matmul(x[:, None], y).numpy()[:, 0], a @ b, **close)


def test_half_is_summed_in_float32() -> None:
    """4,096 ones: a sum in float16 stays at 2,048, one in bfloat16 at 256."""
    for dtype in ("float16", "bfloat16"):
        ones = c.tensor(np.ones((2, 4096), np.float32), dtype)
        assert (c.numpy(o.mm(ones, o.transpose(ones, 0, 1))) == 4096).all()


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "complex64"])
def test_empty(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    a, b = (c.tensor(np.zeros(s, np.float32), dtype) for s in ((m, k), (k, n)))
    got = c.numpy(o.mm(a, b))
    assert got.shape == (m, n) and (got == 0).all()


@pytest.mark.parametrize("rows", [1, 3, 17, 200])
def test_linear(rng: np.random.Generator, rows: int) -> None:
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((rows, 70), (450, 70), (450,)))
    got = o.linear(c.tensor(x), c.tensor(w), c.tensor(b)).numpy()
    c.check(got, x.astype(np.float64) @ w.T + b, "float32", rows)


def test_batches(rng: np.random.Generator) -> None:
    for shape_a, shape_b in (
        ((5, 7, 9), (5, 9, 4)),
        ((1, 7, 9), (5, 9, 4)),
        ((3, 1, 7, 9), (4, 9, 2)),
        ((9,), (3, 9, 2)),
    ):
        a, b = rng.standard_normal(shape_a).astype(np.float32), rng.standard_normal(shape_b).astype(np.float32)
        got = o.matmul(c.tensor(a), c.tensor(b)).numpy()
        c.check(got, np.matmul(a.astype(np.float64), b), "float32", (shape_a, shape_b))


def test_nan_and_infinity_travel() -> None:
    a = np.zeros((20, 30), np.float32)
    a[3, 4], a[5, 6] = np.nan, np.inf
    b = np.ones((30, 50), np.float32)
    got = o.mm(c.tensor(a), c.tensor(b)).numpy()
    assert np.isnan(got[3]).all() and np.isposinf(got[5]).all()
    assert (np.delete(got, [3, 5], 0) == 0).all()


@pytest.mark.parametrize("case", c.CONVOLUTIONS, ids=lambda case: f"{case[4]}-{case[5]}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions(rng: np.random.Generator, case: tuple, dtype: str) -> None:
    c.run_conv(rng, *case, dtype=dtype)


@pytest.mark.parametrize("case", [((1, 1), (4, 5), 0), ((3, 1), (3, 33), 0), ((2, 2), (7, 30), 1)])
def test_transposed_convolutions_of_few_pixels(rng: np.random.Generator, case: tuple) -> None:
    size, kernel, padding = case
    x, w, bias = (rng.standard_normal(s).astype(np.float32) for s in ((3, 6, *size), (6, 2, *kernel), (2,)))
    want = np.zeros((3, 2, *(n + k - 1 for n, k in zip(size, kernel, strict=True))))
    for i, j in np.ndindex(*size):
        want[:, :, i : i + kernel[0], j : j + kernel[1]] += np.einsum("nc,cohw->nohw", x[:, :, i, j], w)
    inner = (slice(padding, n - padding) for n in want.shape[2:])
    got = o.conv_transpose2d(c.tensor(x), c.tensor(w), c.tensor(bias), (1, 1), (padding, padding))
    c.check(got.numpy(), want[:, :, *inner] + bias.reshape(-1, 1, 1), "float32", case)


def test_results_that_go_past_the_caches(rng: np.random.Generator) -> None:
    """16 MiB and more; whole panels at the first line of a row, and others."""
    for size in ((256, 384), (255, 336)):
        x, w = rng.standard_normal((1, 9, *size)), rng.standard_normal((50, 9, 1, 3))
        got = o.conv2d(c.tensor(x, "float32"), c.tensor(w, "float32"), None, (1, 1), (0, 1), (1, 1), 1).numpy()
        padded = np.pad(x[0], ((0, 0), (0, 0), (1, 1)))
        wanted = sum(np.tensordot(w[:, :, 0, k], padded[..., k : k + size[1]], 1) for k in range(3))
        c.check(got[0], wanted, "float32", size)


def test_planes_of_no_whole_lines_that_go_past_the_caches(rng: np.random.Generator) -> None:
    """Each is made in scratch memory first, whatever its size."""
    x = rng.standard_normal((1, 64, 301, 299), dtype=np.float32)
    w = rng.standard_normal((64, 1, 3, 3), dtype=np.float32)
    y = o.conv2d(flambeau.from_numpy(x), flambeau.from_numpy(w), None, 1, 0, 1, 64).numpy()
    assert y.nbytes > 16 << 20 and y[0, 0].nbytes % 64
    taps = itertools.product(range(3), range(3))
    expected = sum(x[:, :, i : i + 299, j : j + 297] * w[:, 0, i, j, None, None] for i, j in taps)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)



@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "complex64"])
def test_convolutions_of_other_dtypes(rng: np.random.Generator, dtype: str) -> None:
    c.run_conv(rng, 2, 2, 3, 4, (9, 8), (3, 3), ((2, 1), (1, 1), (1, 2)), dtype=dtype)


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 0, 5, 5)])
def test_empty_convolutions(shape: tuple[int, ...]) -> None:
    x, w = np.zeros(shape, np.float32), np.ones((4, shape[1], 3, 3), np.float32)
    window = ((1, 1), (1, 1), (1, 1), 1)
    y = o.conv2d(c.tensor(x), c.tensor(w), None, *window)
    assert tuple(y.shape) == (shape[0], 4, 5, 5) and (y.numpy() == 0).all()
    dw = o.conv_weight_grad(y, c.tensor(x), w.shape, *window)
    assert tuple(dw.shape) == w.shape and (dw.numpy() == 0).all()


def test_infinity_in_a_plane_stays_with_its_taps() -> None:
    """Zeros behind the rows of the gradient are not multiplied by what stands in the input there."""
    x, dy = np.ones((1, 2, 5, 21), np.float32), np.zeros((1, 2, 5, 19), np.float32)
    x[0, 0, 2, 20] = np.inf
    dy[0, :, 1:3, 18] = 1
    dw = o.conv_weight_grad(c.tensor(dy), c.tensor(x), (2, 1, 1, 3), (1, 1), (0, 0), (1, 1), 2).numpy()
    np.testing.assert_array_equal(dw[:, 0, 0], [[2, 2, np.inf], [2, 2, 2]])


def digest(count: int, **environment: str) -> str:
    """What contractions.py prints in a process of its own."""
    script = Path(c.__file__)
    done = subprocess.run(
        [sys.executable, str(script), str(count)], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_same_bits_for_any_number_of_threads() -> None:
    first = digest(30, FLAMBEAU_NUM_THREADS="1")
    for threads in ("2", "3", "7"):
        assert digest(30, FLAMBEAU_NUM_THREADS=threads) == first


def shifted(array: np.ndarray):
    """The same values, one element behind an aligned address."""
    parent = c.tensor(np.concatenate([[0], array.ravel()]).astype(array.dtype))
    return parent[1:].view(array.shape)


def test_same_bits_wherever_operands_lie(rng: np.random.Generator) -> None:
    for m, n, k in ((1, 100, 70), (64, 100, 33), (130, 200, 900)):
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
        np.testing.assert_array_equal(o.mm(shifted(a), shifted(b)).numpy(), o.mm(c.tensor(a), c.tensor(b)).numpy())
    for batch, size, stride in ((2, 28, 1), (16, 14, 1), (3, 15, 2)):
        x, w = rng.standard_normal((batch, 8, size, size)), rng.standard_normal((12, 8, 3, 3))
        x, w = x.astype(np.float32), w.astype(np.float32)
        window = ((stride, stride), (1, 1), (1, 1), 1)
        y = o.conv2d(c.tensor(x), c.tensor(w), None, *window)
        np.testing.assert_array_equal(o.conv2d(shifted(x), shifted(w), None, *window).numpy(), y.numpy())
        for name, other, like in (("conv_input_grad", w, x), ("conv_weight_grad", x, w)):
            gradient = getattr(o, name)
            wanted = gradient(y, c.tensor(other), like.shape, *window).numpy()
            got = gradient(shifted(y.numpy()), shifted(other), like.shape, *window).numpy()
            np.testing.assert_array_equal(got, wanted)


def test_loops_serve_where_no_kernels_can_be_had() -> None:
    program = """
import flambeau.codegen.contract as kernels
kernels.provide = lambda dtype: None
import contractions
contractions.main(15)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(c.__file__).parent)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("guard", ["start", "end"])
def test_nothing_outside_the_operands_is_touched(guard: str) -> None:
    """Guard mode puts every block against a protected page."""
    assert digest(60, FLAMBEAU_GUARD=guard, FLAMBEAU_NUM_THREADS="1")


@pytest.mark.skipif(host_level() != "x86-64-v4", reason="the description of a lesser machine than this one")
@pytest.mark.parametrize("guard", ["0", "start", "end"])
def test_avx2_description(guard: str) -> None:
    assert digest(60, FLAMBEAU_TARGET="x86-64-v3", FLAMBEAU_GUARD=guard)


@pytest.mark.parametrize(("channels", "outputs", "groups"), [(20, 33, 1), (3, 16, 1), (40, 40, 40), (32, 8, 2)])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(13, 9), (7, 5, 6), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_channels_last(rng: np.random.Generator, channels, outputs, groups, kernel, size, dtype) -> None:
    """The values of channels-first operands, in memory that is channels last."""
    n = len(size)
    x = rng.standard_normal((2, channels, *size)).astype(dtype)
    w = rng.standard_normal((outputs, channels // groups, *[kernel] * n)).astype(dtype)
    bias, dy = rng.standard_normal(outputs).astype(dtype), rng.standard_normal((2, outputs, *size)).astype(dtype)
    window = ((1,) * n, (kernel // 2,) * n, (1,) * n, groups)
    y, dx, dw = c.convolve(x.astype(np.float64), w.astype(np.float64), dy.astype(np.float64), window)
    tw, conv = c.tensor(w), getattr(o, f"conv{n}d")
    got_y = conv(c.last(x), tw, c.tensor(bias), *window)
    c.check(got_y.numpy(), y + bias.reshape(-1, *[1] * n), dtype, "result")
    got_dx = o.conv_input_grad(c.last(dy), tw, x.shape, *window)
    c.check(got_dx.numpy(), dx, dtype, "gradient of the input")
    c.check(o.conv_weight_grad(c.last(dy), c.last(x), w.shape, *window).numpy(), dw, dtype, "gradient of the weight")
    c.check(o.conv_weight_grad(c.tensor(dy), c.last(x), w.shape, *window).numpy(), dw, dtype, "mixed operands")
    for got, like in ((got_y, c.last(dy)), (got_dx, c.last(x))):
        assert tuple(got.stride()) == tuple(like.stride())


@pytest.mark.parametrize(("channels", "kernel", "groups"), [(6, 1, 1), (6, 3, 6), (32, 3, 1)])
def test_without_a_batch_no_format_is_channels_last(rng: np.random.Generator, channels, kernel, groups) -> None:
    """Channels, slices, rows and columns in memory that would be channels last if the first were a batch."""
    x = rng.standard_normal((channels, 10, 12, 11)).astype(np.float32)
    w = rng.standard_normal((32 if groups == 1 else channels, channels // groups, *[kernel] * 3)).astype(np.float32)
    window = ((1,) * 3, (kernel // 2,) * 3, (1,) * 3, groups)
    y = o.conv3d(c.tensor(x), c.tensor(w), None, *window)
    np.testing.assert_array_equal(o.conv3d(c.last(x), c.tensor(w), None, *window).numpy(), y.numpy())
    dy = y.numpy()
    dx = o.conv_input_grad(c.tensor(dy), c.tensor(w), x.shape, *window).numpy()
    np.testing.assert_array_equal(o.conv_input_grad(c.last(dy), c.tensor(w), x.shape, *window).numpy(), dx)
    dw = o.conv_weight_grad(c.tensor(dy), c.tensor(x), w.shape, *window).numpy()
    np.testing.assert_array_equal(o.conv_weight_grad(c.last(dy), c.last(x), w.shape, *window).numpy(), dw)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [
        ((13, 21), (3, 3), (1, 1), (1, 1), (1, 1)),
        ((9, 40), (5, 4), (2, 1), (2, 0), (1, 3)),
        ((6, 7), (7, 7), (1, 1), (3, 3), (1, 1)),  # no tap reaches everywhere
        ((12, 11), (2, 2), (3, 3), (0, 0), (1, 1)),  # inputs that no tap reaches
        ((4, 9, 6), (3, 2, 3), (2, 1, 2), (1, 1, 0), (1, 2, 1)),
    ],
)
@pytest.mark.parametrize("channels", [5, 33, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_channels_last_depthwise(rng, channels, size, kernel, stride, padding, dilation, dtype) -> None:
    """Results, gradients and transposed convolutions of operands that are taken as they lie."""
    n, window = len(size), (stride, padding, dilation, channels)
    out = c.output_size(size, kernel, window)
    x, dy = (rng.standard_normal((3, channels, *shape)).astype(dtype) for shape in (size, out))
    w, bias = rng.standard_normal((channels, 1, *kernel)).astype(dtype), rng.standard_normal(channels).astype(dtype)
    y, dx, dw = c.convolve(x.astype(np.float64), w.astype(np.float64), dy.astype(np.float64), window)
    shaped = bias.reshape(-1, *[1] * n)
    tw = c.tensor(w)
    got_y = getattr(o, f"conv{n}d")(c.last(x), tw, c.tensor(bias), *window)
    got_dx = o.conv_input_grad(c.last(dy), tw, x.shape, *window)
    extra = tuple(s - t for s, t in zip(size, c.transposed_size(out, kernel, window), strict=True))
    transposed = getattr(o, f"conv_transpose{n}d")
    got_t = transposed(c.last(dy), tw, c.tensor(bias), stride, padding, extra, channels, dilation)
    c.check(got_y.numpy(), y + shaped, dtype, "result")
    c.check(got_dx.numpy(), dx, dtype, "gradient of the input")
    c.check(got_t.numpy(), dx + shaped, dtype, "transposed convolution")
    c.check(o.conv_weight_grad(c.last(dy), c.last(x), w.shape, *window).numpy(), dw, dtype, "gradient of the weight")
    for got, like in ((got_y, c.last(dy)), (got_dx, c.last(x)), (got_t, c.last(x))):
        assert tuple(got.stride()) == tuple(like.stride())


@pytest.mark.parametrize(("name", "batch"), [("addmm", ()), ("baddbmm", (2,))])
@pytest.mark.parametrize("added", ["whole", "row", "column", "one", "scalar", "transposed"])
@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (0.5, 1), (2, -1.5), (0, 2)])
def test_sums_that_begin_with_a_tensor(name: str, batch: tuple, added: str, beta: float, alpha: float) -> None:
    flambeau.manual_seed(0)
    m, n, k = 5, 18, 7
    shape = {"whole": (*batch, m, n), "row": (n,), "column": (m, 1), "one": (1, 1), "scalar": ()}.get(added, (n, m))
    operands = [
        flambeau.randn(s, dtype=flambeau.float64, requires_grad=True) for s in (shape, (*batch, m, k), (*batch, k, n))
    ]

    def call(start, a, b):
        return getattr(flambeau, name)(start.t() if added == "transposed" else start, a, b, beta=beta, alpha=alpha)

    start, a, b = (t.detach().numpy() for t in operands)
    expected = beta * (start.T if added == "transposed" else start) + alpha * (a @ b)
    np.testing.assert_allclose(call(*operands).detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    assert flambeau.autograd.gradcheck(call, operands)
    if alpha == 1:
        assert flambeau.autograd.gradgradcheck(call, operands)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "complex64"])
def test_sums_that_begin_with_other_types(dtype: str) -> None:
    kind = getattr(flambeau, dtype)
    flambeau.manual_seed(0)
    a, b = ((4 * flambeau.randn(s)).to(kind) for s in ((30, 20), (20, 40)))
    for shape in ((40,), (30, 40)):
        added = (4 * flambeau.randn(shape)).to(kind)
        found = flambeau.addmm(added, a, b)
        wide = kind if dtype in ("int32", "complex64") else flambeau.float32
        expected = added.to(wide) + a.to(wide) @ b.to(wide)
        assert found.dtype is kind
        # 16-bit sums are rounded once.
        np.testing.assert_allclose(
            found.to(wide), expected.to(kind).to(wide), rtol=1e-5 if wide is kind else 2**-7, atol=1e-4
        )


def test_sums_over_nothing_keep_what_they_begin_with() -> None:
    a, b = flambeau.ones(2, 0), flambeau.ones(0, 3)
    for added in (flambeau.rand(3), flambeau.rand(2, 3)):
        assert flambeau.equal(flambeau.addmm(added, a, b), added.expand(2, 3))
    assert flambeau.addmm(flambeau.ones(3), flambeau.ones(0, 4), flambeau.ones(4, 3)).shape == (0, 3)


@pytest.mark.parametrize(("m", "n", "k"), [(2049, 2048, 16), (2050, 2064, 3), (2048, 2049, 5)])
def test_results_larger_than_the_cache(m: int, n: int, k: int) -> None:
    """They may be written past it: the bits are those of some of their rows alone."""
    flambeau.manual_seed(0)
    a, b, bias = flambeau.randn(m, k), flambeau.randn(k, n), flambeau.randn(n)
    whole, affine = a @ b, o.linear(a, b.t(), bias)
    np.testing.assert_allclose(whole.numpy(), a.numpy() @ b.numpy(), rtol=1e-4, atol=1e-5)
    for rows in (slice(0, 100), slice(m - 100, m)):
        assert flambeau.equal(whole[rows], a[rows] @ b)
        assert flambeau.equal(affine[rows], o.linear(a[rows], b.t(), bias))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_tiny_products(rng: np.random.Generator, dtype: str) -> None:
    for m, n, k in itertools.product(range(1, 6), range(1, 6), (0, 1, 3, 4, 5)):
        a, b, start = (rng.standard_normal((70, *s)).astype(dtype) for s in ((m, k), (k, n), (m, n)))
        want = np.matmul(a.astype(np.float64), b)
        layouts = ((c.tensor(a), c.tensor(b)), (c.tensor(a.mT.copy()).mT, c.tensor(b.mT.copy()).mT))
        for left, right in layouts:
            c.check(flambeau.bmm(left, right).numpy(), want, dtype, (m, n, k))
        one = c.tensor(b[:1]).expand(70, k, n)
        c.check(flambeau.bmm(layouts[1][0], one).numpy(), np.matmul(a.astype(np.float64), b[:1]), dtype, (m, n, k))
        c.check(flambeau.baddbmm(c.tensor(start), *layouts[0]).numpy(), want + start, dtype, (m, n, k))
    single = flambeau.stack([flambeau.mm(x, y) for x, y in zip(*layouts[0], strict=True)])
    assert single.equal(flambeau.bmm(*layouts[0]))
