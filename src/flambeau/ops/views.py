"""Views: metadata only, no element is touched. Gradients are views of the incoming gradient where that is possible."""

from itertools import pairwise

from .launch import check_tensors, wrap_dim
from .table import ANY, Composite, Native, op


def _both(name: str) -> tuple[str, ...]:
    return (name, f"Tensor.{name}")


def _view(signature: str, native: str, grad, doc: str, names: tuple[str, ...] | None = None, ref=None) -> None:
    op(signature, names=names, dtypes=ANY, body=Native(native), grad=grad, ref=ref, doc=doc)


def _reshaped(o, g, self, *rest):
    return (o.reshape(g, self.shape),)


_view("view(Tensor(a) self, int[] size) -> Tensor(a)", "view", _reshaped,
      "The same elements under another shape; one size may be -1. Raises where that needs a copy.",
      ("Tensor.view",), ref=lambda np, x, size: np.reshape(x, size))  # fmt: skip
_view(
    "_unsafe_view(Tensor(a) self, int[] size) -> Tensor(a)",
    "view",
    _reshaped,
    "view, of a tensor nobody else sees.",
    (),
)
_view("reshape(Tensor(a) self, int[] shape) -> Tensor(a)", "reshape", _reshaped,
      "The elements under another shape: a view where that is possible, else a copy.",
      ref=lambda np, x, shape: np.reshape(x, shape))  # fmt: skip
_view("flatten(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)", "flatten", _reshaped,
      "Dimensions start_dim to end_dim as one.")  # fmt: skip
op("view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)", names=("Tensor.view",), dtypes=ANY,
   body=Native("view_dtype"), differentiable=False, doc="The bytes of the elements read as another dtype.")  # fmt: skip
_view("transpose(Tensor(a) self, int dim0, int dim1) -> Tensor(a)", "transpose",
      lambda o, g, self, dim0, dim1: (o.transpose(g, dim0, dim1),), "Two dimensions exchanged.",
      tuple(n for a in ("transpose", "swapdims") for n in _both(a)),
      ref=lambda np, x, dim0, dim1: np.swapaxes(x, dim0, dim1))  # fmt: skip
op("swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)", names=_both("swapaxes"), dtypes=ANY,
   body=Composite(lambda o, self, axis0, axis1: o.transpose(self, axis0, axis1)),
   doc="Another name of transpose.")  # fmt: skip
_view("t(Tensor(a) self) -> Tensor(a)", "t", lambda o, g, self: (o.t(g),), "The transpose of a matrix.",
      ref=lambda np, x: np.transpose(x))  # fmt: skip


def _permute_grad(o, g, self, dims):
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d % self.ndim] = i
    return (o.permute(g, inverse),)


_view("permute(Tensor(a) self, int[] dims) -> Tensor(a)", "permute", _permute_grad, "The dimensions in another order.",
      ref=lambda np, x, dims: np.transpose(x, dims))  # fmt: skip
_view("expand(Tensor(a) self, int[] size, *, bool implicit=False) -> Tensor(a)", "expand",
      lambda o, g, self, size, implicit: (o.sum_to_size(g, self.shape),),
      "Dimensions of one element repeated without a copy; -1 keeps a size.", ("Tensor.expand",),
      ref=lambda np, x, size: np.broadcast_to(x, size))  # fmt: skip
_view("broadcast_to(Tensor(a) self, int[] size) -> Tensor(a)", "expand",
      lambda o, g, self, size: (o.sum_to_size(g, self.shape),), "expand, by another name.",
      ref=lambda np, x, size: np.broadcast_to(x, size))  # fmt: skip
_view("squeeze(Tensor(a) self) -> Tensor(a)", "squeeze", _reshaped, "Without the dimensions of one element.",
      ref=lambda np, x: np.squeeze(x))  # fmt: skip
_view("squeeze.dims(Tensor(a) self, int[1] dim) -> Tensor(a)", "squeeze_dims", _reshaped,
      "Without those of the named dimensions that have one element.", _both("squeeze"))  # fmt: skip
_view("unsqueeze(Tensor(a) self, int dim) -> Tensor(a)", "unsqueeze", _reshaped,
      "With a dimension of one element more.",
      ref=lambda np, x, dim: np.expand_dims(x, dim))  # fmt: skip
