"""Sampling of images at any places: the taps of one axis, and sums over the taps of all axes.

A place between elements is a weighted sum over the elements around it. Along one axis these are its taps: their weights
and their indices, -1 outside. What an image gives is the sum over all combinations of taps of its axes.
"""

from itertools import product

from flambeau.ir import diff, fn

from .launch import Launch
from .launch import product as product_of
from .table import REAL_FLOATS, Loop, op

_BLOCK = 1024  # places of one task


def _pixels(x, n, align: bool, dtype: str):
    """From -1 ... 1 to numbers of elements. Halves are rounded step by step: PyTorch takes other elements otherwise."""
    if dtype not in ("f16", "bf16"):
        return (x + 1) * ((n - 1) * 0.5) if align else ((x + 1) * n - 1) * 0.5
    x = fn.cast(x + 1, dtype)
    if align:
        return fn.cast(x * ((n - 1) * 0.5), dtype)
    return fn.cast(fn.cast(fn.cast(x * n, dtype) - 1, dtype) * 0.5, dtype)


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


def _nearest(x, n, padding, align):
    return [fn.const(1, x.dtype)], [_index(fn.round(_inside(x, n, padding, align)), n)]


def _linear(x, n, padding, align):
    x = _inside(x, n, padding, align)
    low = fn.floor(x)
    return [low + 1 - x, x - low], [_index(low, n), _index(low + 1, n)]


def _cubic(x, n, padding, align):
    """Keys' kernel with a = -3/4; taps are brought inside one by one."""
    low, a = fn.floor(x), -0.75
    t = x - low
    outer = [((a * s - 5 * a) * s + 8 * a) * s - 4 * a for s in (t + 1, 2 - t)]
    inner = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (t, 1 - t)]
    indices = [_index(_inside(low + k, n, padding, align), n) for k in (-1, 0, 1, 2)]
    return [outer[0], *inner, outer[1]], indices


_MODES = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}


class _At:
    """Where the taps of places come from: places -1 ... 1 in a buffer, their axes last."""

    def __init__(self, mode: str, padding: str, align: bool):
        self.taps = TAPS[mode]
        self._how, self._formula = (padding, align), _MODES[mode]

    def __call__(self, b, buffer: int, at, size, order: int = 0):
        """Weights (or their derivatives of some order) and indices, -1 outside, along an axis of `size` elements."""
        x = b.load(buffer, at)
        n = fn.cast(size, x.dtype)
        weights, indices = self._formula(_pixels(x, n, self._how[1], b.dtypes[buffer]), n, *self._how)
        zero, one = (fn.const(k, x.dtype) for k in (0, 1))
        for _ in range(order):
            slopes = (diff.vjp((w,), (one,), (x,))[0] for w in weights)
            weights = [zero if s is None else s for s in slopes]
        return weights, indices


# ints: places, sizes of the axes
def _taps_program(b, axes: int, order: int, *how):
    """Buffers: weights, indices, places (axes last). One iteration: a block of places."""
    taps = _At(*how)
    with b.parallel() as i:
        first = i * _BLOCK
        with b.loop(first, fn.minimum(first + _BLOCK, b.int(0)), independent=True) as p:
            for a in range(axes):
                found = taps(b, 2, p * axes + a, b.int(1 + a), order)
                for buffer, values in enumerate(found):
                    for k, value in enumerate(values):
                        b.store(buffer, (a * taps.taps + k) * b.int(0) + p, value)


