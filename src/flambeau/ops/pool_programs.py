"""Loop programs of pooling. One iteration of the outermost loop is a plane, or an image whose channels lie innermost.

Integers of a window launch: sizes in, sizes out, kernel, stride, padding, dilation (three of each), the divisor, and
how many channels lie innermost. Positions are counted in the plane, whatever the layout.
"""

from collections.abc import Callable

from ..ir.expr import Expr
from ..ir.fn import cast, const, idiv, maximum, minimum, order_key, where
from ..ir.loop import Builder, Variable
from ..ir.types import is_int, limit

DIVISOR, LANES = 18, 19  # integers of a window launch
ADAPTIVE_LANES = 6


def _sizes(b: Builder) -> tuple[Expr, Expr]:
    """Positions of a plane, in and out."""
    return b.int(0) * b.int(1) * b.int(2), b.int(3) * b.int(4) * b.int(5)


class _Plane:
    """Where elements of one iteration lie."""

    def __init__(self, b: Builder, plane: Expr, lanes: Expr, beside: bool = True):
        self.b, self.lanes, self.beside = b, lanes, beside
        in_size, out_size = _sizes(b)
        self._first_in, self._first_out = plane * in_size, plane * out_size
        self.all_in = in_size * lanes
        self.base_in = self._first_in * lanes

    def output_at(self, places) -> Expr:
        """Where the first lane of an output lies."""
        return (self._first_out + _place(self.b, places)) * self.lanes

    def input_at(self, position: Expr) -> Expr:
        """Where the first lane of a position of the input lies."""
        return (self._first_in + position) * self.lanes

    def each_output(self, visit: Callable) -> None:
        """Calls visit(offset of the output, its place along each axis, offset in the input of a position)."""
        b = self.b
        with b.loop(0, b.int(3)) as z, b.loop(0, b.int(4)) as y, b.loop(0, b.int(5)) as x:
            at = self.output_at((z, y, x))
            with b.loop(0, self.lanes) as c:
                visit(at + c, (z, y, x), lambda position: self.input_at(position) + c)

    def each_lane(self, places, visit: Callable) -> None:
        """Calls visit(offset of the output, offset in the input of a position) for what lies at a place."""
        at = self.output_at(places)
        if not self.beside:
            return visit(at, self.input_at)
        with self.b.loop(0, self.lanes, independent=True) as c:
            visit(at + c, lambda position: self.input_at(position) + c)
        return None

    def clear(self) -> None:
        """Sets the inputs (which are buffer 0 of a gradient) to zero."""
        with self.b.loop(0, self.all_in) as i:
            self.b.store(0, self.base_in + i, const(0, self.b.compute_dtype(0)))


# ---- windows of one size