_view("alias(Tensor(a) self) -> Tensor(a)", "alias", lambda o, g, self: (g,), "The same elements.", ())


# ---- parts


_view("select.int(Tensor(a) self, int dim, int index) -> Tensor(a)", "select",
      lambda o, g, self, dim, index: (o.select_backward(g, self.shape, dim, index),),
      "The slice at one position of a dimension.", _both("select"))  # fmt: skip
_view("slice.Tensor(Tensor(a) self, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor(a)", "slice",
      lambda o, g, self, dim, start, end, step: (o.slice_backward(g, self.shape, dim, start, end, step),),
      "Positions start, start + step, ... below end of a dimension.", ())  # fmt: skip
_view("narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)", "narrow",
      lambda o, g, self, dim, start, length: (o.narrow_backward(g, self.shape, dim, start, length),),
      "`length` positions of a dimension from `start` on.")  # fmt: skip


def _narrow_from(o, self, dim, start, length):
    if start.dim() or start.dtype.is_floating_point or start.dtype.is_complex or start.dtype is o.bool:
        raise RuntimeError(f"start must be an 0-dim integral Tensor. [in narrow: start={tuple(start.shape)}]")
    return o.narrow(self, dim, int(start), length)


op(
    "narrow.Tensor(Tensor self, int dim, Tensor start, int length) -> Any",
    names=_both("narrow"),
    body=Composite(_narrow_from),
    doc="`length` positions of a dimension from where a tensor of one integer says.",
)
_view("diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)", "diagonal",
      lambda o, g, self, offset, dim1, dim2: (o.diagonal_backward(g, self.shape, offset, dim1, dim2),),
      "The diagonal of matrices, as the last dimension.",
      ref=lambda np, x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2))  # fmt: skip

# Zeros of the size of the input with g in the place of the part; the gradient of that takes the part again.
for _signature, _native, _grad in (
    ("select_backward(Tensor g, int[] sizes, int dim, int index) -> Tensor", "select_backward",
     lambda o, g, grad, sizes, dim, index: (o.select(g, dim, index),)),
    ("slice_backward(Tensor g, int[] sizes, int dim, int? start, int? end, int step) -> Tensor", "slice_backward",
     lambda o, g, grad, sizes, dim, start, end, step: (o.slice(g, dim, start, end, step),)),
    ("narrow_backward(Tensor g, int[] sizes, int dim, int start, int length) -> Tensor", "narrow_backward",
     lambda o, g, grad, sizes, dim, start, length: (o.narrow(g, dim, start, length),)),
    ("diagonal_backward(Tensor g, int[] sizes, int offset, int dim1, int dim2) -> Tensor", "diagonal_backward",
     lambda o, g, grad, sizes, offset, dim1, dim2: (o.diagonal(g, offset, dim1, dim2),)),
    ("as_strided_backward(Tensor g, Tensor self, int[] size, int[] stride, int? storage_offset) -> Tensor",
     "as_strided_backward",
     lambda o, g, grad, self, size, stride, storage_offset: (o.as_strided(g, size, stride, storage_offset), None)),
):  # fmt: skip
    op(
        _signature,
        names=(),
        dtypes=ANY,
        body=Native(_native),
        grad=_grad,
        doc="The gradient of a view that shows a part.",
    )


def _strided_grad(o, g, self, size, stride, storage_offset):
    return (o.as_strided_backward(g, self, size, stride, storage_offset),)


_view("as_strided(Tensor(a) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a)", "as_strided",
      _strided_grad,
      "Elements of the storage at any strides, counted in elements.")  # fmt: skip


def _unfold_backward(o, g, sizes, dim, size, step):
    """What every position is read for, added up: window by window, in one pass."""
    sizes = list(sizes)
    if not sizes:
        return o.reshape(g, [])
    dim %= len(sizes)
    count = g.shape[dim]
    starts = o.mul(o.arange(count, device=g.device), step)
    places = o.reshape(o.add(o.unsqueeze(starts, 1), o.arange(size, device=g.device)), [count * size])
    windows = o.reshape(o.movedim(g, -1, dim + 1), [*sizes[:dim], count * size, *sizes[dim + 1 :]])
    return o.index_add(o.zeros(sizes, dtype=g.dtype, device=g.device), dim, places, windows)


