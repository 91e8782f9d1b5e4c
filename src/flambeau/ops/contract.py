"""Matrix products and convolutions: native contractions, their gradients written as contractions."""

from .launch import expands, number_as
from .table import COMPLEX, NUMERIC, REAL, Composite, Native, op

_NUMBERS = REAL + COMPLEX

# ---- matrix products


def _matmul_grad(o, g, self, other):
    """Both operands as matrices; what was broadcast is summed."""
    a = o.unsqueeze(self, 0) if self.ndim == 1 else self
    b = o.unsqueeze(other, 1) if other.ndim == 1 else other
    if self.ndim == 1:
        g = o.unsqueeze(g, -1 if other.ndim == 1 else -2)
    if other.ndim == 1:
        g = o.unsqueeze(g, -1)
    ga = gb = None
    if o.needs[0]:
        ga = o.sum_to_size(o.matmul(g, o.transpose(o.conj(b), -2, -1)), a.shape)
        ga = o.squeeze(ga, 0) if self.ndim == 1 else ga
    if o.needs[1]:
        if other.ndim in (1, 2) and self.ndim > 2:
            gb = o.transpose(o.linear_weight_grad(g, o.conj(a)), 0, 1)
        else:
            gb = o.sum_to_size(o.matmul(o.transpose(o.conj(a), -2, -1), g), b.shape)
        gb = o.squeeze(gb, 1) if other.ndim == 1 else gb
    return ga, gb


op(
    "matmul(Tensor self, Tensor other) -> Tensor",
    names=("matmul", "Tensor.matmul", "linalg.matmul"),
    dtypes=_NUMBERS,
    body=Native("matmul"),
    grad=_matmul_grad,
    ref=lambda np, a, b: np.matmul(a, b),
    samples="matmul",
    doc="""Matrix product of tensors of any dimensions.

    The last two dimensions are matrices, the others are batch dimensions and broadcast; a 1-d operand is a row on the
    left and a column on the right. float32 and float64 run on generated kernels; sums are in a fixed order.""",
)


def _mm_grad(o, g, self, mat2):
    return (
        o.mm(g, o.transpose(o.conj(mat2), 0, 1)) if o.needs[0] else None,
        o.mm(o.transpose(o.conj(self), 0, 1), g) if o.needs[1] else None,
    )


op(
    "mm(Tensor self, Tensor mat2) -> Tensor",
    dtypes=_NUMBERS,
    body=Native("mm"),
    grad=_mm_grad,
    ref=lambda np, a, b: a @ b,
    samples="mm",
    doc="Product of two matrices.",
)


def _bmm_grad(o, g, self, mat2):
    return (
        o.bmm(g, o.transpose(o.conj(mat2), 1, 2)) if o.needs[0] else None,
        o.bmm(o.transpose(o.conj(self), 1, 2), g) if o.needs[1] else None,
    )


op(
    "bmm(Tensor self, Tensor mat2) -> Tensor",
    dtypes=_NUMBERS,
    body=Native("bmm"),
    grad=_bmm_grad,
    ref=lambda np, a, b: a @ b,
    samples="bmm",
    doc="Products of matrices, one for each element of the first dimension.",
)
op(
    "mv(Tensor self, Tensor vec) -> Tensor",
    dtypes=_NUMBERS,
    body=Native("mv"),
    grad=lambda o, g, self, vec: (
        o.mul(o.unsqueeze(g, 1), o.unsqueeze(o.conj(vec), 0)), o.matmul(o.transpose(o.conj(self), 0, 1), g),
    ),
    ref=lambda np, a, b: a @ b,
    samples="mv",
    doc="Product of a matrix and a vector.",
)  # fmt: skip
op(
    "dot(Tensor self, Tensor tensor) -> Tensor",
    dtypes=_NUMBERS,
    body=Native("dot"),
    grad=lambda o, g, self, tensor: (o.mul(g, o.conj(tensor)), o.mul(g, o.conj(self))),
    ref=lambda np, a, b: np.dot(a, b),
    samples="dot",
    doc="Sum of products of two vectors.",
)


