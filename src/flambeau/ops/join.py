"""Joining, repeating and rearranging tensors: composites over views and copies, with the gradient of cat by hand."""

from .launch import wrap_dim
from .table import ANY, Composite, Native, op


def _promoted(o, tensors):
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        if t.dtype is not dtype:
            dtype = o.result_type(o.empty((1,), dtype=dtype), o.empty((1,), dtype=t.dtype))
    return dtype


def _cat(o, tensors, dim=0):
    tensors = list(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors [in cat]")
    for i, t in enumerate(tensors):
        if t.dim() == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    shaped = [t for t in tensors if tuple(t.shape) != (0,)]
    first = shaped[0] if shaped else tensors[0]
    dim = wrap_dim(dim, first.dim())
    for i, t in enumerate(tensors):
        if tuple(t.shape) == (0,):
            continue
        if t.dim() != first.dim():
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.dim()} and {t.dim()}")
        for d in range(first.dim()):
            if d != dim and t.shape[d] != first.shape[d]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {first.shape[d]} but got size "
                    f"{t.shape[d]} for tensor number {i} in the list. [in cat: {[tuple(x.shape) for x in tensors]}]"
                )
    return o.cat_parts(shaped or tensors[:1], dim, _promoted(o, tensors))


def _cat_grad(o, g, tensors, dim, dtype):
    parts, start = [], 0
    for t in tensors:
        parts.append(o.narrow(g, dim, start, t.shape[dim]).to(t.dtype))
        start = start + t.shape[dim]
    return (parts,)


op(
    "cat_parts(Tensor[] tensors, int dim, ScalarType dtype) -> Tensor",
    names=(),
    dtypes=ANY,
    body=Native("cat_parts"),
    grad=_cat_grad,
    doc="The copying part of cat: shapes were checked.",
)
op(
    ["cat(Tensor[] tensors, int dim=0) -> Tensor"],
    names=("cat", "concat", "concatenate"),
    body=Composite(_cat),
    ref=lambda np, xs, dim=0: np.concatenate(xs, axis=dim),
    doc="Tensors one after the other along a dimension.",
)


def _stack(o, tensors, dim=0):
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]
    for i, t in enumerate(tensors):
        if t.shape != first.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first.shape)} at entry 0 and {list(t.shape)} "
                f"at entry {i}"
            )
    dim = wrap_dim(dim, first.dim() + 1)
    return _cat(o, [t.unsqueeze(dim) for t in tensors], dim)


op(
    "stack(Tensor[] tensors, int dim=0) -> Tensor",
    names=("stack",),
    body=Composite(_stack),
    ref=lambda np, xs, dim=0: np.stack(xs, axis=dim),
    doc="Tensors of one shape along a new dimension.",
)


def _stack_along(name, least, dim, lift):
    def body(o, tensors):
        tensors = [lift(o, t) for t in tensors]
        if not tensors:
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        return _cat(o, tensors, dim if tensors[0].dim() > 1 or name != "hstack" else 0)

    return body


for _name, _dim, _lift in (
    ("hstack", 1, lambda o, t: o.atleast_1d(t)),
    ("vstack", 0, lambda o, t: o.atleast_2d(t)),
    ("dstack", 2, lambda o, t: o.atleast_3d(t)),
):
    op(
        f"{_name}(Tensor[] tensors) -> Tensor",
        names=(_name, "row_stack") if _name == "vstack" else (_name,),
        body=Composite(_stack_along(_name, 1, _dim, _lift)),
        doc=f"Tensors joined along dimension {_dim}, as numpy.{_name} does.",
    )


def _atleast(n):
    def body(o, self):
        if self.dim() >= n:
            return self
        if self.dim() == 0:
            return self.reshape((1,) * n)
        if n == 2:
            return self.unsqueeze(0)
        return self.unsqueeze(0).unsqueeze(-1) if self.dim() == 1 else self.unsqueeze(-1)

    return body


