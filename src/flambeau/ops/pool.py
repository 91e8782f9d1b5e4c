"""Pooling over one, two or three dimensions. Results follow a channels-last input."""

from . import pool_programs as programs
from .launch import Launch, product, values_suffice
from .table import Composite, Loop, op

_COUNT = {1: "one int", 2: "two ints", 3: "three ints"}


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
            default = "either be omitted, " if what == "stride" else "either be "
            raise RuntimeError(f"{name}: {what} must {default}a single int, or a tuple of {_COUNT[n]}")
    _check_rank(name, x, n)
    _check_padding(kernel, stride, padding, dilation)
    _check_window(kernel, stride, dilation)
    _check_sizes(name, x, n)
    sizes = tuple(x.shape[-n:])
    out = tuple(
        output_size(s, k, st, p, d, ceil)
        for s, k, st, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if min(out) < 1:
        raise RuntimeError(f"{_too_small(name, x, n, kernel, out)} [in {name}: input={tuple(x.shape)}, {kernel=}]")
    return kernel, stride, padding, dilation, out


def _context(name, x) -> str:
    return f"[in {name}: input={tuple(x.shape)}]. Give (N, C, ...) or (C, ...)."


def _check_rank(name, x, n) -> None:
    shape, context = list(x.shape), _context(name, x)
    if x.dim() not in (n + 1, n + 2):
        if n == 1 and name == "max_pool1d":
            raise RuntimeError(f"{name}: {_batch_mode(1)}{shape} {context}")
        if n == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {x.dim()}-dimensional tensor for argument #1 'self' "
                f"(while checking arguments for {name}) {context}"
            )
        raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input {context}")


def _check_sizes(name, x, n) -> None:
    shape, context = list(x.shape), _context(name, x)
    empty = next((d for d in range(x.dim() - n - 1, x.dim()) if d >= 0 and not shape[d]), None)
    if empty is not None and n == 3:
        kernel = "max_pool3d_with_indices_out_cpu_template" if name == "max_pool3d" else name
        raise RuntimeError(
            f"{kernel}(): Expected input's non-batch dimensions to have positive length, but input has a shape of "
            f"{shape} and non-batch dimension {empty} has length zero! {context}"
        )
    if empty is not None:
        front = f"{name}: " if name == "max_pool1d" else ""
        raise RuntimeError(f"{front}{_batch_mode(n)}{shape} {context}")


def _batch_mode(n: int) -> str:
    return f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got:"


def _check_line(x, kernel, stride, padding, dilation) -> None:
    """What max_pool1d says of one dimension."""
    _check_rank("max_pool1d", x, 1)
    _check_sizes("max_pool1d", x, 1)
    size = _tuple(kernel, 1)
    kernel, stride, padding, dilation = (_tuple(v, 1)[0] for v in (size, stride or size, padding, dilation))
    for what, value in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if value <= 0:
            raise RuntimeError(f"max_pool1d() {what} must be greater than zero, but got {value}")
    if padding < 0:
        raise RuntimeError(f"max_pool1d() padding must be non-negative, but got {padding}")
    if padding > kernel // 2:
        raise RuntimeError(
            f"max_pool1d() padding should be at most half of kernel size, but got padding={padding} and "
            f"kernel_size={kernel}"
        )


def _check_window(kernel, stride, dilation) -> None:
    for what, prefix, values in (
        ("kernel size", "k", kernel),
        ("stride", "d", stride),
        ("dilation", "dilation", dilation),
    ):
        if min(values) <= 0:
            raise RuntimeError(f"{what} should be greater than zero, but got {_named(values, prefix)}")


def _check_padding(kernel, stride, padding, dilation) -> None:
    if 0 in stride:
        raise RuntimeError("stride should not be zero")
    for p, k, d in zip(padding, kernel, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )


def _too_small(name, x, n, kernel, out) -> str:
    sizes, channels = tuple(x.shape[-n:]), x.shape[-n - 1]
    if name == "max_pool1d":
        return f"max_pool1d() Invalid computed output size: {out[0]}"
    if name == "avg_pool3d" and any(s < k for s, k in zip(sizes, kernel, strict=True)):
        return f"input image ({_named(sizes, '')}) smaller than kernel size ({_named(kernel, 'k')})"
    one = (1,) if n == 1 else ()
    return (
        f"Given input size: {_by((channels, *one, *sizes))}. Calculated output size: {_by((channels, *one, *out))}. "
        "Output size is too small"
    )


