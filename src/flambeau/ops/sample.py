"""Sampling of images at any places: the taps of one axis, and sums over the taps of all axes.

A place between elements is a weighted sum over the elements around it. Along one axis these are its taps: their weights
and their indices, -1 outside. What an image gives is the sum over all combinations of taps of its axes.
"""

from itertools import product

from flambeau.ir import fn

from .launch import Launch
from .launch import product as product_of
from .table import REAL_FLOATS, Loop, Scalar, op

_BLOCK = 1024  # places of one task


def _place(x, n, align: bool):
    n = fn.cast(n, x.dtype)
    return (x + 1) * ((n - 1) * 0.5) if align else ((x + 1) * n - 1) * 0.5


op(
    "sample_place(Tensor self, float size, bool align) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(_place),
    doc="Places -1 ... 1 of an axis of `size` elements in numbers of elements.",
)


def _reflected(x, low, span):
    """Exact as long as there are less than 2**22 reflections: float32 has no places between elements then."""
    x = x - low
    x = fn.where(x < 0, -x, x)
    turns = fn.trunc(x / span)
    extra = fn.fma(-turns, span, x)
    extra = fn.where(extra < 0, extra + span, extra)  # the quotient was rounded up; PyTorch counts it so, too
    back = fn.ne(turns * 0.5, fn.floor(turns * 0.5))
    return fn.where(fn.eq(span, 0), fn.const(0, x.dtype), fn.where(back, span - extra + low, extra + low))


def _inside(x, n, padding: str, align: bool):
    """Places outside brought inside, where the padding says so; nan then becomes 0."""
    if padding == "zeros":
        return x
    if padding == "reflection":
        low = fn.const(0.0 if align else -0.5, x.dtype)
        x = _reflected(x, low, n - 1 if align else n)
    return fn.where(x > 0, fn.where(x < n - 1, x, n - 1), fn.const(0, x.dtype))


def _index(x, n):
    valid = fn.logical_and(x >= 0, x <= n - 1)
    return fn.cast(fn.where(valid, x, fn.const(-1, x.dtype)), "i32")


def _linear(x, n, padding, align):
    n = fn.cast(n, x.dtype)
    x = _inside(x, n, padding, align)
    low = fn.floor(x)
    return low + 1 - x, x - low, _index(low, n), _index(low + 1, n)


def _cubic(x, n, padding, align):
    """Keys' kernel with a = -3/4; taps are brought inside one by one."""
    n = fn.cast(n, x.dtype)
    low, a = fn.floor(x), -0.75
    t = x - low
    outer = [((a * s - 5 * a) * s + 8 * a) * s - 4 * a for s in (t + 1, 2 - t)]
    inner = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (t, 1 - t)]
    indices = (_index(_inside(low + k, n, padding, align), n) for k in (-1, 0, 1, 2))
    return outer[0], *inner, outer[1], *indices


for _mode, _body, _taps in (("bilinear", _linear, 2), ("bicubic", _cubic, 4)):
    op(
        f"sample_{_mode}(Tensor places, float size, str padding, bool align) -> ({', '.join(['Tensor'] * 2 * _taps)})",
        names=(),
        dtypes=REAL_FLOATS,
        result=("promote",) * _taps + ("int32",) * _taps,
        body=Scalar(_body),
        doc=f"Weights, then indices (-1: outside) of the {_taps} taps of places along an axis of `size` elements.",
    )


# ints: places, sizes of the axes
def _nearest_program(b, axes: int, padding: str, align: bool, units: bool):
    """Buffers: weights, indices, places (axes last). One iteration: a block of places."""
    with b.parallel() as i:
        first = i * _BLOCK
        with b.loop(first, fn.minimum(first + _BLOCK, b.int(0)), independent=True) as p:
            for a in range(axes):
                x, n = b.load(2, p * axes + a), fn.cast(b.int(1 + a), b.compute_dtype(2))
                x = _place(x, n, align) if units else x
                b.store(0, a * b.int(0) + p, 1)
                b.store(1, a * b.int(0) + p, _index(fn.round(_inside(x, n, padding, align)), n))


