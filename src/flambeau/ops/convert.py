"""Copies, casts and fills."""

from .table import ANY, STORED, Composite, Native, Scalar, op

_FORMAT = "MemoryFormat? memory_format=None"
op(
    "cast(Tensor input) -> Tensor",
    names=(),
    dtypes=STORED,
    body=Scalar(lambda x: x),
    doc="The kernel of every copy between dtypes.",
)
op(
    f"clone(Tensor self, *, {_FORMAT}) -> Tensor",
    dtypes=ANY,
    body=Native("clone"),
    grad=lambda o, g, self, memory_format: (g,),
    ref=lambda np, x: x.copy(),
    samples=("unary", -2, 2),
    doc="A copy that keeps the layout.",
)
op(
    "contiguous(Tensor self, *, MemoryFormat memory_format=contiguous_format) -> Tensor",
    names=("Tensor.contiguous",),
    dtypes=ANY,
    body=Native("contiguous"),
    grad=lambda o, g, self, memory_format: (g,),
    doc="self, copied if its elements do not lie in order.",
)


def _back(o, g, self, *rest):
    return (o.to(g, self.device, self.dtype),)


_TAIL = f"bool non_blocking=False, bool copy=False, *, {_FORMAT}"
for _signature, _native, _doc in (
    (f"to.dtype(Tensor self, ScalarType dtype, {_TAIL}) -> Tensor", "to_dtype", "self in another dtype."),
    (f"to.device(Tensor self, Device? device=None, ScalarType? dtype=None, {_TAIL}) -> Tensor", "to_device",
     "self on another device, in another dtype."),
):  # fmt: skip
    op(_signature, names=("Tensor.to",), dtypes=ANY, body=Native(_native), grad=_back, doc=_doc)
op(
    f"to.other(Tensor self, Tensor other, {_TAIL}) -> Tensor",
    names=("Tensor.to",),
    dtypes=ANY,
    body=Native("to_other"),
    grad=lambda o, g, self, *rest: (o.to(g, self.device, self.dtype), None),
    doc="self with the dtype and device of another tensor.",
)


def _cast_method(name: str, dtype: str) -> None:
    def run(o, self, memory_format):
        return o.to(self, getattr(o, dtype), memory_format=memory_format)

    op(
        f"{name}(Tensor self, {_FORMAT}) -> Tensor",
        names=(f"Tensor.{name}",),
        body=Composite(run),
        doc=f"self as {dtype}.",
    )


for _name, _dtype in {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "int": "int32", "long": "int64",
    "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64", "cdouble": "complex128",
}.items():  # fmt: skip
    _cast_method(_name, _dtype)
op("type_as(Tensor self, Tensor other) -> Tensor", names=("Tensor.type_as",),
   body=Composite(lambda o, self, other: o.to(self, other.dtype)), doc="self in the dtype of other.")  # fmt: skip
op("cpu(Tensor self) -> Tensor", names=("Tensor.cpu",), body=Composite(lambda o, self: o.to(self, "cpu")),
   doc="self in the memory of the processor.")  # fmt: skip

# ---- writing


def _copy_grad(o, g, self, src, non_blocking):
    return (
        o.zeros_like(g) if o.needs[0] else None,
        o.to(o.sum_to_size(g, src.shape), src.device, src.dtype) if o.needs[1] else None,
    )


op(
    "copy_(Tensor(a!) self, Tensor other, bool non_blocking=False) -> Tensor(a!)",
    names=("Tensor.copy_",),
    dtypes=ANY,
    numbers=("other",),
    body=Native("copy_"),
    grad=_copy_grad,
    doc="Writes other, a tensor or a number, broadcast and cast, to self.",
)
op(
    "fill_.Tensor(Tensor(a!) self, Tensor value) -> Tensor(a!)",
    names=("fill_", "Tensor.fill_"),
    dtypes=ANY,
    body=Native("fill_"),
    grad=lambda o, g, self, value: (
        o.zeros_like(g) if o.needs[0] else None,
        o.to(o.sum(g), value.device, value.dtype) if o.needs[1] else None,
    ),
    doc="Writes a number to every element.",
)
op(
    "fill_.Scalar(Tensor(a!) self, Scalar value) -> Tensor(a!)",
    names=("fill_", "Tensor.fill_"),
    dtypes=ANY,
    body=Native("fill_"),
    grad=lambda o, g, self, value: (o.zeros_like(g),),
    doc="Writes a number to every element.",
)
op(
    "zero_(Tensor(a!) self) -> Tensor(a!)",
    names=("zero_", "Tensor.zero_"),
    dtypes=ANY,
    body=Native("zero_"),
    grad=lambda o, g, self: (o.zeros_like(g),),
    doc="Writes 0 to every element.",
)
op(
    "fill.Scalar(Tensor self, Scalar value) -> Tensor",
    names=("fill",),
    body=Composite(lambda o, self, value: o.fill_(o.clone(self), value)),
    doc="A tensor like self with one number everywhere.",
)
op(
    f"resize_(Tensor(a!) self, int[] size, *, {_FORMAT}) -> Tensor(a!)",
    names=("Tensor.resize_",),
    dtypes=ANY,
    body=Native("resize_"),
    differentiable=False,
    doc="Gives self another size; the storage grows where it must, and new elements are not set.",
)
op(
    f"resize_as_(Tensor(a!) self, Tensor the_template, *, {_FORMAT}) -> Tensor(a!)",
    names=("resize_as_", "Tensor.resize_as_"),
    body=Composite(lambda o, self, the_template, memory_format: o.resize_(self, the_template.shape)),
    doc="Gives self the size of another tensor.",
)
