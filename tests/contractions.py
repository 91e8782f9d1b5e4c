"""Cases of matrix products and convolutions for the tests of one process or several: prints a digest of the results.

Operands are flambeau's own memory, so that guard mode sees every access; references are NumPy's in float64.
"""

import hashlib
import itertools
import sys

import numpy as np

import flambeau.ops
from flambeau import _core
from flambeau.ops.names import namespace
from flambeau.ops.names import operators as o

namespace()  # methods of Tensor are there from now on

TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "complex64": 2e-5, "complex128": 1e-12}
HALVES = {"float16": 2**-11, "bfloat16": 2**-8}


def tensor(array: np.ndarray, dtype: str | None = None):
    """A tensor of flambeau's own memory; bfloat16 from the high halves of float32."""
    if dtype == "bfloat16":
        return _core.tensor((array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.int16)).view(
            _core.bfloat16
        )
    return _core.tensor(array.astype(dtype) if dtype else array)


def numpy(t) -> np.ndarray:
    """The values; halves as float32."""
    if t.dtype == _core.bfloat16:
        return (t.view(_core.int16).numpy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    array = t.numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array


def last(array: np.ndarray, dtype: str | None = None):
    """The same values in a tensor whose memory is channels last."""
    moved = tensor(np.ascontiguousarray(array.transpose((0, *range(2, array.ndim), 1))), dtype)
    return o.permute(moved, (0, array.ndim - 1, *range(1, array.ndim - 1)))


def layout(array: np.ndarray, kind: str, dtype: str):
    """A tensor with the values of a matrix and memory laid out in a certain way."""
    rows, columns = array.shape
    if kind == "transposed":
        return o.transpose(tensor(np.ascontiguousarray(array.T), dtype), 0, 1)
    if kind == "plain":
        return tensor(array, dtype)
    step, first = (3, 1) if kind == "strided" else (1, 2)
    parent = np.zeros((rows, columns * step + 5), array.dtype)
    where = slice(first, first + columns * step, step)
    parent[:, where] = array
    return tensor(parent, dtype)[:, where]


def values(rng: np.random.Generator, shape: tuple, dtype: str) -> np.ndarray:
    """Random numbers that the dtype holds exactly; halves as float32."""
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 1 << 15, shape).astype(dtype)
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        return (x + 1j * rng.standard_normal(shape)).astype(dtype)
    return (np.round(x * 32) / 32).astype(np.float32) if dtype in HALVES else x.astype(dtype)


def check(got: np.ndarray, wanted: np.ndarray, dtype: str, what: object) -> None:
    assert got.shape == wanted.shape, what
    if dtype.startswith(("int", "uint")):
        np.testing.assert_array_equal(got, wanted, err_msg=str(what))
        return
    scale = max(1.0, np.abs(wanted).max(initial=0.0))
    tolerance = HALVES[dtype] if dtype in HALVES else TOLERANCE[dtype]
    assert np.abs(got - wanted).max(initial=0.0) <= tolerance * scale, what