def _nearest_plan(o, places, sizes, padding, align, units):
    axes, count = len(sizes), places.numel() // len(sizes)
    shape = (axes, *places.shape[:-1])
    weights = o.empty(shape, dtype=places.dtype, device=places.device)
    indices = o.empty(shape, dtype=o.int32, device=places.device)
    buffers = (weights, indices, places.contiguous())
    attributes = (axes, padding, align, units)
    tasks = -(-count // _BLOCK)
    return Launch((weights, indices), buffers, [count, *sizes], tasks, 8 * _BLOCK, _nearest_program, attributes)


op(
    "sample_nearest(Tensor places, int[] sizes, str padding, bool align, bool units) -> (Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_nearest_plan, pure=True),
    grad=lambda o, g, places, *rest: (o.zeros_like(places),),
    doc="Weights and indices of the nearest elements, for all axes. `units`: places are from -1 to 1.",
)


# Weights and indices are (taps of x, then of y, then of z; batch; places ...).
# ints: places, elements of an image, channels, blocks of places, batch * places, strides of the axes
class _Taps:
    """The taps of one place; `index` is the dtype of offsets in an image."""

    def __init__(self, b, weights: int, indices: int, at, axes: int, taps: int, index: str):
        self._b = b
        self.combinations = tuple(product(range(taps), repeat=axes))
        self.weights, self.indices = (
            [[b.load(buffer, (a * taps + k) * b.int(4) + at) for k in range(taps)] for a in range(axes)]
            for buffer in (weights, indices)
        )
        self._strides = [fn.cast(b.int(4 + a), index) for a in range(axes)]  # that of the first is 1, and not used

    def place(self, plane, c):
        """Whether a combination's element lies inside of the image, and where (the image's first if it does not)."""
        indices = [fn.cast(i[k], self._strides[0].dtype) for i, k in zip(self.indices, c, strict=True)]
        valid, offset = indices[0] >= 0, indices[0]
        for index, stride in zip(indices[1:], self._strides[1:], strict=True):
            valid, offset = fn.logical_and(valid, index >= 0), offset + index * stride
        offset = fn.where(valid, offset, fn.const(0, offset.dtype))
        return valid, plane * self._b.int(1) + fn.cast(offset, "i64")

    def element(self, buffer: int, plane, c):
        """A combination's element, 0 outside."""
        valid, at = self.place(plane, c)
        value = self._b.load(buffer, at)
        return fn.where(valid, value, fn.const(0, value.dtype))

    def weight(self, c, but: int = -1):
        """The product of a combination's weights, that of one axis left out."""
        total = None
        for a, (weights, k) in enumerate(zip(self.weights, c, strict=True)):
            if a != but:
                total = weights[k] if total is None else total * weights[k]
        return total


def _block_of(b, i):
    """Which image and channel, or which image, a task is for, and its places."""
    blocks, places = b.int(3), b.int(0)
    first = i % blocks * _BLOCK
    return i // blocks, first, fn.minimum(first + _BLOCK, places)


def _sample_program(b, axes: int, taps: int, index: str, together: int):
    """Buffers: output, images, weights, indices. One iteration: a block of places in some channels of an image."""
    with b.parallel() as i:
        group, first, end = _block_of(b, i)
        plane = group * together
        with b.loop(first, end, independent=True) as p:
            t = _Taps(b, 2, 3, plane // b.int(2) * b.int(0) + p, axes, taps, index)
            weights = [t.weight(c) for c in t.combinations]
            for k in range(together):
                total = None
                for c, weight in zip(t.combinations, weights, strict=True):
                    term = weight * t.element(1, plane + k, c)
                    total = term if total is None else total + term
                b.store(0, (plane + k) * b.int(0) + p, total)


def _spread_program(b, axes: int, taps: int, index: str):
    """Buffers: images of zeros, gradient, weights, indices. One iteration: one channel of an image."""
    with b.parallel() as plane, b.loop(0, b.int(0), simd=False) as p:
        t = _Taps(b, 2, 3, plane // b.int(2) * b.int(0) + p, axes, taps, index)
        g = b.load(1, plane * b.int(0) + p)
        for c in t.combinations:
            valid, at = t.place(plane, c)
            with b.when(valid):
                b.store(0, at, b.load(0, at) + t.weight(c) * g)


def _slopes_program(b, axes: int, taps: int, index: str):
    """Buffers: slopes of the weights, gradient, images, weights, indices, a sum for each combination of taps.

    One iteration: a block of places of an image.
    """
    with b.parallel() as i:
        n, first, end = _block_of(b, i)

        def add(plane, fresh: bool):
            """Adds the products of the gradient and the elements of one channel."""
            with b.loop(first, end, independent=True) as p:
                at = n * b.int(0) + p
                t = _Taps(b, 3, 4, at, axes, taps, index)
                g = b.load(1, plane * b.int(0) + p)
                for k, c in enumerate(t.combinations):
                    term = g * t.element(2, plane, c)
                    b.store(5, k * b.int(4) + at, term if fresh else b.load(5, k * b.int(4) + at) + term)

        add(n * b.int(2), True)
        with b.loop(1, b.int(2), simd=False) as channel:
            add(n * b.int(2) + channel, False)
        with b.loop(first, end, independent=True) as p:
            at = n * b.int(0) + p
            t = _Taps(b, 3, 4, at, axes, taps, index)
            sums = [b.load(5, k * b.int(4) + at) for k in range(len(t.combinations))]
            for a, k in product(range(axes), range(taps)):
                total = None
                for c, value in zip(t.combinations, sums, strict=True):
                    if c[a] == k:
                        term = value * t.weight(c, but=a)
                        total = term if total is None else total + term
                b.store(0, (a * taps + k) * b.int(4) + at, total)


def _launch(out, buffers, taps, size, program, by_block: bool, by_channel: int, *more, attributes=()) -> Launch:
    """`by_channel`: how many channels an iteration handles, 0 for all of them."""
    batch, channels, *spatial = size
    axes, elements = len(spatial), product_of(spatial)
    all_places = taps[0].numel() // taps[0].shape[0]
    places = all_places // max(batch, 1)
    blocks = -(-places // _BLOCK) if by_block else 1
    each, planes = taps[0].shape[0] // axes, batch * (channels // by_channel if by_channel else 1)
    strides = [product_of(spatial[axes - a :]) for a in range(1, axes)]
    ints = [places, elements, channels, blocks, all_places, *strides]
    work = (_BLOCK if by_block else places) * each**axes * (by_channel or channels)
    buffers = (out, *(t.contiguous() for t in (*buffers, *taps)), *more)
    attributes = (axes, each, "i32" if elements < 2**31 else "i64", *attributes)
    return Launch((out,), buffers, ints, planes * blocks if out.numel() else 0, work, program, attributes)


def _sample_plan(o, self, weights, indices):
    out = o.empty([*self.shape[:2], *weights.shape[2:]], dtype=self.dtype, device=self.device)
    together = next(k for k in (4, 3, 2, 1) if self.shape[1] % k == 0)
    taps = (weights, indices)
    return _launch(out, (self,), taps, self.shape, _sample_program, True, together, attributes=(together,))


op(
    "sample(Tensor self, Tensor weights, Tensor indices) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_sample_plan, pure=True),
    grad=lambda o, g, self, weights, indices: (
        o.sample_spread(g, weights, indices, self.shape), o.sample_slopes(g, self, weights, indices), None,
    ),
    doc="Sums of the elements of images (N, C, ...) by the taps (axes * taps, N, ...) of places.",
)  # fmt: skip


def _spread_plan(o, g, weights, indices, size):
    out = o.zeros(size, dtype=g.dtype, device=g.device)
    return _launch(out, (g,), (weights, indices), size, _spread_program, False, 1)


op(
    "sample_spread(Tensor g, Tensor weights, Tensor indices, int[] size) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_spread_plan),
    grad=lambda o, h, g, weights, indices, size: (
        o.sample(h, weights, indices), o.sample_slopes(g, h, weights, indices), None,
    ),
    doc="The gradient of `sample` in its images.",
)  # fmt: skip


def _slopes_plan(o, g, self, weights, indices):
    axes = self.dim() - 2
    if self.shape[1] == 0:
        out = o.zeros(weights.shape, dtype=self.dtype, device=self.device)
        return Launch((out,), (), (), 0, 0, _slopes_program, (axes, 1, "i32"))
    out = o.empty(weights.shape, dtype=self.dtype, device=self.device)
    exact = o.float64 if self.dtype is o.float64 else o.float32
    sums = o.empty([(weights.shape[0] // axes) ** axes, *weights.shape[1:]], dtype=exact, device=self.device)
    return _launch(out, (g, self), (weights, indices), self.shape, _slopes_program, True, 0, sums)


def _slopes_grad(o, h, g, self, weights, indices):
    """Slopes are linear in the gradient, the images, and the weights of each axis but their own."""
    axes = self.ndim - 2
    taps = weights.shape[0] // axes
    of_g, of_self, of_weights = None, None, [None] * axes

    def add(total, term):
        return term if total is None else total + term

    def part(t, a):
        return o.narrow(t, 0, a * taps, taps)

    for a in range(axes):
        mixed = o.cat([part(h if d == a else weights, d) for d in range(axes)], 0)
        of_g = add(of_g, o.sample(self, mixed, indices))
        of_self = add(of_self, o.sample_spread(g, mixed, indices, self.shape))
        slopes = o.sample_slopes(g, self, mixed, indices)
        for d in range(axes):
            if d != a:
                of_weights[d] = add(of_weights[d], part(slopes, d))
    return of_g, of_self, o.cat(of_weights, 0), None


op(
    "sample_slopes(Tensor g, Tensor self, Tensor weights, Tensor indices) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_slopes_plan),
    grad=_slopes_grad,
    doc="The gradient of `sample` in its weights.",
)