def _named(values, prefix: str) -> str:
    names = ("T", "H", "W")[-len(values) :]
    return " ".join(f"{prefix}{n}: {v}" for n, v in zip(names, values, strict=True))


def _by(sizes) -> str:
    return "(" + "x".join(map(str, sizes)) + ")"


def _three(values, fill: int) -> list[int]:
    return [fill] * (3 - len(values)) + list(values)


def _check_dtype(x, kernel: str, also: tuple[str, ...] = ()) -> None:
    if not x.dtype.is_floating_point and x.dtype.code not in also:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{x.dtype.title}'")


def _layout(o, x, n: int):
    """How many channels lie innermost in results for x (1: none), and the memory format."""
    if n == 1 or x.dim() != n + 2 or x.is_contiguous():
        return 1, o.contiguous_format
    strides, least = x.stride(), 0
    for d in (1, *range(n + 1, 1, -1), 0):
        if not x.shape[d] or strides[d] < least or (d == 0 and least == strides[1]):
            return 1, o.contiguous_format
        least = strides[d] * (x.shape[d] if x.shape[d] > 1 else 1)
    return x.shape[1], o.channels_last if n == 2 else o.channels_last_3d


def _planes(sizes, n: int, lanes: int) -> int:
    """Iterations of a launch: planes, or images whose channels lie innermost."""
    return product(sizes[: len(sizes) - n]) // max(lanes, 1)


def _window_ints(sizes, out, kernel, stride, padding, dilation, divisor: int, lanes: int) -> list[int]:
    return [
        *_three(sizes, 1), *_three(out, 1), *_three(kernel, 1), *_three(stride, 1), *_three(padding, 0),
        *_three(dilation, 1), divisor, lanes,
    ]  # fmt: skip


def _small(kernel) -> bool:
    """Whether the taps of windows that lie inside of planes are written out."""
    return product(kernel) <= 27


def _known(steps) -> int:
    """The distance along the innermost axis where kernels are made for it (1 and 2), else 0."""
    return steps[-1] if steps[-1] <= 2 else 0


# ---- max


def _gathers(o, x, sizes, out, kernel, positions: bool) -> bool:
    """Whether rows of outputs are so short that lanes are better filled by several, whose taps have to be gathered. Of
    integers, outputs one by one are as fast."""
    count = product(out)
    if x.dtype not in (o.float32, o.float64) or not max(16, 2 * out[-1]) <= count < 2**16 or product(sizes) >= 2**31:
        return False
    return out[-1] < 24 if positions else out[-1] <= 8 and product(kernel) >= 9


def _max_plan(n, positions):
    def plan(o, x, kernel_size, stride, padding, dilation, ceil_mode):
        name = f"max_pool{n}d"
        if n == 1 and not positions:
            _check_line(x, kernel_size, stride, padding, dilation)
        kernel, stride, padding, dilation, out = _geometry(
            name, x, n, kernel_size, stride, padding, dilation, ceil_mode
        )
        _check_dtype(x, name, ("i8", "i16", "i32", "i64", "u8"))
        lanes, layout = _layout(o, x, n)
        x = x.contiguous(memory_format=layout)
        lead, sizes = tuple(x.shape[:-n]), tuple(x.shape[-n:])
        values = o.empty(lead + out, dtype=x.dtype, device=x.device, memory_format=layout)
        results = (values,)
        if positions:
            results += (o.empty(lead + out, dtype=o.int64, device=x.device, memory_format=layout),)
        program, attrs = programs.max_windows, (positions,)
        if _small(kernel) and all(s >= d for s, d in zip(sizes, dilation, strict=True)):
            steps = (_known(stride), _known(dilation))
            index = "i32" if product(sizes) < 2**31 else "i64"
            program, attrs = programs.max_small, (*_three(kernel, 1), *steps, positions, lanes > 1, index)
            if lanes == 1 and _gathers(o, x, sizes, out, kernel, positions):
                program, attrs = programs.max_gathered, (*_three(kernel, 1), positions)
        ints = _window_ints(sizes, out, kernel, stride, padding, dilation, 0, lanes)
        work = product(out) * product(kernel) * lanes
        return Launch(results, (*results, x), ints, _planes(x.shape, n, lanes), work, program, attrs)

    return plan