def _linear_bias_grad(o, g, bias):
    """Beside a vector, the bias may be one row."""
    return o.unsqueeze(g, 0) if bias.ndim > g.ndim else g


def _linear_grad(o, g, input, weight, bias):
    if weight.ndim == 1:
        return (
            o.unsqueeze(g, -1) * o.conj(weight) if o.needs[0] else None,
            o.squeeze(o.linear_weight_grad(o.unsqueeze(g, -1), o.conj(input)), 0) if o.needs[1] else None,
            g if o.needs[2] else None,
        )
    return (
        o.matmul(g, o.conj(weight)) if o.needs[0] else None,
        o.linear_weight_grad(g, o.conj(input)) if o.needs[1] else None,
        _linear_bias_grad(o, g, bias) if o.needs[2] else None,  # summed to the bias by whoever takes it, so that nobody keeps that
    )


op(
    "linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
    names=("nn.functional.linear",),
    dtypes=_NUMBERS,
    body=Native("linear"),
    grad=_linear_grad,
    ref=lambda np, x, w, b=None: x @ w.T + (0 if b is None else b),
    samples="linear",
    doc="input @ weight.T + bias over the last dimension of input; the bias is added as the product is stored.",
)
op(
    "linear_weight_grad(Tensor grad, Tensor input) -> Tensor",
    names=(),
    body=Native("linear_weight_grad"),
    grad=lambda o, g, grad, input: (
        o.matmul(o.conj(input), o.transpose(g, 0, 1)) if o.needs[0] else None,
        o.matmul(o.conj(grad), g) if o.needs[1] else None,
    ),
    doc="Sum over all leading dimensions of the outer products of grad and input.",
)


op(
    "matmul_add(Tensor self, Tensor a, Tensor b) -> Tensor",
    names=(),
    dtypes=_NUMBERS,
    body=Native("matmul_add"),
    grad=lambda o, g, self, a, b: (
        o.sum_to_size(g, self.shape) if o.needs[0] else None,
        o.matmul(g, o.transpose(o.conj(b), -2, -1)) if o.needs[1] else None,
        o.matmul(o.transpose(o.conj(a), -2, -1), g) if o.needs[2] else None,
    ),
    doc="self + a @ b of matrices, or of as many matrices each: the sum is made as the product is stored.",
)


def _scaled_sum(o, self, product, beta, alpha):
    """beta * self + alpha * product; self is not read where beta is 0. The dtype stays: integers take whole factors."""
    if alpha == beta == 1 and self.dtype is product.dtype:
        return o.add(product, self)
    if not product.dtype.is_complex:
        kind = float if product.dtype.is_floating_point else int
        beta, alpha = (number_as(product.dtype, v) if isinstance(v, complex) else kind(v) for v in (beta, alpha))
    if alpha != 1:
        product = product * alpha
    return product if beta == 0 else o.add(product, self, alpha=beta)


def _check_expands(self, sizes, name):
    if self.shape != sizes and not expands(self.shape, sizes):
        ends = range(-1, -len(sizes) - 1, -1)
        d = next((d for d in ends if -d <= self.dim() and self.shape[d] not in (1, sizes[d])), -1)
        raise RuntimeError(
            f"The expanded size of the tensor ({sizes[d]}) must match the existing size ({self.shape[d]}) at "
            f"non-singleton dimension {len(sizes) + d}.  Target sizes: {list(sizes)}.  Tensor sizes: "
            f"{list(self.shape)} [in {name}]"
        )


def _starts_with(o, self, a, b, dims):
    """Whether the product of matrices can begin with self instead of zeros; nothing is wrong with the operands then."""
    left, right, dtype = a.shape, b.shape, self.dtype
    if not (len(left) == len(right) == dims and dtype is a.dtype and dtype is b.dtype and dtype is not o.bool):
        return False
    sizes = (*left[:-1], right[-1])
    return (
        left[-1] == right[-2]
        and left[:-2] == right[:-2]
        and self.device == a.device == b.device
        and (self.shape == sizes or expands(self.shape, sizes))
    )