op(
    "unfold_backward(Tensor g, int[] sizes, int dim, int size, int step) -> Tensor",
    names=(),
    body=Composite(_unfold_backward),
    doc="Overlapping windows of a dimension, added up where they stood.",
)
_view("unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)", "unfold",
      lambda o, g, self, dimension, size, step: (o.unfold_backward(g, self.shape, dimension, size, step),),
      "Windows of `size` positions of a dimension, `step` apart, as a last dimension.", ("Tensor.unfold",))  # fmt: skip

# ---- several views at once


def _list(g) -> list:
    """Gradients of a list of results; that of a list of one stands alone."""
    return list(g) if isinstance(g, tuple | list) else [g]


def _joined(o, g, dim):
    return o.cat(_list(g), dim)


_view("unbind.int(Tensor(a) self, int dim=0) -> Tensor(a)[]", "unbind",
      lambda o, g, self, dim: (o.stack(_list(g), dim),),
      "The slices of a dimension.", _both("unbind"))  # fmt: skip
_view("split.Tensor(Tensor(a) self, int split_size, int dim=0) -> Tensor(a)[]", "split",
      lambda o, g, self, split_size, dim: (_joined(o, g, dim),),
      "Parts of split_size positions; the last may be shorter.",
      _both("split"))  # fmt: skip
_view("split_with_sizes(Tensor(a) self, int[] split_sizes, int dim=0) -> Tensor(a)[]", "split_with_sizes",
      lambda o, g, self, split_sizes, dim: (_joined(o, g, dim),), "Parts of the sizes given.",
      (*_both("split_with_sizes"), *_both("split")))  # fmt: skip


def _chunk(o, self, chunks, dim):
    if self.dim() == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = self.shape[wrap_dim(dim, self.dim())]
    length = -(-size // chunks)
    if length == 0:  # an empty dimension still gives that many parts
        return o.split_with_sizes(self, [0] * chunks, dim)
    return o.split(self, length, dim)


op(
    "chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor(a)[]",
    names=(*_both("chunk"), *_both("unsafe_chunk")),
    body=Composite(_chunk),
    doc="Up to `chunks` parts of equal size (the last may be smaller).",
)
op(
    "unsafe_split(Tensor self, int split_size, int dim=0) -> Tensor[]",
    body=Composite(lambda o, self, split_size, dim: o.split(self, split_size, dim)),
    doc="split, by another name.",
)
op(
    "unsafe_split_with_sizes(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]",
    body=Composite(lambda o, self, split_sizes, dim: o.split_with_sizes(self, split_sizes, dim)),
    doc="split_with_sizes, by another name.",
)


def _cuts(o, self, at, dim):
    """Parts between the positions of a list."""
    size = self.shape[wrap_dim(dim, self.dim())]
    edges = [0, *(max(0, min(size, i + size if i < 0 else i)) for i in at), size]
    return [o.slice(self, dim, a, max(a, b)) for a, b in pairwise(edges)]


def _tensor_split(o, self, sections, dim):
    if self.dim() == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    if sections <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {sections}")
    if sections > 2**31:
        raise RuntimeError(f"cannot create std::vector larger than max_size() [in tensor_split: sections={sections}]")
    size = self.shape[wrap_dim(dim, self.dim())]
    short, long = divmod(size, sections)
    return _cuts(o, self, [i * short + min(i, long) for i in range(1, sections)], dim)


def _tensor_split_at(o, self, indices, dim):
    if self.dim() == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    return _cuts(o, self, indices, dim)


def _tensor_split_by(o, self, at, dim):
    if at.dim() > 1:
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but "
            f"got a tensor with {at.dim()} dims"
        )
    if at.dtype is not o.int64:
        raise RuntimeError(
            f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {at.dtype.title}"
        )
    return o.tensor_split(self, at.tolist(), dim)


op(
    "tensor_split.sections(Tensor(a) self, int sections, int dim=0) -> Tensor(a)[]",
    names=_both("tensor_split"),
    body=Composite(_tensor_split),
    doc="That many parts, the first ones longer by one where it does not divide.",
)
op(
    "tensor_split.indices(Tensor(a) self, int[] indices, int dim=0) -> Tensor(a)[]",
    names=_both("tensor_split"),
    body=Composite(_tensor_split_at),
    doc="The parts between the positions given.",
)
op(
    "tensor_split.tensor_indices_or_sections(Tensor(a) self, Tensor tensor_indices_or_sections, "
    "int dim=0) -> Tensor(a)[]",
    names=_both("tensor_split"),
    body=Composite(_tensor_split_by),
    doc="As tensor_split, by the values of a tensor.",
)