for _n in (1, 2, 3):
    op(
        f"max_pool{_n}d_with_indices(Tensor self, int[{_n}] kernel_size, int[{_n}] stride=[], int[{_n}] padding=0, "
        f"int[{_n}] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        names=(f"nn.functional.max_pool{_n}d_with_indices",),
        body=Loop(_max_plan(_n, True), pure=True),
        grad=(
            lambda n: lambda o, g, x, *_: (o.max_pool_backward(g[0], o.saved.output(1), x.shape, n),)
        )(_n),
        saves=("o1",),
        doc=f"Greatest element of each window of a {_n}-d input, and its position in the plane.",
    )  # fmt: skip
    op(
        f"max_pool{_n}d_values(Tensor self, int[{_n}] kernel_size, int[{_n}] stride=[], int[{_n}] padding=0, "
        f"int[{_n}] dilation=1, bool ceil_mode=False) -> Tensor",
        names=(),
        body=Loop(_max_plan(_n, False), pure=True),
        differentiable=False,
        doc=f"Greatest element of each window of a {_n}-d input, where nobody asks for positions or gradients.",
    )


def _max_back_plan(o, g, where_, size, n):
    lanes, layout = _layout(o, where_, n)
    g, where_ = g.contiguous(memory_format=layout), where_.contiguous(memory_format=layout)
    out = o.empty(size, dtype=g.dtype, device=g.device, memory_format=layout)
    ints = [product(size[-n:]), product(g.shape[-n:]), lanes]
    planes = _planes(size, n, lanes)
    return Launch((out,), (out, g, where_), ints, planes, sum(ints[:2]) * lanes, programs.spread)


def _max_pick_plan(o, x, where_, n):
    lanes, layout = _layout(o, where_, n)
    x, where_ = x.contiguous(memory_format=layout), where_.contiguous(memory_format=layout)
    out = o.empty(tuple(where_.shape), dtype=x.dtype, device=x.device, memory_format=layout)
    ints = [product(x.shape[-n:]), product(where_.shape[-n:]), lanes]
    return Launch((out,), (out, x, where_), ints, _planes(x.shape, n, lanes), ints[1] * lanes, programs.pick)


op(
    "max_pool_backward(Tensor grad, Tensor indices, int[] size, int n) -> Tensor",
    names=(),
    body=Loop(_max_back_plan, pure=True),
    grad=lambda o, g, grad, indices, size, n: (o.max_pool_pick(g, indices, n), None),
    doc="Gradient of max pooling: each gradient goes to the position its maximum came from.",
)
op(
    "max_pool_pick(Tensor self, Tensor indices, int n) -> Tensor",
    names=(),
    body=Loop(_max_pick_plan, pure=True),
    grad=lambda o, g, self, indices, n: (o.max_pool_backward(g, indices, self.shape, n), None),
    doc="Elements of each plane at the positions that max pooling found.",
)


# ---- mean


def _mean_launch(o, data, x, n, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, back):
    """Pools data; or, for the gradient, spreads it over the sizes of x."""
    name = f"avg_pool{n}d"
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    kernel, stride, padding, dilation, out = _geometry(name, x, n, kernel, stride, padding, (1,), ceil_mode)
    _check_dtype(x, "avg_pool3d_out_frame" if n == 3 else "avg_pool2d", ("i64",))
    lanes, layout = _layout(o, x, n)
    data = data.contiguous(memory_format=layout)
    sizes = tuple(x.shape[-n:])
    shape = tuple(x.shape) if back else tuple(x.shape[:-n]) + out
    result = o.empty(shape, dtype=data.dtype, device=data.device, memory_format=layout)
    ints = _window_ints(sizes, out, kernel, stride, padding, dilation, divisor_override or 0, lanes)
    counts = (bool(count_include_pad), divisor_override is not None)
    if back and set(stride) == {1} and any(counts):
        # Each element's gradient is a sum over a window, too.
        turned = [k - 1 - p for k, p in zip(kernel, padding, strict=True)]
        ints = _window_ints(out, sizes, kernel, stride, turned, dilation, divisor_override or product(kernel), lanes)
        counts, back = (False, True), False
    program, attrs = programs.mean_windows, (*counts, back)
    if _small(kernel):
        apart = all(s >= k for s, k in zip(stride, kernel, strict=True))
        program, attrs = programs.mean_small, (*_three(kernel, 1), _known(stride), *counts, back, apart, lanes > 1)
    work = product(out) * product(kernel) * lanes
    planes = _planes(x.shape, n, lanes)
    return Launch((result,), (result, data), ints, planes, work, program, attrs)