def _check_operands(name, self, a, b) -> None:
    """Raises where PyTorch has sentences of its own, and not those of the product."""
    if name == "addmv" and not (a.dim() == 2 and b.dim() == 1 and self.dim() <= 1):
        raise RuntimeError(f"vector + matrix @ vector expected, got {self.dim()}, {a.dim()}, {b.dim()}")
    if name == "addmv" and (a.shape[1] != b.shape[0] or self.numel() not in (1, a.shape[0])):
        raise RuntimeError(
            f"size mismatch, got input ({self.numel()}), mat ({a.shape[0]}x{a.shape[1]}), vec ({b.shape[0]})"
        )
    if name in ("baddbmm", "addbmm") and a.dim() == b.dim() == 3:
        _check_expands(self, (*a.shape[:2], b.shape[2])[name == "addbmm" :], name)


def _bias_form(name, multiply):
    dims = {"addmm": 2, "baddbmm": 3}.get(name)

    def body(o, self, a, b, *, beta=1, alpha=1):
        if alpha == beta == 1 and dims and _starts_with(o, self, a, b, dims):
            return o.matmul_add(self, a, b)
        if name == "addmm" and not self.dtype == a.dtype == b.dtype:
            first = ("self", self) if self.dtype is not b.dtype else ("mat1", a)
            raise RuntimeError(
                f"{first[0]} and mat2 must have the same dtype, but got {first[1].dtype.title} and {b.dtype.title} "
                f"[in addmm: self={self.dtype}, mat1={a.dtype}, mat2={b.dtype}]. Convert one with .to(dtype)."
            )
        _check_operands(name, self, a, b)
        product = multiply(o, a, b)
        if name not in ("baddbmm", "addbmm"):  # those are checked before
            _check_expands(self, product.shape, name)
        return _scaled_sum(o, self, product, beta, alpha)

    return body


def _addr(o, self, vec1, vec2, *, beta=1, alpha=1):
    for name, vector in (("vec1", vec1), ("vec2", vec2)):
        if vector.dim() != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {vector.dim()}-D")
    dtype = o.promote_types(self.dtype, o.promote_types(vec1.dtype, vec2.dtype))
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if isinstance(factor, bool) and dtype is not o.bool:
            raise RuntimeError(f"Boolean {name} only supported for Boolean results.")
        if not isinstance(factor, int) and not (dtype.is_floating_point or dtype.is_complex):
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a floating point number.")
    if dtype is not o.bool:
        return _bias_form("addr", lambda o, a, b: o.outer(a, b).to(dtype))(o, self, vec1, vec2, beta=beta, alpha=alpha)
    both = o.outer(vec1, vec2) if alpha else o.zeros_like(o.outer(vec1, vec2))
    _check_expands(self, both.shape, "addr")
    return o.logical_or(both, self) if beta else both


def _addbmm_in_place(o, self, batch1, batch2, *, beta=1, alpha=1):
    """self takes the size of the sum, as where it is `out=`."""
    result = o.addbmm(self, batch1, batch2, beta=beta, alpha=alpha)
    if self.shape != result.shape:
        self.resize_(result.shape)
    return o.copy_(self, result)


for _name, _args, _multiply, _what in (
    ("addmm", "Tensor mat1, Tensor mat2", lambda o, a, b: o.mm(a, b), "mat1 @ mat2"),
    ("addmv", "Tensor mat, Tensor vec", lambda o, a, b: o.mv(a, b), "mat @ vec"),
    ("baddbmm", "Tensor batch1, Tensor batch2", lambda o, a, b: o.bmm(a, b), "batch1 @ batch2"),
    ("addbmm", "Tensor batch1, Tensor batch2", lambda o, a, b: o.sum(o.bmm(a, b), 0, dtype=a.dtype), "the sum of batch1 @ batch2"),
):
    op(
        f"{_name}(Tensor self, {_args}, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
        dtypes=NUMERIC,
        body=Composite(_bias_form(_name, _multiply)),
        inplace=_name != "addbmm",
        doc=f"beta * self + alpha * ({_what}).",
    )