def _split_along(name: str, dim: int, least: int) -> None:
    def check(o, self):
        if self.dim() < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a "
                f"tensor with {self.dim()} dimensions!"
            )
        return 0 if name == "hsplit" and self.dim() == 1 else dim

    def by_sections(o, self, sections):
        at = check(o, self)
        if sections <= 0 or self.shape[at] % sections:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {at}, but the size of the dimension {self.shape[at]} "
                f"is not divisible by the split_size {sections}!"
            )
        return o.tensor_split(self, sections, at)

    for kind, body in (
        ("int sections", by_sections),
        ("int[] indices", lambda o, self, at: o.tensor_split(self, at, check(o, self))),
    ):
        op(
            f"{name}.{kind.split()[1]}(Tensor(a) self, {kind}) -> Tensor(a)[]",
            names=_both(name),
            body=Composite(body),
            doc=f"tensor_split along dimension {dim}.",
        )


_split_along("hsplit", 1, 1)
_split_along("vsplit", 0, 2)
_split_along("dsplit", 2, 3)

# ---- by other views


_view("movedim(Tensor(a) self, int[1] source, int[1] destination) -> Tensor(a)", "movedim",
      lambda o, g, self, source, destination: (o.movedim(g, destination, source),),
      "Dimensions moved to other places; the others keep their order.", (*_both("movedim"), *_both("moveaxis")),
      ref=lambda np, x, source, destination: np.moveaxis(x, source, destination))  # fmt: skip


def _unflatten(o, self, dim, sizes):
    given, dim = dim, wrap_dim(dim, self.dim())
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if not self.dim():
        raise RuntimeError(
            f"unflatten got an unexpected error:\nDimension specified as {given} but tensor has no dimensions"
        )
    have, known = self.shape[dim], 1
    for s in sizes:
        known *= s if s != -1 else 1
    fits = known == have if -1 not in sizes else known > 0 and have % known == 0
    if not fits:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({have}) in the "
            "input tensor"
        )
    return o.view(self, [*self.shape[:dim], *sizes, *self.shape[dim + 1 :]])


op(
    "unflatten(Tensor(a) self, int dim, int[] sizes) -> Tensor(a)",
    body=Composite(_unflatten),
    doc="One dimension as several.",
)
for _signature, _body, _names, _doc in (
    ("view_as(Tensor(a) self, Tensor other) -> Tensor(a)", lambda o, self, other: o.view(self, other.shape),
     ("Tensor.view_as",), "self under the shape of other."),
    ("reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)", lambda o, self, other: o.reshape(self, other.shape),
     ("Tensor.reshape_as",), "self under the shape of other, copied where it must be."),
    ("expand_as(Tensor(a) self, Tensor other) -> Tensor(a)", lambda o, self, other: o.expand(self, other.shape),
     ("Tensor.expand_as",), "self expanded to the size of other."),
    ("ravel(Tensor(a) self) -> Tensor(a)", lambda o, self: o.reshape(self, [-1]), _both("ravel"),
     "All elements in a row."),
    ("mT(Tensor(a) self) -> Tensor(a)", lambda o, self: o.transpose(self, -2, -1), (), "Matrices transposed."),
    ("adjoint(Tensor(a) self) -> Tensor(a)", lambda o, self: o.conj(o.transpose(self, -2, -1)), _both("adjoint"),
     "Matrices transposed and conjugated."),
):  # fmt: skip
    op(_signature, names=_names, body=Composite(_body), doc=_doc)


op(
    "sum_to_size(Tensor self, int[] size) -> Tensor",
    names=("Tensor.sum_to_size",),
    body=Native("sum_to_size"),
    grad=lambda o, g, self, size: (o.expand(g, self.shape),),
    doc="self summed down to a size that expands to its own.",
)


def _broadcast_shapes(o, *shapes):
    return o.Size(broadcast_shape([(s,) if isinstance(s, int) else s for s in shapes]))