for _n in (1, 2, 3):
    op(
        f"atleast_{_n}d(Tensor self) -> Tensor",
        names=(f"atleast_{_n}d",),
        body=Composite(_atleast(_n)),
        doc=f"self with at least {_n} dimensions.",
    )


def _repeat(o, self, repeats):
    repeats = tuple(repeats)
    if len(repeats) < self.dim():
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    sizes = (1,) * (len(repeats) - self.dim()) + tuple(self.shape)
    x, shape = self.reshape(sizes), []
    for d in reversed(range(len(sizes))):
        x = x.unsqueeze(d)
    for r, s in zip(repeats, sizes, strict=True):
        shape += [r, s]
    return x.expand(shape).reshape([r * s for r, s in zip(repeats, sizes, strict=True)]).clone()


op(
    "repeat(Tensor self, int[] repeats) -> Tensor",
    names=("Tensor.repeat",),
    body=Composite(_repeat),
    doc="Copies of self side by side, repeats[d] of them along each dimension.",
)


def _tile(o, self, dims):
    dims = tuple(dims)
    return _repeat(o, self, (1,) * (self.dim() - len(dims)) + dims)


op(
    "tile(Tensor self, int[] dims) -> Tensor",
    body=Composite(_tile),
    ref=lambda np, x, dims: np.tile(x, dims),
    doc="repeat, with missing repeats taken as 1.",
)


def _repeat_interleave(o, self, repeats, dim=None, *, output_size=None):
    if dim is None:
        self, dim = self.reshape(-1), 0
    dim = wrap_dim(dim, self.dim())
    n = self.shape[dim]
    if isinstance(repeats, int):
        index = o.arange(n).unsqueeze(1).expand(n, repeats).reshape(-1)
    else:
        if repeats.dim() > 1 or (repeats.numel() != n and repeats.numel() != 1):
            raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                               f"{repeats.numel()} and input.size({dim}) = {n}")  # fmt: skip
        counts = repeats.expand(n).tolist()
        if counts and min(counts) < 0:
            raise RuntimeError("repeats can not be negative")
        index = o.tensor([i for i, c in enumerate(counts) for _ in range(c)], dtype=o.int64)
    return o.index_select(self, dim, index)


op(
    ["repeat_interleave.self_int(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor",
     "repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor"],
    names=("repeat_interleave", "Tensor.repeat_interleave"),
    body=Composite(_repeat_interleave),
    ref=lambda np, x, repeats, dim=None: np.repeat(x, repeats, axis=dim),
    doc="Each element (or slice) of self repeated.",
)  # fmt: skip


def _roll(o, self, shifts, dims=()):
    shifts, dims = list(shifts), list(dims)
    if not dims:
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return _roll(o, self.reshape(-1), shifts, [0]).view(self.shape)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    for shift, d in zip(shifts, dims, strict=True):
        d = wrap_dim(d, self.dim())
        n = self.shape[d]
        k = shift % n if n else 0
        if k:
            self = _cat(o, [self.narrow(d, n - k, k), self.narrow(d, 0, n - k)], d)
    return self.clone()


op(
    "roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor",
    body=Composite(_roll),
    ref=lambda np, x, shifts, dims=None: np.roll(x, shifts, dims),
    doc="Elements moved along dimensions; what leaves at the end comes back at the start.",
)