def _mean_plan(n):
    def plan(o, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
        window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return _mean_launch(o, x, x, n, *window, False)

    return plan


def _mean_grad(n):
    def grad(o, g, self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
        window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return (o.avg_pool_backward(g, self, n, *window),)

    return grad


for _n in (1, 2, 3):
    _override = "" if _n == 1 else ", int? divisor_override=None"
    op(
        f"avg_pool{_n}d(Tensor self, int[{_n}] kernel_size, int[{_n}] stride=[], int[{_n}] padding=0, "
        f"bool ceil_mode=False, bool count_include_pad=True{_override}) -> Tensor",
        names=(f"nn.functional.avg_pool{_n}d",),
        body=Loop(_mean_plan(_n), pure=True),
        grad=_mean_grad(_n),
        doc=f"Mean of each window of a {_n}-d input.",
    )
op(
    "avg_pool_backward(Tensor grad, Tensor self, int n, int[] kernel_size, int[] stride, int[] padding, bool "
    "ceil_mode, bool count_include_pad, int? divisor_override) -> Tensor",
    names=(),
    body=Loop(lambda o, g, x, n, *window: _mean_launch(o, g, x, n, *window, True), pure=True),
    grad=lambda o, g, grad, self, n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: (
        getattr(o, f"avg_pool{n}d")(
            g, kernel_size, stride, padding, ceil_mode, count_include_pad, *(() if n == 1 else (divisor_override,))
        ),
        None,
    ),
    doc="Gradient of average pooling: each window's share goes back to its elements.",
)


# ---- adaptive: windows [floor(i * in / out), ceil((i + 1) * in / out))


def _wrong_count(name: str, n: int, got: int) -> str:
    if n == 1:
        return f"{name}() argument 'output_size' should contain one int (got {got})"
    return f"{name}{'(): internal error: output_size.size()' if 'max' in name else ': output_size'} must be {n}"


def _check_adaptive(kind: str, x, n: int, wanted) -> None:
    """What is wrong with an adaptive call, in PyTorch's words."""
    usual = x.dim() in (n + 1, n + 2) and len(wanted) == n and min(wanted) >= 0
    if usual and x.dtype.is_floating_point and 0 not in x.shape[-n:]:
        return
    name, shape = f"adaptive_{kind}_pool{n}d", list(x.shape)
    context = f"[in {name}: input={tuple(shape)}, output_size={tuple(wanted)}]"
    if x.dim() not in (n + 1, n + 2):
        if n == 1:
            raise RuntimeError(
                f"Expected 2 to 3 dimensions, but got {x.dim()}-dimensional tensor for argument #1 'self' "
                f"(while checking arguments for {name}) {context}"
            )
        colon = ":" if kind == "max" else ""
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got{colon} {shape} {context}")
    if len(wanted) != n:
        raise RuntimeError(f"{_wrong_count(name, n, len(wanted))} {context}")
    if min(wanted) < 0 and kind == "max":
        front = [*shape[:-n], *((1,) if n == 1 else ())]
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(wanted)}: {[*front, *wanted]} {context}"
        )
    if min(wanted) < 0:
        got = {1: "1, {0}", 2: "{0}, {1}", 3: "{0}, {1},{2}"}[n].format(*wanted)
        raise RuntimeError(
            f"adaptive_avg_pool{max(n, 2)}d: elements of output_size must be greater than or equal to 0 but received "
            f"{{{got}}} {context}"
        )
    if 0 in shape[-n:] and product(shape[:-n]):
        at = next(d for d in range(x.dim() - n, x.dim()) if not shape[d])
        if n == 1 and kind == "avg":
            name, shape, at = "adaptive_avg_pool2d", [*shape[:-1], 1, shape[-1]], at + 1
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {shape} "
            f"with dimension {at} being empty {context}"
        )
    _check_dtype(x, f"adaptive_avg_pool{max(n, 2)}d" + ("_cpu" if n == 3 else "") if kind == "avg" else name,
                 () if kind == "avg" else ("i8", "i16", "i32", "i64", "u8"))  # fmt: skip


