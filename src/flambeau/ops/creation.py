"""New tensors: filled, counted, identity."""

from .table import ANY, Composite, Native, op

# What every factory takes last.
OPTIONS = (
    "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool requires_grad=False"
)
_FORMAT = "MemoryFormat? memory_format=None"


def factory(signature: str, native: str, doc: str, names: tuple[str, ...], ref=None) -> None:
    """A native operator that makes a tensor and has no gradient."""
    op(signature, names=names, dtypes=ANY, body=Native(native), differentiable=False, ref=ref, doc=doc)


factory(
    f"empty(int[] size, *, {OPTIONS}, {_FORMAT}) -> Tensor", "empty", "A tensor whose elements are not set.", ("empty",)
)
factory(f"empty_strided(int[] size, int[] stride, *, {OPTIONS}) -> Tensor", "empty_strided",
        "A tensor of given strides whose elements are not set.", ("empty_strided",))  # fmt: skip
factory(f"zeros(int[] size, *, {OPTIONS}) -> Tensor", "zeros", "Zeros.", ("zeros",), lambda np, size: np.zeros(size))
factory(f"ones(int[] size, *, {OPTIONS}) -> Tensor", "ones", "Ones.", ("ones",), lambda np, size: np.ones(size))
factory(f"full(int[] size, Scalar fill_value, *, {OPTIONS}) -> Tensor", "full", "One number everywhere.", ("full",),
        lambda np, size, value: np.full(size, value))  # fmt: skip
for _name, _what in (("empty_like", "Elements not set"), ("zeros_like", "Zeros"), ("ones_like", "Ones")):
    factory(f"{_name}(Tensor self, *, {OPTIONS}, {_FORMAT}) -> Tensor", _name,
            f"{_what}, in the size and layout of self.",
            (_name,))  # fmt: skip
factory(f"full_like(Tensor self, Scalar fill_value, *, {OPTIONS}, {_FORMAT}) -> Tensor", "full_like",
        "One number everywhere, in the size and layout of self.", ("full_like",))  # fmt: skip
for _name, _what in (("new_empty", "Elements not set"), ("new_zeros", "Zeros"), ("new_ones", "Ones")):
    factory(f"{_name}(Tensor self, int[] size, *, {OPTIONS}) -> Tensor", _name,
            f"{_what}, with the dtype and device of self.",
            (f"Tensor.{_name}",))  # fmt: skip
factory(f"new_full(Tensor self, int[] size, Scalar fill_value, *, {OPTIONS}) -> Tensor", "new_full",
        "One number everywhere, with the dtype and device of self.", ("Tensor.new_full",))  # fmt: skip
factory(f"scalar_tensor(Scalar s, *, {OPTIONS}) -> Tensor", "scalar_tensor", "A number as a tensor of no dimensions.",
        ("scalar_tensor",))  # fmt: skip
factory(f"arange.start_step(Scalar start, Scalar end, Scalar step=1, *, {OPTIONS}) -> Tensor", "arange",
        "start, start + step, ... below end.", ("arange",),
        lambda np, start, end, step=1: np.arange(start, end, step))  # fmt: skip
factory(f"arange(Scalar end, *, {OPTIONS}) -> Tensor", "arange_to", "0, 1, 2, ... below end.", ("arange",),
        lambda np, end: np.arange(end))  # fmt: skip
factory(f"linspace(Scalar start, Scalar end, int steps, *, {OPTIONS}) -> Tensor", "linspace",
        "`steps` numbers evenly spaced from start to end, both included.", ("linspace",),
        lambda np, start, end, steps: np.linspace(start, end, steps))  # fmt: skip
factory(f"logspace(Scalar start, Scalar end, int steps, float base=10.0, *, {OPTIONS}) -> Tensor", "logspace",
        "base to the powers that linspace gives.", ("logspace",),
        lambda np, start, end, steps, base=10.0: np.logspace(start, end, steps, base=base))  # fmt: skip