op(
    "addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    dtypes=NUMERIC,
    body=Composite(_addr),
    inplace=True,
    doc="beta * self + alpha * (the outer product of vec1 and vec2); of bools, `and` for * and `or` for +.",
)
op(
    "addbmm_(Tensor(a!) self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor(a!)",
    names=("Tensor.addbmm_",),
    body=Composite(_addbmm_in_place),
    doc="addbmm, written to self.",
)


def _outer(o, self, vec2):
    for name, t in (("self", self), ("vec2", vec2)):
        if t.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.dim()}-D")
    return self.unsqueeze(1) * vec2


op(
    "outer(Tensor self, Tensor vec2) -> Tensor",
    body=Composite(_outer),
    ref=lambda np, a, b: np.outer(a, b),
    doc="All products of two vectors' elements.",
)
op("ger(Tensor self, Tensor vec2) -> Tensor", body=Composite(_outer), doc="Another name of outer.")


def _bilinear(o, input1, input2, weight, bias=None):
    if input1.dim() != input2.dim():
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}")
    for d, (mine, theirs) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
        if mine != theirs:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {d}: got {mine} and {theirs}")
    sizes = (input1.size(-1), input2.size(-1), weight.size(0) if bias is None else bias.size(0))
    wanted = (weight.size(1), weight.size(2), weight.size(0))
    for what, got, want in zip(("input1", "input2", "bias"), sizes, wanted, strict=True):
        if got != want:
            raise RuntimeError(f"bilinear(): {what} size does not match weight size: got {got} but expected {want}")
    lead = input1.shape[:-1]
    a, b = input1.reshape(-1, input1.shape[-1]), input2.reshape(-1, input2.shape[-1])
    left = o.matmul(a, weight.permute(1, 0, 2).reshape(weight.shape[1], -1))
    out = (left.view(a.shape[0], weight.shape[0], weight.shape[2]) * b.unsqueeze(1)).sum(-1, dtype=a.dtype)
    out = out.view(*lead, weight.shape[0])
    return out if bias is None else out + bias


op(
    "bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor",
    names=("bilinear", "nn.functional.bilinear"),
    body=Composite(_bilinear),
    doc="input1 @ weight[k] @ input2 for each k, plus bias.",
)

# ---- convolutions

_WINDOW = "int[{n}] stride=1, int[{n}] padding=0, int[{n}] dilation=1, int groups=1"
_WINDOW_ARGS = "int[] stride, int[] padding, int[] dilation, int groups"


def _bias_grad(o, g, n):
    spatial = tuple(range(g.ndim - n, g.ndim))
    return o.sum(g, (0, *spatial) if g.ndim == n + 2 else spatial)


def _conv_grad(n):
    def grad(o, g, input, weight, bias, stride, padding, dilation, groups):
        window = (stride, padding, dilation, groups)
        return (
            o.conv_input_grad(g, o.conj(weight), input.shape, *window) if o.needs[0] else None,
            o.conv_weight_grad(g, o.conj(input), weight.shape, *window) if o.needs[1] else None,
            _bias_grad(o, g, n) if o.needs[2] else None,
        )

    return grad


