"""Pooling over one, two or three dimensions: loop programs over planes."""

from .launch import Launch, product
from .table import Composite, Loop, op


def _tuple(value, n: int) -> tuple[int, ...]:
    value = tuple(value)
    return value * n if len(value) == 1 else value


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """How many windows fit; with `ceil` a last one may hang over, as long as it starts inside."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil else 0)
    out = span // stride + 1
    if ceil and (out - 1) * stride >= size + padding:
        out -= 1
    return out


def _geometry(name, x, n, kernel, stride, padding, dilation, ceil):
    """Checks a pooling call; gives (kernel, stride, padding, dilation, output sizes)."""
    kernel, padding, dilation = _tuple(kernel, n), _tuple(padding, n), _tuple(dilation, n)
    stride = _tuple(stride, n) if stride else kernel
    for what, value in (("kernel_size", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation)):
        if len(value) != n:
            raise RuntimeError(f"{name}: {what} must either be a single int, or a tuple of {n} ints")
    if x.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}() Expected {n + 1}D or {n + 2}D input tensor, but got: {list(x.shape)} "
            f"[in {name}: input={tuple(x.shape)}]. Give (N, C, ...) or (C, ...)."
        )
    if min(kernel) <= 0:
        raise RuntimeError("kernel size should be greater than zero, but got " + _named(kernel, "k"))
    if min(stride) <= 0:
        raise RuntimeError("stride should be greater than zero, but got " + _named(stride, "d"))
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero, but got " + _named(dilation, "dilation"))
    for p, k, d in zip(padding, kernel, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}"
            )
    sizes = tuple(x.shape[-n:])
    out = tuple(
        output_size(s, k, st, p, d, ceil)
        for s, k, st, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if min(out) < 1:
        raise RuntimeError(
            f"Given input size: {_by(x.shape[-n - 1 :])}. Calculated output size: {_by((x.shape[-n - 1], *out))}. "
            f"Output size is too small [in {name}: input={tuple(x.shape)}, kernel_size={kernel}]."
        )
    return kernel, stride, padding, dilation, out


def _named(values, prefix: str) -> str:
    names = ("T", "H", "W")[-len(values) :]
    return " ".join(f"{prefix}{n}: {v}" for n, v in zip(names, values, strict=True))


def _by(sizes) -> str:
    return "(" + "x".join(map(str, sizes)) + ")"


def _three(values, fill: int) -> list[int]:
    return [fill] * (3 - len(values)) + list(values)


# Integers of a launch: sizes in, sizes out, kernel, stride, padding, dilation; three of each.
def _window(b, axis: int, position, static):
    """The part of a window that lies inside, along one axis: its first tap, the tap after its last, and where tap 0 is."""
    from ..ir.fn import const, maximum, minimum

    size, stride, pad, dil = (b.int(3 * k + axis) for k in (0, 3, 4, 5))
    kernel = b.int(6 + axis)
    start = position * stride - pad
    zero = const(0, "i64")
    first = maximum(zero, (dil - 1 - start) // dil)
    last = minimum(kernel, (size - start + dil - 1) // dil)
    return start, first, last, dil


def _planes(b):
    from ..ir.fn import const

    in_size = b.int(0) * b.int(1) * b.int(2)
    out_size = b.int(3) * b.int(4) * b.int(5)
    return in_size, out_size, const(0, "i64")


def _each_output(b, plane, visit):
    """Loops over the outputs of a plane; `visit(output offset, windows)`."""
    _, out_size, _ = _planes(b)
    base = plane * out_size
    with b.loop(0, b.int(3)) as z, b.loop(0, b.int(4)) as y, b.loop(0, b.int(5)) as x:
        at = base + (z * b.int(4) + y) * b.int(5) + x
        visit(at, [_window(b, k, p, None) for k, p in enumerate((z, y, x))])


def _each_tap(b, windows, visit):
    """Loops over the taps of a window that lie inside; `visit(offset in the plane)`."""
    (sz, fz, lz, dz), (sy, fy, ly, dy), (sx, fx, lx, dx) = windows
    with b.loop(fz, lz) as kz, b.loop(fy, ly) as ky:
        row = ((sz + kz * dz) * b.int(1) + sy + ky * dy) * b.int(2)
        with b.loop(fx, lx, simd=False) as kx:
            visit(row + sx + kx * dx)


def _max_program(b):
    """Buffers: values, positions, input."""
    from ..ir.fn import const, where

    dtype = b.compute_dtype(2)
    with b.parallel() as plane:
        in_size, _, _ = _planes(b)

        def window(at, windows):
            best = b.variable(const(_lowest(dtype), dtype), dtype)
            (sz, fz, _, dz), (sy, fy, _, dy), (sx, fx, _, dx) = windows
            first = ((sz + fz * dz) * b.int(1) + sy + fy * dy) * b.int(2) + sx + fx * dx
            where_ = b.variable(first, "i64")

            def tap(offset):
                v, old = b.load(2, plane * in_size + offset), best.value
                better = (v > old) | (v != v)
                where_.value = where(better, offset, where_.value)
                best.value = where(better, v, old)

            _each_tap(b, windows, tap)
            b.store(0, at, best.value)
            b.store(1, at, where_.value)

        _each_output(b, plane, window)


def _lowest(dtype: str):
    if dtype.startswith("i"):
        return -(1 << (int(dtype[1:]) - 1))
    return 0 if dtype.startswith("u") else float("-inf")


def _max_small(b, ky: int, kx: int):
    """The common case without padding or dilation, the window unrolled. Buffers: values, positions, input."""
    from ..ir.fn import where

    with b.parallel() as plane:
        in_size, out_size, _ = _planes(b)
        with b.loop(0, b.int(4)) as y, b.loop(0, b.int(5)) as x:
            corner = y * b.int(10) * b.int(2) + x * b.int(11)
            best = b.load(2, plane * in_size + corner)
            position = corner
            for i in range(ky):
                for j in range(kx):
                    if i or j:
                        offset = corner + i * b.int(2) + j
                        v = b.load(2, plane * in_size + offset)
                        better = (v > best) | (v != v)
                        best, position = where(better, v, best), where(better, offset, position)
            at = plane * out_size + y * b.int(5) + x
            b.store(0, at, best)
            b.store(1, at, position)


def _spread_program(b):
    """Adds each gradient to the position its maximum came from. Buffers: gradient of the input, gradient, positions."""
    from ..ir.fn import const

    dtype = b.compute_dtype(0)
    with b.parallel() as plane:
        in_size, out_size = b.int(0), b.int(1)
        with b.loop(0, in_size) as i:
            b.store(0, plane * in_size + i, const(0, dtype))
        with b.loop(0, out_size, simd=False) as i:
            at = plane * in_size + b.load(2, plane * out_size + i)
            b.store(0, at, b.load(0, at) + b.load(1, plane * out_size + i))


def _pick_program(b):
    """Takes each element at its position. Buffers: output, input, positions."""
    with b.parallel() as plane:
        in_size, out_size = b.int(0), b.int(1)
        with b.loop(0, out_size) as i:
            at = plane * out_size + i
            b.store(0, at, b.load(1, plane * in_size + b.load(2, at)))


def _divisor(b, windows, count_pad: bool, override: bool):
    """By what the sum of a window is divided."""
    from ..ir.fn import minimum

    if override:
        return b.int(18)
    total = None
    for axis, (start, first, last, _) in enumerate(windows):
        extent = minimum(b.int(6 + axis) + start, b.int(axis) + b.int(12 + axis)) - start if count_pad else last - first
        total = extent if total is None else total * extent
    return total


def _mean_program(b, count_pad: bool, override: bool):
    """Buffers: output, input."""
    from ..ir.fn import cast, const

    dtype = b.compute_dtype(1)
    with b.parallel() as plane:
        in_size, _, _ = _planes(b)

        def window(at, windows):
            total = b.variable(const(0, dtype), dtype)

            def tap(offset):
                total.value = total.value + b.load(1, plane * in_size + offset)

            _each_tap(b, windows, tap)
            b.store(0, at, total.value / cast(_divisor(b, windows, count_pad, override), dtype))

        _each_output(b, plane, window)


def _mean_back_program(b, count_pad: bool, override: bool):
    """Buffers: gradient of the input, gradient."""
    from ..ir.fn import cast, const

    dtype = b.compute_dtype(1)
    with b.parallel() as plane:
        in_size, _, _ = _planes(b)
        with b.loop(0, in_size) as i:
            b.store(0, plane * in_size + i, const(0, dtype))

        def window(at, windows):
            share = b.load(1, at) / cast(_divisor(b, windows, count_pad, override), dtype)

            def tap(offset):
                place = plane * in_size + offset
                b.store(0, place, b.load(0, place) + share)

            _each_tap(b, windows, tap)

        _each_output(b, plane, window)


def _plane_ints(x_sizes, out, kernel, stride, padding, dilation) -> list[int]:
    return [
        *_three(x_sizes, 1), *_three(out, 1), *_three(kernel, 1), *_three(stride, 1), *_three(padding, 0),
        *_three(dilation, 1),
    ]  # fmt: skip


def _max_plan(n):
    def plan(o, x, kernel_size, stride, padding, dilation, ceil_mode):
        name = f"max_pool{n}d"
        kernel, stride, padding, dilation, out = _geometry(
            name, x, n, kernel_size, stride, padding, dilation, ceil_mode
        )
        x = x.contiguous()
        lead = tuple(x.shape[:-n])
        values = o.empty(lead + out, dtype=x.dtype, device=x.device)
        where_ = o.empty(lead + out, dtype=o.int64, device=x.device)
        sizes = tuple(x.shape[-n:])
        inside = n <= 2 and not any(padding) and all(d == 1 for d in dilation) and product(kernel) <= 9
        inside = inside and all((o_ - 1) * s + k <= i for o_, s, k, i in zip(out, stride, kernel, sizes, strict=True))
        program, attrs = (_max_small, tuple(_three(kernel, 1)[1:])) if inside else (_max_program, ())
        ints = _plane_ints(sizes, out, kernel, stride, padding, dilation)
        return Launch(
            (values, where_), (values, where_, x), ints, product(lead), product(out) * product(kernel), program, attrs
        )

    return plan


def _max_grad(n):
    def grad(o, g, x, kernel_size, stride, padding, dilation, ceil_mode):
        return (o.max_pool_backward(g[0], o.saved.output(1), x.shape, n),)

    return grad


for _n in (1, 2, 3):
    op(
        f"max_pool{_n}d_with_indices(Tensor self, int[{_n}] kernel_size, int[{_n}] stride=[], int[{_n}] padding=0, "
        f"int[{_n}] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        names=(f"nn.functional.max_pool{_n}d_with_indices",),
        body=Loop(_max_plan(_n)),
        grad=_max_grad(_n),
        saves=("o1",),
        doc=f"Greatest element of each window of a {_n}-d input, and its position in the plane.",
    )


def _max_back_plan(o, g, where_, size, n):
    g, where_ = g.contiguous(), where_.contiguous()
    out = o.empty(size, dtype=g.dtype, device=g.device)
    planes = product(size[: len(size) - n])
    ints = [product(size[-n:]), product(g.shape[-n:])]
    return Launch((out,), (out, g, where_), ints, planes, sum(ints), _spread_program, ())


def _max_pick_plan(o, x, where_, n):
    x, where_ = x.contiguous(), where_.contiguous()
    out = o.empty(tuple(where_.shape), dtype=x.dtype, device=x.device)
    ints = [product(x.shape[-n:]), product(where_.shape[-n:])]
    return Launch((out,), (out, x, where_), ints, product(x.shape[:-n]), ints[1], _pick_program, ())


op(
    "max_pool_backward(Tensor grad, Tensor indices, int[] size, int n) -> Tensor",
    names=(),
    body=Loop(_max_back_plan),
    grad=lambda o, g, grad, indices, size, n: (o.max_pool_pick(g, indices, n), None),
    doc="Gradient of max pooling: each gradient goes to the position its maximum came from.",
)
op(
    "max_pool_pick(Tensor self, Tensor indices, int n) -> Tensor",
    names=(),
    body=Loop(_max_pick_plan),
    grad=lambda o, g, self, indices, n: (o.max_pool_backward(g, indices, self.shape, n), None),
    doc="Elements of each plane at the positions that max pooling found.",
)


def _mean_setup(name, x_shape_of, x, n, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override):
    kernel, stride, padding, dilation, out = _geometry(name, x_shape_of, n, kernel, stride, padding, (1,), ceil_mode)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    ints = _plane_ints(tuple(x_shape_of.shape[-n:]), out, kernel, stride, padding, dilation) + [divisor_override or 0]
    return kernel, out, ints, (bool(count_include_pad), divisor_override is not None)


def _mean_plan(n):
    def plan(o, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
        kernel, out, ints, attrs = _mean_setup(
            f"avg_pool{n}d", x, x, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
        x = x.contiguous()
        lead = tuple(x.shape[:-n])
        result = o.empty(lead + out, dtype=x.dtype, device=x.device)
        return Launch((result,), (result, x), ints, product(lead), product(out) * product(kernel), _mean_program, attrs)

    return plan


def _mean_back_plan(o, g, x, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    kernel, out, ints, attrs = _mean_setup(
        f"avg_pool{n}d", x, x, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    g = g.contiguous()
    result = o.empty(tuple(x.shape), dtype=g.dtype, device=g.device)
    work = product(out) * product(kernel)
    return Launch((result,), (result, g), ints, product(x.shape[:-n]), work, _mean_back_program, attrs)


def _mean_grad(n):
    def grad(o, g, self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
        return (
            o.avg_pool_backward(
                g, self, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
            ),
        )

    return grad


for _n in (1, 2, 3):
    _override = "" if _n == 1 else ", int? divisor_override=None"
    op(
        f"avg_pool{_n}d(Tensor self, int[{_n}] kernel_size, int[{_n}] stride=[], int[{_n}] padding=0, "
        f"bool ceil_mode=False, bool count_include_pad=True{_override}) -> Tensor",
        names=(f"nn.functional.avg_pool{_n}d",),
        body=Loop(_mean_plan(_n)),
        grad=_mean_grad(_n),
        doc=f"Mean of each window of a {_n}-d input.",
    )
op(
    "avg_pool_backward(Tensor grad, Tensor self, int n, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, "
    "bool count_include_pad, int? divisor_override) -> Tensor",
    names=(),
    body=Loop(_mean_back_plan),
    grad=lambda o, g, grad, self, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: (
        getattr(o, f"avg_pool{n}d")(
            g, kernel_size, stride, padding, ceil_mode, count_include_pad, *(() if n == 1 else (divisor_override,))
        ),
        None,
    ),
    doc="Gradient of average pooling: each window's share goes back to its elements.",
)


# ---- adaptive pooling: windows [floor(i * in / out), ceil((i + 1) * in / out))


def _span(b, axis: int, position):
    size, out = b.int(axis), b.int(3 + axis)
    return position * size // out, ((position + 1) * size + out - 1) // out


def _each_adaptive(b, plane, visit):
    """Calls visit(offset of the output, bounds along each axis) for the outputs of a plane."""
    base = plane * b.int(3) * b.int(4) * b.int(5)
    with b.loop(0, b.int(3)) as z, b.loop(0, b.int(4)) as y, b.loop(0, b.int(5)) as x:
        at = base + (z * b.int(4) + y) * b.int(5) + x
        visit(at, [_span(b, k, p) for k, p in enumerate((z, y, x))])


def _each_inside(b, bounds, visit):
    (z0, z1), (y0, y1), (x0, x1) = bounds
    with b.loop(z0, z1) as z, b.loop(y0, y1) as y, b.loop(x0, x1, simd=False) as x:
        visit((z * b.int(1) + y) * b.int(2) + x)


def _adaptive_mean(b, back: bool):
    """Buffers: output, input; of the gradient: gradient of the input, gradient."""
    from ..ir.fn import cast, const

    dtype = b.compute_dtype(1)
    with b.parallel() as plane:
        in_size = b.int(0) * b.int(1) * b.int(2)
        if back:
            with b.loop(0, in_size) as i:
                b.store(0, plane * in_size + i, const(0, dtype))

        def window(at, bounds):
            (z0, z1), (y0, y1), (x0, x1) = bounds
            count = cast((z1 - z0) * (y1 - y0) * (x1 - x0), dtype)
            if back:
                share = b.load(1, at) / count

                def give(offset):
                    place = plane * in_size + offset
                    b.store(0, place, b.load(0, place) + share)

                _each_inside(b, bounds, give)
                return
            total = b.variable(const(0, dtype), dtype)

            def take(offset):
                total.value = total.value + b.load(1, plane * in_size + offset)

            _each_inside(b, bounds, take)
            b.store(0, at, total.value / count)

        _each_adaptive(b, plane, window)


def _adaptive_max(b):
    """Buffers: values, positions, input."""
    from ..ir.fn import const, where

    dtype = b.compute_dtype(2)
    with b.parallel() as plane:
        in_size = b.int(0) * b.int(1) * b.int(2)

        def window(at, bounds):
            (z0, _), (y0, _), (x0, _) = bounds
            best = b.variable(const(_lowest(dtype), dtype), dtype)
            position = b.variable((z0 * b.int(1) + y0) * b.int(2) + x0, "i64")

            def tap(offset):
                v, old = b.load(2, plane * in_size + offset), best.value
                better = (v > old) | (v != v)
                position.value = where(better, offset, position.value)
                best.value = where(better, v, old)

            _each_inside(b, bounds, tap)
            b.store(0, at, best.value)
            b.store(1, at, position.value)

        _each_adaptive(b, plane, window)


def _adaptive_sizes(name, x, n, output_size):
    if x.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(x.shape)} [in {name}: input={tuple(x.shape)}]"
        )
    wanted = tuple(output_size)
    wanted = wanted * n if len(wanted) == 1 else wanted
    if len(wanted) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    sizes = tuple(x.shape[-n:])
    out = tuple(s if w is None or w < 0 else w for s, w in zip(sizes, wanted, strict=True))
    return sizes, out, [*_three(sizes, 1), *_three(out, 1)]


def _adaptive_mean_plan(n):
    def plan(o, x, output_size):
        _, out, ints = _adaptive_sizes(f"adaptive_avg_pool{n}d", x, n, output_size)
        x = x.contiguous()
        lead = tuple(x.shape[:-n])
        result = o.empty(lead + out, dtype=x.dtype, device=x.device)
        work = product(x.shape[-n:]) + product(out)
        return Launch((result,), (result, x), ints, product(lead), work, _adaptive_mean, (False,))

    return plan


def _adaptive_mean_back_plan(o, grad, x, n, output_size):
    _, out, ints = _adaptive_sizes(f"adaptive_avg_pool{n}d", x, n, output_size)
    grad = grad.contiguous()
    result = o.empty(tuple(x.shape), dtype=grad.dtype, device=grad.device)
    work = product(x.shape[-n:]) + product(out)
    return Launch((result,), (result, grad), ints, product(x.shape[:-n]), work, _adaptive_mean, (True,))


def _adaptive_max_plan(n):
    def plan(o, x, output_size):
        _, out, ints = _adaptive_sizes(f"adaptive_max_pool{n}d", x, n, output_size)
        x = x.contiguous()
        lead = tuple(x.shape[:-n])
        values = o.empty(lead + out, dtype=x.dtype, device=x.device)
        where_ = o.empty(lead + out, dtype=o.int64, device=x.device)
        work = product(x.shape[-n:]) + product(out)
        return Launch((values, where_), (values, where_, x), ints, product(lead), work, _adaptive_max)

    return plan


op(
    "adaptive_avg_pool_backward(Tensor grad, Tensor self, int n, int[] output_size) -> Tensor",
    names=(),
    body=Loop(_adaptive_mean_back_plan),
    grad=lambda o, g, grad, self, n, output_size: (getattr(o, f"adaptive_avg_pool{n}d_sized")(g, output_size), None),
    doc="Gradient of adaptive average pooling.",
)


def _public_pools(n: int) -> None:
    window = f"int[{n}] kernel_size, int[{n}]? stride=None, int[{n}] padding=0, int[{n}] dilation=1, bool ceil_mode=False"

    def max_pool(o, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        pool = getattr(o, f"max_pool{n}d_with_indices")
        values, where_ = pool(input, kernel_size, () if stride is None else stride, padding, dilation, ceil_mode)
        return (values, where_) if return_indices else values

    op(
        f"max_pool{n}d(Tensor input, {window}, bool return_indices=False) -> Any",
        names=(f"max_pool{n}d", f"nn.functional.max_pool{n}d"),
        body=Composite(max_pool),
        doc=f"Greatest element of each window of a {n}-d input; with return_indices also its position in the plane.",
    )

    def adaptive_max(o, input, output_size, return_indices=False):
        values, where_ = getattr(o, f"adaptive_max_pool{n}d_with_indices")(input, _output_size(input, output_size, n))
        return (values, where_) if return_indices else values

    op(
        f"adaptive_max_pool{n}d(Tensor input, Any output_size, bool return_indices=False) -> Any",
        names=(f"nn.functional.adaptive_max_pool{n}d",),
        body=Composite(adaptive_max),
        doc=f"Greatest element of windows chosen so that the result has the given size ({n}-d).",
    )

    def adaptive_mean(o, input, output_size):
        return getattr(o, f"adaptive_avg_pool{n}d_sized")(input, _output_size(input, output_size, n))

    op(
        f"adaptive_avg_pool{n}d(Tensor input, Any output_size) -> Tensor",
        names=(f"adaptive_avg_pool{n}d", f"nn.functional.adaptive_avg_pool{n}d"),
        body=Composite(adaptive_mean),
        doc=f"Mean of windows chosen so that the result has the given size ({n}-d).",
    )


def _output_size(input, output_size, n: int) -> tuple[int, ...]:
    """None keeps the input's size."""
    wanted = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    return tuple(input.shape[k - n] if w is None else int(w) for k, w in enumerate(wanted))


for _n in (1, 2, 3):
    op(
        f"adaptive_avg_pool{_n}d_sized(Tensor self, int[] output_size) -> Tensor",
        names=(),
        body=Loop(_adaptive_mean_plan(_n)),
        grad=(
            lambda n: lambda o, g, self, output_size: (o.adaptive_avg_pool_backward(g, self, n, output_size),)
        )(_n),
        doc="Adaptive average pooling to sizes that are all given.",
    )
    op(
        f"adaptive_max_pool{_n}d_with_indices(Tensor self, int[] output_size) -> (Tensor, Tensor)",
        names=(f"nn.functional.adaptive_max_pool{_n}d_with_indices",),
        body=Loop(_adaptive_max_plan(_n)),
        grad=(lambda n: lambda o, g, self, output_size: (
            o.max_pool_backward(g[0], o.saved.output(1), self.shape, n),
        ))(_n),
        saves=("o1",),
        doc="Adaptive max pooling, and the positions of the maxima in their planes.",
    )  # fmt: skip
    _public_pools(_n)