def _adaptive_ints(x, n: int, out, lanes: int) -> list[int]:
    return [*_three(tuple(x.shape[-n:]), 1), *_three(out, 1), lanes]


def _adaptive_work(x, n: int, out, lanes: int) -> int:
    return (product(x.shape[-n:]) + product(out)) * lanes


def _adaptive_mean_launch(o, data, x, n, out, back):
    lanes, layout = _layout(o, x, n)
    data, out = data.contiguous(memory_format=layout), tuple(out)
    shape = tuple(x.shape) if back else tuple(x.shape[:-n]) + out
    result = o.empty(shape, dtype=data.dtype, device=data.device, memory_format=layout)
    ints, work = _adaptive_ints(x, n, out, lanes), _adaptive_work(x, n, out, lanes)
    planes = _planes(x.shape, n, lanes)
    return Launch((result,), (result, data), ints, planes, work, programs.adaptive_mean, (back,))


def _adaptive_mean_plan(n):
    def plan(o, x, output_size):
        _check_adaptive("avg", x, n, output_size)
        return _adaptive_mean_launch(o, x, x, n, output_size, False)

    return plan


def _adaptive_max_plan(n):
    def plan(o, x, output_size):
        _check_adaptive("max", x, n, output_size)
        lanes, layout = _layout(o, x, n)
        x, out = x.contiguous(memory_format=layout), tuple(output_size)
        shape = tuple(x.shape[:-n]) + out
        values = o.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        where_ = o.empty(shape, dtype=o.int64, device=x.device, memory_format=layout)
        ints, work = _adaptive_ints(x, n, out, lanes), _adaptive_work(x, n, out, lanes)
        planes = _planes(x.shape, n, lanes)
        return Launch((values, where_), (values, where_, x), ints, planes, work, programs.adaptive_max)

    return plan


op(
    "adaptive_avg_pool_backward(Tensor grad, Tensor self, int n, int[] output_size) -> Tensor",
    names=(),
    body=Loop(lambda o, g, x, n, output_size: _adaptive_mean_launch(o, g, x, n, output_size, True), pure=True),
    grad=lambda o, g, grad, self, n, output_size: (getattr(o, f"adaptive_avg_pool{n}d_sized")(g, output_size), None),
    doc="Gradient of adaptive average pooling.",
)


def _output_size(input, output_size, n: int) -> tuple[int, ...]:
    """None keeps the input's size."""
    if output_size is None or isinstance(output_size, int):
        wanted = (output_size,) * n
    else:
        wanted = tuple(output_size)
        if n > 1 and input.dim() <= len(wanted):
            raise ValueError(f"Input dimension should be at least {len(wanted) + 1}")
    return tuple(input.shape[k - len(wanted)] if w is None else int(w) for k, w in enumerate(wanted))