def _same_padding(n):
    def body(o, input, weight, bias=None, stride=1, padding="valid", dilation=1, groups=1):
        stride = tuple(stride) * n if len(stride) == 1 else tuple(stride)
        dilation = tuple(dilation) * n if len(dilation) == 1 else tuple(dilation)
        conv = getattr(o, f"conv{n}d")
        if padding == "valid":
            return conv(input, weight, bias, stride, (0,) * n, dilation, groups)
        if padding != "same":
            raise RuntimeError(f"Invalid padding string: '{padding}'. Valid values are 'valid' and 'same'.")
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        odd = [p % 2 for p in total]
        if any(odd):
            around = [v for p in reversed(odd) for v in (0, p)]
            input = o.pad(input, around)
        return conv(input, weight, bias, stride, tuple(p // 2 for p in total), dilation, groups)

    return body


for _n in (1, 2, 3):
    op(
        f"conv{_n}d(Tensor input, Tensor weight, Tensor? bias=None, {_WINDOW.format(n=_n)}) -> Tensor",
        names=(f"conv{_n}d", f"nn.functional.conv{_n}d"),
        body=Native(f"conv{_n}d"),
        grad=_conv_grad(_n),
        doc=f"""Cross-correlation of a {_n}-d input with a weight of shape (out, in / groups, ...), plus bias.

    The input has a batch dimension or not; the result has the input's memory format.""",
    )
    op(
        f"conv{_n}d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[{_n}] stride=1, str padding='valid', "
        f"int[{_n}] dilation=1, int groups=1) -> Tensor",
        names=(f"conv{_n}d", f"nn.functional.conv{_n}d"),
        body=Composite(_same_padding(_n)),
        doc="The same with padding 'valid' (none) or 'same' (the result is as large as the input).",
    )


def _transposed_grad(n):
    def grad(o, g, input, weight, bias, stride, padding, output_padding, groups, dilation):
        window = (stride, padding, dilation, groups)
        to_input, x = None, o.conj(input)
        if o.needs[0]:
            to_input = getattr(o, f"conv{n}d")(g, o.conj(weight), None, *window)
        spread = [list(v) * (n if len(v) == 1 else 1) for v in (output_padding, stride)]
        for d, extra, step in zip(range(input.ndim - n, input.ndim), *spread, strict=True):
            if extra >= step:  # the padding makes room for windows that the input does not have
                to_input = o.narrow(to_input, d, 0, input.shape[d]) if o.needs[0] else None
                sizes = [x.shape[k] + (extra // step if k == d else 0) for k in range(input.ndim)]
                x = o.narrow_backward(x, sizes, d, 0, input.shape[d])
        return (
            to_input,
            o.conv_weight_grad(x, g, weight.shape, *window) if o.needs[1] else None,
            _bias_grad(o, g, n) if o.needs[2] else None,
        )

    return grad


for _n in (1, 2, 3):
    op(
        f"conv_transpose{_n}d(Tensor input, Tensor weight, Tensor? bias=None, int[{_n}] stride=1, int[{_n}] padding=0, "
        f"int[{_n}] output_padding=0, int groups=1, int[{_n}] dilation=1) -> Tensor",
        names=(f"conv_transpose{_n}d", f"nn.functional.conv_transpose{_n}d"),
        body=Native(f"conv_transpose{_n}d"),
        grad=_transposed_grad(_n),
        doc=f"The gradient of conv{_n}d with respect to its input, as an operator; weight has shape (in, out / groups, ...).",
    )


def _input_grad_grad(o, g, grad, weight, size, stride, padding, dilation, groups):
    conv = getattr(o, f"conv{weight.ndim - 2}d")
    window = (stride, padding, dilation, groups)
    return (
        conv(g, o.conj(weight), None, *window) if o.needs[0] else None,
        o.conv_weight_grad(o.conj(grad), g, weight.shape, *window) if o.needs[1] else None,
    )


def _weight_grad_grad(o, g, grad, input, size, stride, padding, dilation, groups):
    conv = getattr(o, f"conv{g.ndim - 2}d")
    window = (stride, padding, dilation, groups)
    return (
        conv(o.conj(input), g, None, *window) if o.needs[0] else None,
        o.conv_input_grad(o.conj(grad), g, input.shape, *window) if o.needs[1] else None,
    )


op(
    f"conv_input_grad(Tensor grad, Tensor weight, int[] size, {_WINDOW_ARGS}) -> Tensor",
    names=(),
    body=Native("conv_input_grad"),
    grad=_input_grad_grad,
    doc="Gradient of a convolution with respect to its input of the given size.",
)
op(
    f"conv_weight_grad(Tensor grad, Tensor input, int[] size, {_WINDOW_ARGS}) -> Tensor",
    names=(),
    body=Native("conv_weight_grad"),
    grad=_weight_grad_grad,
    doc="Gradient of a convolution with respect to its weight of the given size.",
)