def _broadcast_tensors(o, *tensors):
    if len(tensors) == 1 and isinstance(tensors[0], tuple | list):
        tensors = tensors[0]
    check_tensors(tensors)
    shape = broadcast_shape([t.shape for t in tensors])
    return tuple(t if tuple(t.shape) == shape else o.expand(t, shape) for t in tensors)


def broadcast_shape(shapes) -> tuple[int, ...]:
    """The shape that all shapes broadcast to."""
    result: list[int] = []
    for shape in shapes:
        shape = list(shape)
        n = max(len(result), len(shape))
        a, b = [1] * (n - len(result)) + result, [1] * (n - len(shape)) + shape
        for d in reversed(range(n)):  # the last dimension that does not fit is named
            x, y = a[d], b[d]
            if x != y and 1 not in (x, y):
                raise RuntimeError(
                    f"The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {d}"
                )
        result = [y if x == 1 else x for x, y in zip(a, b, strict=True)]
    return tuple(result)


op(
    "broadcast_tensors(Any tensors) -> Any",
    names=("broadcast_tensors",),
    body=Composite(_broadcast_tensors, raw=True),
    doc="Tensors expanded to the one size that they broadcast to.",
)
op(
    "broadcast_shapes(Any shapes) -> Any",
    names=("broadcast_shapes",),
    body=Composite(_broadcast_shapes, raw=True),
    doc="The size that sizes broadcast to.",
)

# ---- self becomes the view


def _in_place(signature: str, native: str, grad) -> None:
    name = signature.split("(")[0]
    op(signature, names=(f"Tensor.{name}",), dtypes=ANY, body=Native(native), grad=grad,
       doc=f"`{name[:-1]}`, of which self becomes the view.")  # fmt: skip


for _name in ("transpose_", "swapaxes_", "swapdims_"):
    _in_place(f"{_name}(Tensor(a!) self, int dim0, int dim1) -> Tensor(a!)", "transpose_",
              lambda o, g, self, dim0, dim1: (o.transpose(g, dim0, dim1),))  # fmt: skip
_in_place("t_(Tensor(a!) self) -> Tensor(a!)", "t_", lambda o, g, self: (o.t(g),))
_in_place("squeeze_(Tensor(a!) self) -> Tensor(a!)", "squeeze_", _reshaped)
op("squeeze_.dims(Tensor(a!) self, int[1] dim) -> Tensor(a!)", names=("Tensor.squeeze_",), dtypes=ANY,
   body=Native("squeeze_dims_"), grad=_reshaped, doc="`squeeze`, of which self becomes the view.")  # fmt: skip
_in_place("unsqueeze_(Tensor(a!) self, int dim) -> Tensor(a!)", "unsqueeze_", _reshaped)
_in_place("as_strided_(Tensor(a!) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a!)",
          "as_strided_", _strided_grad)  # fmt: skip

# ---- complex numbers

_view("view_as_real(Tensor(a) self) -> Tensor(a)", "view_as_real",
      lambda o, g, self: (o.view_as_complex(o.contiguous(g)),),
      "Complex numbers as pairs: a last dimension of real and imaginary part.", ("view_as_real",))  # fmt: skip
_view("view_as_complex(Tensor(a) self) -> Tensor(a)", "view_as_complex", lambda o, g, self: (o.view_as_real(g),),
      "Pairs of the last dimension as complex numbers.", ("view_as_complex",))  # fmt: skip


def _real(o, self):
    return o.select(o.view_as_real(self), -1, 0) if self.dtype.is_complex else self


def _imag(o, self):
    if not self.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return o.select(o.view_as_real(self), -1, 1)


def _conj(o, self):
    return o.conj_physical(self) if self.dtype.is_complex else self


op("real(Tensor(a) self) -> Tensor(a)", names=("real",), body=Composite(_real), doc="The real parts: a view.")
op("imag(Tensor(a) self) -> Tensor(a)", names=("imag",), body=Composite(_imag), doc="The imaginary parts: a view.")
op(
    "conj(Tensor self) -> Tensor",
    body=Composite(_conj),
    doc="The conjugates of complex numbers; real tensors as they are.",
)
for _name, _doc in (
    ("resolve_conj", "self: conjugates are never lazy here."),
    ("resolve_neg", "self: signs are never lazy here."),
):
    op(f"{_name}(Tensor(a) self) -> Tensor(a)", body=Composite(lambda o, self: self), doc=_doc)