def _window(b: Builder, axis: int, place: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """Along one axis: where tap 0 is, the first tap inside, the tap after the last one inside, distance of taps."""
    size, stride, pad, dilation = (b.int(3 * k + axis) for k in (0, 3, 4, 5))
    start = place * stride - pad
    first = maximum(const(0, "i64"), (dilation - 1 - start) // dilation)
    last = minimum(b.int(6 + axis), (size - start + dilation - 1) // dilation)
    return start, first, last, dilation


def _windows(b: Builder, places) -> list[tuple]:
    return [_window(b, axis, place) for axis, place in enumerate(places)]


def _each_tap(b: Builder, windows, visit: Callable) -> None:
    """Calls visit(position in the plane) for the taps that lie inside."""
    (sz, fz, lz, dz), (sy, fy, ly, dy), (sx, fx, lx, dx) = windows
    with b.loop(fz, lz) as kz, b.loop(fy, ly) as ky:
        row = ((sz + kz * dz) * b.int(1) + sy + ky * dy) * b.int(2)
        with b.loop(fx, lx, simd=False) as kx:
            visit(row + sx + kx * dx)


def _places(b: Builder, taps: tuple[int, int, int], fast: Callable, slow: Callable) -> None:
    """Calls fast(z, y, x) for the places of a plane whose windows of `taps` lie inside, and slow for the others."""
    low, high = [], []
    for axis, count in enumerate(taps):
        size, out, stride, pad, dilation = (b.int(3 * k + axis) for k in (0, 1, 3, 4, 5))
        begin = minimum(out, (pad + stride - 1) // stride)
        end = (size + pad - (count - 1) * dilation + stride - 1) // stride
        low.append(begin)
        high.append(maximum(begin, minimum(out, end)))
    with b.loop(0, b.int(3)) as z, b.loop(0, b.int(4)) as y:
        inside = (z >= low[0]) & (z < high[0]) & (y >= low[1]) & (y < high[1])
        first, last = where(inside, low[2], b.int(5)), where(inside, high[2], b.int(5))
        for begin, end, visit in ((0, first, slow), (first, last, fast), (last, b.int(5), slow)):
            with b.loop(begin, end) as x:
                visit((z, y, x))


def _place(b: Builder, places) -> Expr:
    """The output's number in its plane."""
    z, y, x = places
    return (z * b.int(4) + y) * b.int(5) + x


def _taps(b: Builder, places, taps: tuple[int, int, int], line: tuple[int, int]) -> list[Expr]:
    """Positions of all taps of a window that lies inside.

    `line`: stride and dilation along the innermost axis, or zeros where they are known at run time only.
    """
    strides, dilations = [[b.int(at + k) for k in range(3)] for at in (9, 15)]
    strides[2], dilations[2] = (known or other for known, other in zip(line, (strides[2], dilations[2]), strict=True))
    z, y, x = (place * stride - b.int(12 + k) for k, (place, stride) in enumerate(zip(places, strides, strict=True)))
    steps = [(i, j, k) for i in range(taps[0]) for j in range(taps[1]) for k in range(taps[2])]
    dz, dy, dx = dilations
    return [((z + i * dz) * b.int(1) + y + j * dy) * b.int(2) + x + k * dx for i, j, k in steps]


def _take(best: Variable, position: Variable, v: Expr, here: Expr, is_nan: Expr) -> None:
    """Takes an element, or its key, where it is greater, or nan."""
    old = best.value
    better = (v > old) | is_nan
    position.value, best.value = where(better, here, position.value), where(better, v, old)


class _Greatest:
    """Stores the greatest of some elements and, with `positions`, where it was: the first of equals, the last nan."""

    def __init__(self, b: Builder, positions: bool):
        self.b, self.positions = b, positions
        self.input = 2 if positions else 1

    def _store(self, at: Expr, best: Expr, position: Expr) -> None:
        self.b.store(0, at, best)
        if self.positions:
            self.b.store(1, at, position)

    def of_each(self, at: Expr, first: Expr, each: Callable, source: Callable) -> None:
        """Of the positions with which `each` calls back."""
        b, dtype = self.b, self.b.compute_dtype(self.input)
        best, position = b.variable(const(limit(dtype, True), dtype), dtype), b.variable(first, "i64")

        def take(here: Expr) -> None:
            v = b.load(self.input, source(here))
            _take(best, position, v, here, v != v)

        each(take)
        self._store(at, best.value, position.value)

    def of_box(self, at: Expr, bounds, source: Callable) -> None:
        """Of a box of positions: of each row first, so that rows need not wait for each other."""
        b = self.b
        (z0, z1), (y0, y1), (x0, x1) = bounds

        def seen(here: Expr) -> Expr:
            return b.load(self.input, source(here))

        first = (z0 * b.int(1) + y0) * b.int(2) + x0
        key = order_key(seen(first))
        best, position = b.variable(key, key.dtype), b.variable(first, "i64")
        with b.loop(z0, z1, simd=False) as z, b.loop(y0, y1, simd=False) as y:
            row = (z * b.int(1) + y) * b.int(2)
            row_best, row_position = b.variable(order_key(seen(row + x0)), key.dtype), b.variable(row + x0, "i64")
            with b.loop(x0 + 1, x1, simd=False) as x:
                v = seen(row + x)
                _take(row_best, row_position, order_key(v), row + x, v != v)
            last = seen(row_position.value)
            _take(best, position, row_best.value, row_position.value, last != last)
        self._store(at, seen(position.value), position.value)

    def of_all(self, at: Expr, taps: list[tuple[Expr, Expr]], place: Callable) -> None:
        """Of elements given by where they lie and what tells them apart; `place` makes a position of the latter.

        Halves are compared before they meet, so that no element waits for all others.
        """
        best, mark = self._best(taps)
        self._store(at, best, place(mark))

    def _best(self, taps: list[tuple[Expr, Expr]]) -> tuple[Expr, Expr]:
        if len(taps) == 1:
            here, mark = taps[0]
            return self.b.load(self.input, here), mark
        half = len(taps) // 2
        (v, v_mark), (w, w_mark) = self._best(taps[:half]), self._best(taps[half:])
        later = (w > v) | (w != w)
        return where(later, w, v), where(later, w_mark, v_mark)


def max_windows(b: Builder, positions: bool) -> None:
    """Buffers: values, positions where they are wanted, input."""
    greatest = _Greatest(b, positions)
    with b.parallel() as i:
        plane = _Plane(b, i, b.int(LANES))
        plane.each_output(lambda at, places, source: _greatest_of_window(b, greatest, at, places, source))


def _greatest_of_window(b: Builder, greatest: _Greatest, at: Expr, places, source: Callable) -> None:
    windows = _windows(b, places)
    taps = (start + first * dilation for start, first, _, dilation in windows)
    z, y, x = (minimum(tap, b.int(axis) - 1) for axis, tap in enumerate(taps))  # no tap may be inside
    first = (z * b.int(1) + y) * b.int(2) + x
    greatest.of_each(at, first, lambda tap: _each_tap(b, windows, tap), source)


def _small_plane(b: Builder, plane: Expr, beside: bool) -> _Plane:
    """A plane, or an image whose channels lie `beside` each other."""
    return _Plane(b, plane, b.int(LANES) if beside else const(1, "i64"), beside)


def _coordinates(b: Builder, axis: int, place: Expr, steps: tuple[Expr, Expr], count: int, clip: bool) -> list[Expr]:
    """Where the taps of a window lie along an axis; `clip`: those outside are the nearest one inside once more."""
    stride, dilation = steps
    first, size = place * stride - cast(b.int(12 + axis), place.dtype), cast(b.int(axis), place.dtype)
    at = [first + k * dilation for k in range(count)]
    if clip:
        for k in range(1, count):
            at[k] = where(at[k] >= size, at[k - 1], at[k])
        for k in range(count - 2, -1, -1):
            at[k] = where(at[k] < 0, at[k + 1], at[k])
    return at


def max_small(
    b: Builder, kz: int, ky: int, kx: int, stride: int, dilation: int, positions: bool, beside: bool, index: str
) -> None:
    """As `max_windows`, with the taps written out, where every window has an element inside.

    Along the innermost axis windows that lie inside are done in vectors, unless channels lie `beside` each other.
    `index`: in what positions in a plane are compared.
    """
    greatest = _Greatest(b, positions)
    zs, ys = ((b.int(9 + axis), b.int(15 + axis)) for axis in (0, 1))
    xs = tuple(const(known, "i64") if known else b.int(at) for known, at in ((stride, 11), (dilation, 17)))
    size, pad, out = b.int(2), b.int(14), b.int(5)
    with b.parallel() as i:
        plane = _small_plane(b, i, beside)

        def window(rows: list[Expr], places, clip: bool) -> None:
            across = _coordinates(b, 2, places[2], xs, kx, clip)
            base = const(0, "i64") if clip else across[0]
            steps = [row + x - base for row in rows for x in across]
            marks = [cast(step, index) for step in steps]

            def one(at: Expr, source: Callable) -> None:
                taps = [(source(base + step), mark) for step, mark in zip(steps, marks, strict=True)]
                greatest.of_all(at, taps, lambda mark: base + cast(mark, "i64"))

            plane.each_lane(places, one)

        with b.loop(0, b.int(3)) as z:
            above = _coordinates(b, 0, z, zs, kz, True)
            with b.loop(0, b.int(4)) as y:
                rows = [(p * b.int(1) + q) * size for p in above for q in _coordinates(b, 1, y, ys, ky, True)]
                if beside:
                    with b.loop(0, out) as x:
                        window(rows, (z, y, x), True)
                else:
                    low = minimum(out, (pad + xs[0] - 1) // xs[0])
                    high = maximum(low, minimum(out, (size + pad - (kx - 1) * xs[1] + xs[0] - 1) // xs[0]))
                    with b.loop(low, high) as x:
                        window(rows, (z, y, x), False)
                    with b.loop(0, low + out - high, simd=False) as k:
                        window(rows, (z, y, where(k < low, k, k + high - low)), True)


def max_gathered(b: Builder, kz: int, ky: int, kx: int, positions: bool) -> None:
    """As `max_small`; lanes are outputs of several rows, whose taps are gathered."""
    greatest = _Greatest(b, positions)

    def narrow(k: int) -> Expr:
        return cast(b.int(k), "i32")

    with b.parallel() as i:
        plane, width, area = _Plane(b, i, const(1, "i64"), False), narrow(5), b.int(4) * b.int(5)
        share = const(1.0, "f32") / cast(width, "f32")
        with b.loop(0, b.int(3)) as z:
            above = _coordinates(b, 0, cast(z, "i32"), (narrow(9), narrow(15)), kz, True)
            with b.loop(0, area, independent=True) as k:
                number = cast(k, "i32")
                y = cast((cast(number, "f32") + 0.5) * share, "i32")  # exact up to 2**16 outputs
                x = number - y * width
                down = _coordinates(b, 1, y, (narrow(10), narrow(16)), ky, True)
                across = _coordinates(b, 2, x, (narrow(11), narrow(17)), kx, True)
                rows = [(p * narrow(1) + q) * narrow(2) for p in above for q in down]
                marks = [row + tap for row in rows for tap in across]
                taps = [(plane.base_in + cast(mark, "i64"), mark) for mark in marks]
                greatest.of_all(plane.output_at((z, const(0, "i64"), k)), taps, lambda mark: cast(mark, "i64"))


def spread(b: Builder) -> None:
    """Adds each gradient to the position its maximum came from. Buffers: gradient of the input, gradient, positions.

    Integers: positions of a plane in and out, channels that lie innermost.
    """
    with b.parallel() as plane:
        in_size, out_size, lanes = b.int(0), b.int(1), b.int(2)
        with b.loop(0, in_size * lanes) as i:
            b.store(0, plane * in_size * lanes + i, const(0, b.compute_dtype(0)))
        with b.loop(0, out_size, simd=False) as i, b.loop(0, lanes, simd=False) as c:
            source = (plane * out_size + i) * lanes + c
            at = (plane * in_size + b.load(2, source)) * lanes + c
            b.store(0, at, b.load(0, at) + b.load(1, source))


def pick(b: Builder) -> None:
    """Takes each element at its position. Buffers: output, input, positions; integers as for `spread`."""
    with b.parallel() as plane:
        in_size, out_size, lanes = b.int(0), b.int(1), b.int(2)
        with b.loop(0, out_size) as i, b.loop(0, lanes) as c:
            at = (plane * out_size + i) * lanes + c
            b.store(0, at, b.load(1, (plane * in_size + b.load(2, at)) * lanes + c))


def _divisor(b: Builder, windows, count_pad: bool, override: bool) -> Expr:
    """By what the sum of a window is divided."""
    if override:
        return b.int(DIVISOR)
    total = const(1, "i64")
    for axis, (start, first, last, _) in enumerate(windows):
        end = minimum(b.int(6 + axis) + start, b.int(axis) + b.int(12 + axis))
        total = total * (end - start if count_pad else last - first)
    return total


def _divided(value: Expr, count: Expr) -> Expr:
    count = cast(count, value.dtype)
    return idiv(value, count) if is_int(value.dtype) else value / count


def mean_windows(b: Builder, count_pad: bool, override: bool, back: bool) -> None:
    """Buffers: output, input; for the gradient: gradient of the input, gradient."""
    with b.parallel() as i:
        plane = _Plane(b, i, b.int(LANES))
        if back:
            plane.clear()
        plane.each_output(lambda at, places, source: _mean_of_window(b, at, places, source, count_pad, override, back))


def _mean_of_window(b: Builder, at: Expr, places, source: Callable, count_pad: bool, override: bool, back: bool):
    windows = _windows(b, places)
    count = _divisor(b, windows, count_pad, override)
    _mean_of(b, at, count, lambda tap: _each_tap(b, windows, tap), source, back)


def mean_small(
    b: Builder, kz: int, ky: int, kx: int, stride: int, count_pad: bool, override: bool, back: bool, apart: bool,
    beside: bool,
) -> None:
    """As `mean_windows`, with the taps written out where a window lies inside; `apart`: no two share an element."""
    zero, taps = const(0, b.compute_dtype(1)), (kz, ky, kx)
    with b.parallel() as i:
        plane = _small_plane(b, i, beside)
        if back:
            plane.clear()
        count = b.int(DIVISOR) if override else const(kz * ky * kx, "i64")

        def mean(at: Expr, steps, source: Callable) -> None:
            total = zero
            for tap in steps:
                total = total + b.load(1, source(tap))
            b.store(0, at, _divided(total, count))

        def give(at: Expr, steps, source: Callable) -> None:
            share = _divided(b.load(1, at), count)
            for tap in map(source, steps):
                b.store(0, tap, (zero if apart else b.load(0, tap)) + share)

        def inside(places) -> None:
            steps, visit = _taps(b, places, taps, (stride, 1)), give if back else mean
            plane.each_lane(places, lambda at, source: visit(at, steps, source))

        def outside(places) -> None:
            rest = (count_pad, override, back)
            plane.each_lane(places, lambda at, source: _mean_of_window(b, at, places, source, *rest))

        _places(b, taps, inside, outside)


def _mean_of(b: Builder, at: Expr, count: Expr, each: Callable, source: Callable, back: bool) -> None:
    """Stores the mean of some elements; or adds the mean's gradient to each of theirs."""
    dtype = b.compute_dtype(1)
    if back:
        share = _divided(b.load(1, at), count)

        def give(position: Expr) -> None:
            place = source(position)
            b.store(0, place, b.load(0, place) + share)

        each(give)
        return
    total = b.variable(const(0, dtype), dtype)

    def take(position: Expr) -> None:
        total.value = total.value + b.load(1, source(position))

    each(take)
    b.store(0, at, _divided(total.value, count))


# ---- adaptive pooling: windows [floor(i * in / out), ceil((i + 1) * in / out))


class _Spans:
    """Windows along one axis, one after the other; without divisions in the loop."""

    def __init__(self, b: Builder, axis: int):
        size, self._out = b.int(axis), b.int(3 + axis)
        self._step, self._more = size // self._out, size % self._out
        self._start, self._rest = b.variable(const(0, "i64"), "i64"), b.variable(const(0, "i64"), "i64")

    def next(self) -> tuple[Expr, Expr]:
        """The first position of the next window, and the one behind its last."""
        start, rest = self._start.value, self._rest.value + self._more
        whole = start + self._step
        over = rest >= self._out
        following, left = where(over, whole + 1, whole), where(over, rest - self._out, rest)
        self._start.value, self._rest.value = following, left
        return start, where(left > 0, following + 1, following)


def _each_window(b: Builder, plane: _Plane, visit: Callable) -> None:
    """Calls visit(offset of the output, the window's bounds along each axis, offset in the input of a position)."""
    spans_z = _Spans(b, 0)
    with b.loop(0, b.int(3), simd=False) as z:
        bounds_z, spans_y = spans_z.next(), _Spans(b, 1)
        with b.loop(0, b.int(4), simd=False) as y:
            bounds_y, spans_x = spans_y.next(), _Spans(b, 2)
            with b.loop(0, b.int(5), simd=False) as x:
                bounds = (bounds_z, bounds_y, spans_x.next())
                at = plane.output_at((z, y, x))
                with b.loop(0, plane.lanes) as c:
                    visit(at + c, bounds, lambda position, lane=c: plane.input_at(position) + lane)


def _each_inside(b: Builder, bounds, visit: Callable) -> None:
    (z0, z1), (y0, y1), (x0, x1) = bounds
    with b.loop(z0, z1) as z, b.loop(y0, y1) as y, b.loop(x0, x1, simd=False) as x:
        visit((z * b.int(1) + y) * b.int(2) + x)


def adaptive_mean(b: Builder, back: bool) -> None:
    """Buffers: output, input; for the gradient: gradient of the input, gradient."""
    with b.parallel() as i:
        plane = _Plane(b, i, b.int(ADAPTIVE_LANES))
        if back:
            plane.clear()

        def output(at, bounds, source):
            (z0, z1), (y0, y1), (x0, x1) = bounds
            count = (z1 - z0) * (y1 - y0) * (x1 - x0)
            _mean_of(b, at, count, lambda tap: _each_inside(b, bounds, tap), source, back)

        _each_window(b, plane, output)


def adaptive_max(b: Builder) -> None:
    """Buffers: values, positions, input."""
    greatest = _Greatest(b, True)
    with b.parallel() as i:
        plane = _Plane(b, i, b.int(ADAPTIVE_LANES))
        _each_window(b, plane, greatest.of_box)