factory(f"eye.m(int n, int? m=None, *, {OPTIONS}) -> Tensor", "eye",
        "Ones on the diagonal of a matrix of zeros.", ("eye",),
        lambda np, n, m=None: np.eye(n, m))  # fmt: skip


def _between(name: str):
    def body(o, start, end, steps, *rest, **options):
        tensors = [(n, t) for n, t in (("start", start), ("end", end)) if isinstance(t, o.Tensor)]
        if any(t.dim() for _, t in tensors):
            got = " and ".join(f"{n} with {t.dim()} dimension(s)" for n, t in tensors)
            raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors, but got {got}.")
        if options.get("dtype") is None and any(t.dtype.is_complex for _, t in tensors):
            options["dtype"] = o.promote_types(o.get_default_dtype(), o.complex64)
        ends = [t.item() if isinstance(t, o.Tensor) else t for t in (start, end)]
        return getattr(o, name)(*ends, steps, *rest, **options)

    return body


def _linspace(o, start, end, steps, *, dtype, layout, device, pin_memory, requires_grad):
    return _between("linspace")(o, start, end, steps, dtype=dtype, device=device, requires_grad=requires_grad)


def _logspace(o, start, end, steps, base, *, dtype, layout, device, pin_memory, requires_grad):
    return _between("logspace")(o, start, end, steps, base, dtype=dtype, device=device, requires_grad=requires_grad)


for _name, _body, _base in (("linspace", _linspace, ""), ("logspace", _logspace, "float base=10.0, ")):
    for _kinds in (("Tensor", "Tensor"), ("Tensor", "Scalar"), ("Scalar", "Tensor")):
        op(
            f"{_name}.{'_'.join(_kinds)}({_kinds[0]} start, {_kinds[1]} end, int steps, {_base}*, {OPTIONS}) -> Tensor",
            names=(_name,),
            body=Composite(_body),
            differentiable=False,
            doc=f"{_name} between tensors of no dimensions.",
        )


def _range(o, start, end, step, dtype, layout, device, pin_memory, requires_grad):
    if dtype is None:
        dtype = o.get_default_dtype()
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = int((end - start) / step) + 1
    line = o.arange(0, count, 1, dtype=o.float64, device=device)
    return o.add(o.mul(line, step), start).to(dtype).requires_grad_(requires_grad)


op(
    f"range(Scalar start, Scalar end, Scalar step=1, *, {OPTIONS}) -> Tensor",
    names=("range",),
    body=Composite(_range),
    differentiable=False,
    doc="start, start + step, ... up to end, which is included (arange leaves it out).",
)


def _new_empty_strided(o, self, size, stride, dtype, layout, device, pin_memory, requires_grad):
    return o.empty_strided(
        size, stride, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


op(
    f"new_empty_strided(Tensor self, int[] size, int[] stride, *, {OPTIONS}) -> Tensor",
    names=("Tensor.new_empty_strided",),
    body=Composite(_new_empty_strided),
    differentiable=False,
    doc="Elements not set, at given strides, with the dtype and device of self.",
)


def _empty_permuted(o, size, physical_layout, dtype, layout, device, pin_memory, requires_grad):
    order = list(physical_layout)
    if len(size) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    for i, d in enumerate(order):
        if not 0 <= d < len(size):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {d} at index {i}).  "
                "NB: negative dims not currently supported; file an issue if you want it."
            )
    if len(set(order)) < len(order):
        raise RuntimeError(f"Duplicate dim not allowed [in empty_permuted: physical_layout={order}]")
    strides, step = [0] * len(order), 1
    for d in reversed(order):
        strides[d] = step
        step *= max(size[d], 1)
    return o.empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


op(
    f"empty_permuted(int[] size, int[] physical_layout, *, {OPTIONS}) -> Tensor",
    names=("empty_permuted",),
    body=Composite(_empty_permuted),
    differentiable=False,
    doc="Elements not set, dense in memory with the dimensions in the order given.",
)