def convolve(x, w, dy, window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Result and both gradients of a convolution, one kernel position after the other."""
    stride, padding, dilation, groups = window
    size, kernel, out = x.shape[2:], w.shape[2:], dy.shape[2:]
    need = [
        max(s + 2 * p, (n - 1) * st + d * (k - 1) + 1)
        for s, p, n, st, d, k in zip(size, padding, out, stride, dilation, kernel, strict=True)
    ]
    inner = (..., *(slice(p, p + s) for p, s in zip(padding, size, strict=True)))
    padded = np.zeros((*x.shape[:2], *need), x.dtype)
    padded[inner] = x
    y, dw, dpadded = np.zeros_like(dy), np.zeros_like(w), np.zeros_like(padded)
    channels, outputs = w.shape[1], w.shape[0] // groups
    for k in itertools.product(*map(range, kernel)):
        seen = tuple(
            slice(d * i, d * i + st * (n - 1) + 1, st) for d, i, st, n in zip(dilation, k, stride, out, strict=True)
        )
        for g in range(groups):
            c = slice(g * channels, (g + 1) * channels)
            n = slice(g * outputs, (g + 1) * outputs)
            part = padded[(slice(None), c, *seen)]
            y[:, n] += np.einsum("oc,nc...->no...", w[(n, slice(None), *k)], part)
            dpadded[(slice(None), c, *seen)] += np.einsum("oc,no...->nc...", w[(n, slice(None), *k)], dy[:, n])
            flat = dy[:, n].reshape(len(dy), outputs, -1), part.reshape(len(dy), channels, -1)
            dw[(n, slice(None), *k)] += np.einsum("nop,ncp->oc", *flat)
    return y, dpadded[inner], dw


def output_size(size, kernel, window) -> tuple[int, ...]:
    stride, padding, dilation, _ = window
    return tuple(
        (s + 2 * p - d * (k - 1) - 1) // st + 1
        for s, k, st, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def transposed_size(size, kernel, window) -> tuple[int, ...]:
    """Of a transposed convolution without output padding."""
    stride, padding, dilation, _ = window
    return tuple(
        (s - 1) * st - 2 * p + d * (k - 1) + 1
        for s, k, st, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def run_conv(rng, batch, groups, channels, outputs, size, kernel, window, dtype="float32") -> list[np.ndarray]:
    """Checks one geometry, channels first and channels last; channels and outputs are those of a group.

    Returns the results: of the convolution, and the gradients of input and weight.
    """
    window = (*window, groups)
    out = output_size(size, kernel, window)
    x, w, dy = (
        values(rng, shape, dtype)
        for shape in (
            (batch, channels * groups, *size),
            (outputs * groups, channels, *kernel),
            (batch, outputs * groups, *out),
        )
    )
    bias = values(rng, (outputs * groups,), dtype)
    tw, tbias = tensor(w, dtype), tensor(bias, dtype)
    wide = x.dtype if dtype.startswith(("int", "complex")) else np.float64
    y, dx, dw = convolve(x.astype(wide), w.astype(wide), dy.astype(wide), window)
    wanted = (y + bias.astype(wide).reshape(-1, *[1] * len(size)), dx, dw)
    arrays = []
    for place in (tensor, last) if len(size) > 1 else (tensor,):
        tx, tdy = place(x, dtype), place(dy, dtype)
        results = (
            getattr(o, f"conv{len(size)}d")(tx, tw, tbias, *window),
            o.conv_input_grad(tdy, tw, x.shape, *window),
            o.conv_weight_grad(tdy, tx, w.shape, *window),
        )
        for result, want in zip(results, wanted, strict=True):
            got = numpy(result)
            want = want.astype(got.dtype) if dtype.startswith("int") else want
            check(got, want, dtype, (batch, size, kernel, window, place.__name__))
            arrays.append(got)
    return arrays


def run_gemm(rng, m, n, k, left="plain", right="plain", dtype="float32") -> np.ndarray:
    a, b = values(rng, (m, k), dtype), values(rng, (k, n), dtype)
    got = numpy(o.mm(layout(a, left, dtype), layout(b, right, dtype)))
    wide = a.dtype if dtype.startswith(("int", "uint", "complex")) else np.float64
    check(got, a.astype(wide) @ b.astype(wide), dtype, (m, n, k, left, right, dtype))
    return got


LAYOUTS = ("plain", "transposed", "strided", "sliced")
EDGES = (1, 2, 3, 5, 8, 13, 15, 16, 17, 31, 33, 47, 49, 64, 100, 129, 257)
DEPTHS = (*EDGES, 513, 800, 1100)
# batch, groups, channels, outputs, size, kernel, (stride, padding, dilation)
CONVOLUTIONS = [
    (2, 1, 20, 33, (14, 14), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (35, 1, 9, 20, (7, 7), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (20, 1, 30, 20, (8, 8), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (17, 1, 70, 90, (5, 4), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (13, 2, 16, 17, (10, 12), (3, 5), ((2, 1), (1, 3), (1, 2))),
    (17, 2, 8, 6, (9, 8), (3, 2), ((2, 1), (1, 0), (1, 2))),
    (2, 1, 3, 16, (33, 31), (7, 7), ((2, 2), (3, 3), (1, 1))),
    (3, 1, 1, 6, (28, 28), (5, 5), ((1, 1), (2, 2), (1, 1))),
    (16, 1, 6, 16, (14, 14), (5, 5), ((1, 1), (0, 0), (1, 1))),
    (1, 1, 130, 70, (20, 20), (1, 1), ((1, 1), (0, 0), (1, 1))),
    (2, 1, 5, 7, (13, 11), (1, 1), ((2, 2), (0, 0), (1, 1))),
    (2, 6, 1, 1, (30, 17), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (3, 5, 1, 2, (21, 35), (5, 5), ((2, 2), (2, 2), (1, 1))),
    (2, 3, 1, 1, (90, 130), (3, 3), ((1, 1), (2, 1), (2, 1))),
    (19, 7, 2, 1, (9, 10), (2, 4), ((3, 2), (3, 2), (1, 1))),
    (3, 5, 1, 2, (33, 65), (3, 3), ((2, 2), (1, 1), (1, 1))),
    (3, 5, 1, 1, (15, 21), (7, 7), ((1, 1), (3, 3), (1, 1))),
    (2, 4, 1, 1, (40, 70), (3, 3), ((2, 2), (3, 4), (1, 1))),
    (2, 4, 1, 1, (3, 40), (3, 2), ((1, 1), (4, 0), (1, 7))),
    (1, 1, 100, 40, (30, 33), (3, 3), ((1, 1), (2, 2), (2, 2))),
    (2, 1, 4, 5, (1, 50), (1, 9), ((1, 3), (0, 4), (1, 1))),
    (2, 1, 4, 5, (6, 6), (3, 3), ((3, 3), (4, 4), (1, 1))),
    (2, 1, 3, 4, (5, 6, 7), (3, 2, 3), ((1, 2, 1), (1, 0, 2), (1, 1, 2))),
    (2, 2, 3, 4, (40,), (5,), ((2,), (2,), (1,))),
    (3, 11, 1, 1, (7, 7), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (3, 5, 1, 1, (9, 7), (5, 5), ((1, 1), (2, 2), (1, 1))),
    (2, 6, 1, 1, (14, 14), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (2, 5, 1, 1, (9, 140), (5, 5), ((2, 2), (2, 2), (1, 1))),
    (2, 3, 1, 1, (13, 16), (7, 7), ((1, 1), (3, 3), (1, 1))),
    (30, 2, 1, 1, (5, 4), (5, 5), ((1, 1), (2, 2), (1, 1))),
    (2, 9, 1, 1, (9, 6), (3, 3), ((1, 1), (2, 2), (2, 2))),
    (2, 5, 1, 1, (3, 5, 6), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (2, 1, 20, 17, (4, 9, 17), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (3, 2, 5, 9, (5, 4, 5), (3, 1, 1), ((1, 1, 1), (1, 0, 0), (1, 1, 1))),
    (9, 1, 20, 17, (4, 5), (4, 5), ((1, 1), (0, 0), (1, 1))),
    (33, 1, 70, 24, (1, 1), (1, 1), ((1, 1), (0, 0), (1, 1))),
    (3, 1, 5, 6, (2, 3, 4), (2, 3, 4), ((1, 1, 1), (0, 0, 0), (1, 1, 1))),
    (3, 1, 1, 9, (20, 33), (3, 33), ((1, 1), (0, 0), (1, 1))),
    (2, 1, 2, 5, (20, 50), (7, 33), ((2, 1), (1, 3), (1, 1))),
    (3, 1, 1, 17, (9, 40), (3, 9), ((1, 2), (1, 3), (1, 1))),
    (2, 1, 2, 20, (60,), (11,), ((3,), (2,), (1,))),
    (2, 1, 1, 5, (5, 6, 30), (2, 3, 21), ((1, 2, 3), (1, 0, 2), (1, 1, 1))),
    (2, 1, 7, 20, (6, 18, 17), (2, 3, 3), ((1, 1, 1), (0, 0, 0), (2, 1, 1))),
    (2, 1, 9, 8, (7, 9, 10), (3, 3, 3), ((2, 2, 2), (1, 1, 1), (1, 1, 1))),
    (2, 1, 4, 6, (5, 6, 6), (2, 2, 2), ((2, 3, 3), (0, 0, 0), (1, 1, 1))),
    (2, 6, 1, 1, (5, 12, 19), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (2, 5, 1, 2, (7, 8, 9), (3, 2, 3), ((2, 1, 2), (2, 0, 1), (1, 2, 1))),
    (18, 1, 12, 16, (3, 5, 5), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (1, 1, 2, 3, (1, 7, 7), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    # Strides with many outputs: even and odd sizes, rows or columns that no tap reaches, kernels that outgrow the image.
    (3, 1, 5, 19, (40, 38), (3, 3), ((2, 2), (1, 1), (1, 1))),
    (2, 2, 4, 10, (37, 45), (7, 5), ((2, 3), (3, 2), (1, 1))),
    (2, 1, 4, 20, (53, 70), (2, 2), ((3, 4), (0, 1), (1, 1))),
    (2, 1, 6, 5, (45, 44), (1, 1), ((2, 2), (0, 0), (1, 1))),
    (1, 1, 8, 11, (41, 39), (3, 3), ((2, 2), (2, 2), (2, 2))),
    (2, 1, 3, 5, (4, 90), (9, 5), ((2, 2), (5, 2), (1, 1))),
    (2, 1, 3, 4, (9, 300), (2, 2), ((100000, 1), (0, 0), (1, 1))),
    (1, 1, 3, 33, (64, 48), (16, 16), ((16, 16), (0, 0), (1, 1))),
    (2, 1, 6, 10, (18, 17), (3, 3), ((1, 1), (2, 2), (1, 1))),
    (2, 1, 6, 9, (12, 14, 16), (3, 3, 3), ((2, 2, 2), (1, 1, 1), (1, 1, 1))),
    (1, 2, 5, 10, (9, 21, 20), (2, 3, 3), ((1, 2, 2), (0, 1, 1), (1, 1, 1))),
    (2, 1, 4, 7, (11, 13, 15), (4, 4, 4), ((2, 2, 2), (1, 1, 1), (1, 1, 1))),
    (2, 1, 7, 12, (1000,), (9,), ((4,), (4,), (1,))),
    # Units enough that each deals out its strides for itself: parts of images, groups, blocks of depth, slices.
    (2, 2, 3, 5, (120, 130), (3, 3), ((2, 2), (1, 1), (1, 1))),
    (24, 1, 40, 3, (42, 41), (5, 5), ((2, 2), (2, 2), (1, 1))),
    (8, 1, 2, 3, (16, 30, 30), (3, 3, 3), ((2, 2, 2), (1, 1, 1), (1, 1, 1))),
    (17, 1, 3, 4, (2000,), (9,), ((4,), (4,), (1,))),
    # Patches that cover every pixel at most once: with pixels that are left over, in three dimensions, in several blocks.
    (3, 1, 3, 5, (17, 35), (4, 8), ((4, 8), (0, 0), (1, 1))),
    (2, 1, 2, 3, (5, 6, 20), (2, 3, 10), ((2, 3, 10), (0, 0, 0), (1, 1, 1))),
    (3, 1, 8, 2, (256, 512), (16, 16), ((16, 16), (0, 0), (1, 1))),
    # Padding that several rows of taps fall into.
    (2, 1, 9, 30, (28, 28), (3, 3), ((1, 1), (2, 2), (2, 2))),
    (2, 1, 7, 20, (24, 20), (7, 7), ((1, 1), (3, 3), (1, 1))),
    (1, 2, 5, 17, (6, 12, 14), (5, 5, 3), ((1, 1, 1), (2, 2, 1), (1, 1, 1))),
    # Channels that fill vectors, and several bands of rows.
    (2, 1, 16, 18, (20, 24), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (1, 1, 31, 17, (50, 40), (5, 3), ((1, 1), (2, 1), (1, 1))),
    (1, 2, 15, 16, (30, 36), (3, 3), ((1, 1), (2, 2), (2, 2))),
    (1, 1, 47, 16, (6, 40), (15, 3), ((1, 1), (7, 1), (1, 1))),
    (2, 1, 16, 20, (4, 14, 15), (3, 3, 3), ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (1, 1, 16, 16, (16, 256), (3, 3), ((1, 1), (1, 1), (1, 1))),
    (4, 1, 17, 16, (30, 32), (3, 3), ((1, 1), (1, 1), (1, 1))),
    # Without padding: computed wider than wanted.
    (2, 1, 15, 10, (22, 23), (3, 3), ((1, 1), (0, 0), (1, 1))),
    (2, 1, 15, 10, (41, 43), (3, 3), ((2, 2), (0, 0), (1, 1))),
    (1, 1, 6, 5, (8, 14, 15), (3, 3, 3), ((1, 1, 1), (0, 0, 0), (1, 1, 1))),
    (5, 1, 9, 260, (14, 14), (3, 3), ((2, 2), (1, 1), (1, 1))),
    # Strides with outputs (or inputs, for the gradient) that fill vectors: pixels are read where they lie.
    (2, 1, 64, 32, (46, 47), (3, 3), ((2, 2), (1, 1), (1, 1))),
    (1, 2, 32, 64, (63, 70), (7, 5), ((2, 2), (3, 2), (1, 1))),
    (3, 1, 96, 32, (40, 39), (1, 1), ((2, 2), (0, 0), (1, 1))),
    (5, 1, 32, 96, (30, 29), (3, 4), ((1, 2), (2, 3), (2, 1))),
    (1, 1, 32, 32, (17, 30, 29), (3, 3, 3), ((2, 2, 2), (1, 1, 1), (1, 1, 1))),
    (3, 1, 32, 64, (40, 4, 31), (2, 3, 1), ((3, 2, 1), (1, 1, 0), (1, 1, 2))),
    (2, 1, 32, 64, (2500,), (9,), ((3,), (4,), (1,))),
]


def main(count: int) -> str:
    """Products and convolutions of many forms; the digest of their bits."""
    assert flambeau.ops
    rng = np.random.default_rng(7)
    digest = hashlib.sha256()
    for _ in range(count):
        m, n, k = (int(rng.choice(c)) for c in (EDGES, EDGES, DEPTHS))
        left, right = (str(x) for x in rng.choice(LAYOUTS, 2))
        digest.update(run_gemm(rng, m, n, k, left, right).tobytes())
        digest.update(run_gemm(rng, m, n, k, left, right, str(rng.choice(list(HALVES)))).tobytes())
        digest.update(run_gemm(rng, m, n, k, left, right, "complex64").tobytes())
    for m, n, k in ((300, 500, 900), (20, 24, 30000), (1, 3000, 700), (2, 3, 70000)):
        for right in ("plain", "transposed"):
            for dtype in ("float32", "complex64", *HALVES):
                digest.update(run_gemm(rng, m, n, k, "plain", right, dtype).tobytes())
    for case in CONVOLUTIONS:
        for array in run_conv(rng, *case):
            digest.update(array.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