def _taps_plan(o, places, size, mode, padding, align, axes, order):
    count = places.numel() // axes
    shape = (axes * TAPS[mode], *places.shape[:-1])
    weights = o.empty(shape, dtype=places.dtype, device=places.device)
    indices = o.empty(shape, dtype=o.int32, device=places.device)
    buffers = (weights, indices, places.contiguous())
    ints = [count, *reversed(size[2:])]
    attributes = (axes, order, mode, padding, align)
    return Launch((weights, indices), buffers, ints, -(-count // _BLOCK), 8 * _BLOCK, _taps_program, attributes)


def _of_places(o, slopes, places, size, mode, padding, align, axes, order):
    """The gradient of places from that of the weights' derivatives of some order."""
    if mode == "nearest":
        return o.zeros_like(places)
    by_place, _ = o.sample_taps(places, size, mode, padding, align, axes, order + 1)
    lead = [places.shape[k] for k in range(places.ndim - 1)]
    return o.movedim(o.sum(o.reshape(o.mul(slopes, by_place), [axes, TAPS[mode], *lead]), 1), 0, -1)


op(
    "sample_taps(Tensor places, int[] size, str mode, str padding, bool align, int axes, int order) -> "
    "(Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    static=("axes", "order"),
    body=Loop(_taps_plan, pure=True),
    grad=lambda o, g, *arguments: (_of_places(o, g[0], *arguments),),
    doc="Weights and indices (-1: outside) of the taps of places in images of `size`: (axes * taps, places ...). "
    "`order`: the derivatives of the weights of this order.",
)  # fmt: skip


# Weights and indices are (taps of x, then of y, then of z; batch; places ...).
# ints: places, elements of an image, channels, blocks of places, batch * places, strides of the axes
class _Taps:
    """The taps of one place from their weights and indices, a list of each for each axis; `index` is the dtype of
    offsets in an image."""

    def __init__(self, b, found: list, index: str):
        self._b = b
        axes, taps = len(found), len(found[0][0])
        self.combinations = tuple(product(range(taps), repeat=axes))
        self.weights, self.indices = zip(*found, strict=True)
        self._strides = [fn.cast(b.int(4 + a), index) for a in range(axes)]  # that of the first is 1, and not used

    def place(self, plane, c, begin=None):
        """Whether a combination's element lies inside of the image, and where (the image's first if it does not).
        `begin` may stand in for the index along the first axis."""
        indices = [i[k] for i, k in zip(self.indices, c, strict=True)]
        if begin is not None:
            indices[0] = begin
        indices = [fn.cast(i, self._strides[0].dtype) for i in indices]
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

    def elements(self, buffer: int, plane) -> dict:
        """Every combination's element."""
        return {c: self.element(buffer, plane, c) for c in self.combinations}

    def weight(self, c, but: int = -1):
        """The product of a combination's weights, that of one axis left out."""
        total = None
        for a, (weights, k) in enumerate(zip(self.weights, c, strict=True)):
            if a != but:
                total = weights[k] if total is None else total * weights[k]
        return total


class _PairedTaps(_Taps):
    """Two taps along the first axis, of two elements or more: what one of them reaches is the next of the other's."""

    def elements(self, buffer: int, plane) -> dict:
        found, axes, zero = {}, len(self.indices), fn.const(0, self._b.compute_dtype(buffer))
        low, high = self.indices[0]
        begin = fn.maximum(fn.minimum(low, fn.cast(self._b.int(4 + axes) - 2, low.dtype)), fn.const(0, low.dtype))
        for c in self.combinations:
            if c[0] == 0:
                valid, at = self.place(plane, c, begin)
                first, second = self._b.load_pair(buffer, at)
                for k, index, value in (
                    (0, low, fn.where(fn.eq(low, begin), first, second)),
                    (1, high, fn.where(high > begin, second, first)),
                ):
                    found[k, *c[1:]] = fn.where(fn.logical_and(valid, index >= 0), value, zero)
        return found


def _stored(b, weights: int, indices: int, at, axes: int, taps: int, index: str, kind=_Taps) -> _Taps:
    """The taps of one place that lie in buffers."""

    def of(buffer: int, a: int) -> list:
        return [b.load(buffer, (a * taps + k) * b.int(4) + at) for k in range(taps)]

    return kind(b, [(of(weights, a), of(indices, a)) for a in range(axes)], index)


def _block_of(b, i):
    """Which image and channel, or which image, a task is for, and its places."""
    blocks, places = b.int(3), b.int(0)
    first = i % blocks * _BLOCK
    return i // blocks, first, fn.minimum(first + _BLOCK, places)


def _sum_up(b, group, p, together: int, taps: _Taps) -> None:
    """What images (buffer 1) give at a place, for some channels."""
    weights = [taps.weight(c) for c in taps.combinations]
    for k in range(together):
        plane, total = group * together + k, None
        elements = taps.elements(1, plane)
        for c, weight in zip(taps.combinations, weights, strict=True):
            term = weight * elements[c]
            total = term if total is None else total + term
        b.store(0, plane * b.int(0) + p, total)


def _sample_program(b, axes: int, taps: int, index: str, together: int, paired: bool):
    """Buffers: output, images, weights, indices. One iteration: a block of places in some channels of an image."""
    kind = _PairedTaps if paired else _Taps
    with b.parallel(singly=together > 1) as i:
        group, first, end = _block_of(b, i)
        with b.loop(first, end, independent=True) as p:
            at = group * together // b.int(2) * b.int(0) + p
            _sum_up(b, group, p, together, _stored(b, 2, 3, at, axes, taps, index, kind))


def _sample_at_program(b, axes: int, taps: int, index: str, together: int, paired: bool, *how):
    """As `_sample_program`; buffers: output, images, places (axes last)."""
    found, kind = _At(*how), _PairedTaps if paired else _Taps
    with b.parallel() as i:
        group, first, end = _block_of(b, i)
        with b.loop(first, end, independent=True) as p:
            at = (group * together // b.int(2) * b.int(0) + p) * axes
            lines = [found(b, 2, at + a, b.int(4 + axes + a)) for a in range(axes)]
            _sum_up(b, group, p, together, kind(b, lines, index))


def _spread_program(b, axes: int, taps: int, index: str):
    """Buffers: images of zeros, gradient, weights, indices. One iteration: one channel of an image."""
    with b.parallel() as plane, b.loop(0, b.int(0), simd=False) as p:
        t = _stored(b, 2, 3, plane // b.int(2) * b.int(0) + p, axes, taps, index)
        g = b.load(1, plane * b.int(0) + p)
        for c in t.combinations:
            valid, at = t.place(plane, c)
            with b.when(valid):
                b.store(0, at, b.load(0, at) + t.weight(c) * g)


def _slopes_program(b, axes: int, taps: int, index: str, paired: bool):
    """Buffers: slopes of the weights, gradient, images, weights, indices, a sum for each combination of taps.

    One iteration: a block of places of an image.
    """
    kind = _PairedTaps if paired else _Taps
    with b.parallel(singly=True) as i:
        n, first, end = _block_of(b, i)

        def add(plane, fresh: bool):
            """Adds the products of the gradient and the elements of one channel."""
            with b.loop(first, end, independent=True) as p:
                at = n * b.int(0) + p
                t = _stored(b, 3, 4, at, axes, taps, index, kind)
                g = b.load(1, plane * b.int(0) + p)
                elements = t.elements(2, plane)
                for k, c in enumerate(t.combinations):
                    term = g * elements[c]
                    b.store(5, k * b.int(4) + at, term if fresh else b.load(5, k * b.int(4) + at) + term)

        add(n * b.int(2), True)
        with b.loop(1, b.int(2), simd=False) as channel:
            add(n * b.int(2) + channel, False)
        with b.loop(first, end, independent=True) as p:
            at = n * b.int(0) + p
            t = _stored(b, 3, 4, at, axes, taps, index)
            sums = [b.load(5, k * b.int(4) + at) for k in range(len(t.combinations))]
            for a, k in product(range(axes), range(taps)):
                total = None
                for c, value in zip(t.combinations, sums, strict=True):
                    if c[a] == k:
                        term = value * t.weight(c, but=a)
                        total = term if total is None else total + term
                b.store(0, (a * taps + k) * b.int(4) + at, total)


def _launch(out, images, size, taps: int, places: int, program, by_block: bool, by_channel: int, attributes=()):
    """`by_channel`: how many channels an iteration handles, 0 for all of them."""
    batch, channels, *spatial = size
    axes, elements = len(spatial), product_of(spatial)
    blocks = -(-places // _BLOCK) if by_block else 1
    planes = batch * (channels // by_channel if by_channel else 1)
    strides = [product_of(spatial[axes - a :]) for a in range(1, axes)]
    ints = [places, elements, channels, blocks, batch * places, *strides, *reversed(spatial)]
    work = (_BLOCK if by_block else places) * taps**axes * (by_channel or channels)
    attributes = (axes, taps, "i32" if elements < 2**31 else "i64", *attributes)
    return Launch((out,), (out, *images), ints, planes * blocks if out.numel() else 0, work, program, attributes)


def _launch_stored(out, images, taps, size, program, by_block: bool, by_channel: int, *more, attributes=()):
    """Taps: weights and indices."""
    count = taps[0].shape[0] // (len(size) - 2)
    buffers = (*(t.contiguous() for t in (*images, *taps)), *more)
    places = taps[0].numel() // taps[0].shape[0] // max(size[0], 1)
    return _launch(out, buffers, size, count, places, program, by_block, by_channel, attributes)


def together(channels: int, taps: int) -> int:
    """How many channels a kernel handles at a time, which share the work on a place's taps."""
    return next(k for k in (8, 4, 3, 2, 1) if channels % k == 0 and (k <= 4 or k * taps <= 32))


def _in_pairs(o, self, taps: int) -> bool:
    """Whether two taps are read together: what gathers elements takes as long for 64 bits as for 32."""
    return taps == 2 and self.shape[-1] >= 2 and self.dtype is o.float32


def _sample_plan(o, self, weights, indices):
    out = o.empty([*self.shape[:2], *weights.shape[2:]], dtype=self.dtype, device=self.device)
    axes, found = self.dim() - 2, (weights, indices)
    taps = weights.shape[0] // axes
    how = (together(self.shape[1], taps**axes), _in_pairs(o, self, taps))
    return _launch_stored(out, (self,), found, self.shape, _sample_program, True, how[0], attributes=how)


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


def _sample_at_plan(o, self, places, mode, padding, align):
    out = o.empty([*self.shape[:2], *places.shape[1:-1]], dtype=self.dtype, device=self.device)
    each, taps = product_of(places.shape[1:-1]), TAPS[mode]
    group = together(self.shape[1], taps ** (self.dim() - 2))
    buffers, how = (self.contiguous(), places.contiguous()), (group, _in_pairs(o, self, taps), mode, padding, align)
    return _launch(out, buffers, self.shape, taps, each, _sample_at_program, True, group, how)


def _sample_at_grad(o, g, self, places, mode, padding, align):
    axes = self.ndim - 2
    weights, indices = o.sample_taps(places, self.shape, mode, padding, align, axes, 0)
    of_self = o.sample_spread(g, weights, indices, self.shape) if o.needs[0] else None
    if not o.needs[1]:
        return of_self, None
    slopes = None if mode == "nearest" else o.sample_slopes(g, self, weights, indices)
    return of_self, _of_places(o, slopes, places, self.shape, mode, padding, align, axes, 0)


op(
    "sample_at(Tensor self, Tensor places, str mode, str padding, bool align) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_sample_at_plan, pure=True),
    grad=_sample_at_grad,
    doc="What images (N, C, ...) give at places (N, ..., axes) from -1 to 1.",
)


def _spread_plan(o, g, weights, indices, size):
    out = o.zeros(size, dtype=g.dtype, device=g.device)
    return _launch_stored(out, (g,), (weights, indices), size, _spread_program, False, 1)


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
        return Launch((out,), (), (), 0, 0, _slopes_program, (axes, 1, "i32", False))
    out = o.empty(weights.shape, dtype=self.dtype, device=self.device)
    exact = o.float64 if self.dtype is o.float64 else o.float32
    taps = weights.shape[0] // axes
    sums = o.empty([taps**axes, *weights.shape[1:]], dtype=exact, device=self.device)
    how = (_in_pairs(o, self, taps),)
    return _launch_stored(
        out, (g, self), (weights, indices), self.shape, _slopes_program, True, 0, sums, attributes=how
    )


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