def _small_windows(input, wanted, n: int) -> list[int] | None:
    """The size of all windows where they are alike, and so small that their taps are written out."""
    if len(wanted) != n or input.dim() <= n or min(wanted) < 1 or not input.numel() or not any(w > 1 for w in wanted):
        return None
    sizes = input.shape[-n:]
    kernel = [s // w for s, w in zip(sizes, wanted, strict=True)]
    return kernel if _small(kernel) and all(k * w == s for k, w, s in zip(kernel, wanted, sizes, strict=True)) else None


_WIDE = 4  # elements of a window next to each other, which vectors are worth for


def _even_windows(o, input, wanted, n: int):
    """The input with a dimension for places in windows beside each for windows, and those of the places; None where
    windows differ in size, are narrow, or have channels between their elements."""
    if len(wanted) != n or input.dim() <= n or min(wanted) < 1 or _layout(o, input, n)[0] != 1:
        return None
    lead, sizes = tuple(input.shape[:-n]), tuple(input.shape[-n:])
    one = set(wanted) == {1}
    if not input.numel() or any(s % w for s, w in zip(sizes, wanted, strict=True)):
        return None
    if not one and sizes[-1] // wanted[-1] < _WIDE:
        return None
    if one:
        return input, list(range(-n, 0)), True
    split = [part for s, w in zip(sizes, wanted, strict=True) for part in (w, s // w)]
    return input.reshape(*lead, *split), [2 * k - 2 * n + 1 for k in range(n)]


# ---- public forms


def _public_pools(n: int) -> None:
    window = (
        f"int[{n}] kernel_size, int[{n}]? stride=None, int[{n}] padding=0, int[{n}] dilation=1, bool ceil_mode=False"
    )

    def max_pool(o, input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if not return_indices and values_suffice(input):
            only = getattr(o, f"max_pool{n}d_values")
            return only(input, kernel_size, () if stride is None else stride, padding, dilation, ceil_mode)
        if n == 1 and not return_indices:
            _check_line(input, kernel_size, stride, padding, dilation)
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
        wanted = _output_size(input, output_size, n)
        if kernel := _small_windows(input, wanted, n):
            _check_adaptive("max", input, n, wanted)
            return getattr(o, f"max_pool{n}d")(input, kernel, return_indices=return_indices)
        if not return_indices and (windows := _even_windows(o, input, wanted, n)):
            _check_adaptive("max", input, n, wanted)
            if values_suffice(input):
                return o.amax(*windows)
            if set(wanted) == {1}:
                return o.max(input.flatten(-n), -1)[0].reshape(*input.shape[:-n], *wanted)
        values, where_ = getattr(o, f"adaptive_max_pool{n}d_with_indices")(input, wanted)
        return (values, where_) if return_indices else values

    op(
        f"adaptive_max_pool{n}d(Tensor input, Any output_size, bool return_indices=False) -> Any",
        names=(f"nn.functional.adaptive_max_pool{n}d",),
        body=Composite(adaptive_max),
        doc=f"Greatest element of windows chosen so that the result has the given size ({n}-d).",
    )

    def adaptive_mean(o, input, output_size):
        wanted = _output_size(input, output_size, n)
        if kernel := _small_windows(input, wanted, n):
            _check_adaptive("avg", input, n, wanted)
            return getattr(o, f"avg_pool{n}d")(input, kernel)
        if windows := _even_windows(o, input, wanted, n):
            _check_adaptive("avg", input, n, wanted)
            return o.mean(*windows)
        return getattr(o, f"adaptive_avg_pool{n}d_sized")(input, wanted)

    op(
        f"adaptive_avg_pool{n}d(Tensor input, Any output_size) -> Tensor",
        names=(f"adaptive_avg_pool{n}d", f"nn.functional.adaptive_avg_pool{n}d"),
        body=Composite(adaptive_mean),
        doc=f"Mean of windows chosen so that the result has the given size ({n}-d).",
    )


for _n in (1, 2, 3):
    op(
        f"adaptive_avg_pool{_n}d_sized(Tensor self, int[] output_size) -> Tensor",
        names=(),
        body=Loop(_adaptive_mean_plan(_n), pure=True),
        grad=(
            lambda n: lambda o, g, self, output_size: (o.adaptive_avg_pool_backward(g, self, n, output_size),)
        )(_n),
        doc="Adaptive average pooling to sizes that are all given.",
    )  # fmt: skip
    op(
        f"adaptive_max_pool{_n}d_with_indices(Tensor self, int[] output_size) -> (Tensor, Tensor)",
        names=(f"nn.functional.adaptive_max_pool{_n}d_with_indices",),
        body=Loop(_adaptive_max_plan(_n), pure=True),
        grad=(lambda n: lambda o, g, self, output_size: (o.max_pool_backward(g[0], o.saved.output(1), self.shape, n),))(
            _n
        ),
        saves=("o1",),
        doc="Adaptive max pooling, and the positions of the maxima in their planes.",
    )
    _public_pools(_n)