def _pad(o, input, pad, mode="constant", value=None):
    pad = list(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length {len(pad)} and input of dimension {input.dim()}"
        )
    if mode == "constant":
        return _pad_constant(o, input, pad, 0 if value is None else value)
    if value is not None:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    for i in range(len(pad) // 2):
        d = input.dim() - 1 - i
        input = _pad_edge(o, input, d, pad[2 * i], pad[2 * i + 1], mode)
    return input


def _pad_constant(o, input, pad, value):
    shape, inside = list(input.shape), input
    narrow = []
    for i in range(len(pad) // 2):
        d, (before, after) = input.dim() - 1 - i, pad[2 * i : 2 * i + 2]
        if before < 0 or after < 0:
            start, end = max(0, -before), inside.shape[d] - max(0, -after)
            if end < start:
                raise RuntimeError(
                    f"The input size {input.shape[d]}, plus negative padding {before} and {after} resulted in a negative output size, which is invalid. Check dimension {d} of your input."
                )
            inside = inside.narrow(d, start, end - start)
        shape[d] = input.shape[d] + before + after
        narrow.append((d, max(0, before), inside.shape[d]))
    out = o.full(shape, value, dtype=input.dtype, device=input.device)
    view = out
    for d, start, length in narrow:
        view = view.narrow(d, start, length)
    view.copy_(inside)
    return out


def _pad_edge(o, x, d, before, after, mode):
    n = x.shape[d]
    if mode == "reflect" and max(before, after) >= n:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({before}, {after}) at dimension {d} of input {list(x.shape)}"
        )
    if mode == "circular" and max(before, after) > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    index = []
    for i in range(-before, n + after):
        if mode == "replicate":
            i = min(max(i, 0), n - 1)
        elif mode == "circular":
            i = i % n
        else:
            i = -i if i < 0 else 2 * (n - 1) - i if i >= n else i
        index.append(i)
    return o.index_select(x, d, o.tensor(index, dtype=o.int64))


op(
    "pad(Tensor input, int[] pad, str mode='constant', float? value=None) -> Tensor",
    names=("nn.functional.pad",),
    body=Composite(_pad),
    doc="Adds elements around the last dimensions: a constant, a reflection, the edge, or the other end.",
)


def _triangle(upper):
    def body(o, self, diagonal=0):
        if self.dim() < 2:
            raise RuntimeError(f"{'triu' if upper else 'tril'}: input tensor must have at least 2 dimensions")
        rows = o.arange(self.shape[-2], device=self.device).unsqueeze(1)
        columns = o.arange(self.shape[-1], device=self.device)
        keep = columns - rows >= diagonal if upper else columns - rows <= diagonal
        return o.where(keep, self, o.zeros((), dtype=self.dtype))

    return body


for _name, _upper in (("triu", True), ("tril", False)):
    op(
        f"{_name}(Tensor self, int diagonal=0) -> Tensor",
        body=Composite(_triangle(_upper)),
        inplace=True,
        ref=(lambda f: lambda np, x, diagonal=0: getattr(np, f)(x, diagonal))(_name),
        doc=f"The {'upper' if _upper else 'lower'} triangle of matrices, the rest zero.",
    )


def _one_hot(o, self, num_classes=-1):
    if self.dtype is not o.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if self.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    low, high = (int(self.min()), int(self.max())) if self.numel() else (0, -1)
    if low < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif high >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (self.unsqueeze(-1) == o.arange(num_classes)).to(o.int64)


op(
    "one_hot(Tensor self, int num_classes=-1) -> Tensor",
    names=("nn.functional.one_hot",),
    body=Composite(_one_hot),
    doc="For each class number a row with 1 at its place and 0 elsewhere.",
)


def _meshgrid(o, *tensors, indexing=None):
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    flat = [t.reshape(-1) for t in tensors]
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(flat) >= 2
    if swap:
        flat[0], flat[1] = flat[1], flat[0]
    sizes = [t.numel() for t in flat]
    grids = [t.view([-1 if d == i else 1 for d in range(len(flat))]).expand(sizes) for i, t in enumerate(flat)]
    if swap:
        grids = [g.transpose(0, 1) for g in grids]
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


op(
    "meshgrid(Any tensors, *, str? indexing=None) -> Any",
    names=("meshgrid",),
    body=Composite(_meshgrid, raw=True),
    doc="Coordinates of a grid, one tensor a dimension. Views.",
)
