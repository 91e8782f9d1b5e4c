"""`masked`: reductions, running totals and normalisations that leave out the elements a mask calls False.

An element left out counts as the neutral element of the operation, so whole rows without elements give 0 for a sum,
minus infinity for a maximum, and nan for a mean. The mask broadcasts to the input.
"""

from .gather import neutral
from .launch import wrap_dim
from .table import Composite, op

_DOC = """

Args:
    mask: which elements count: bools that broadcast to the input; all of them where it is left out.
    dtype: of the result; what is computed is converted first."""


def _dims(dim, ndim: int) -> list[int]:
    """Dimensions counted from the front, in order; all of them for None and ()."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return list(range(ndim))
    dims: list[int] = []
    for d in [dim] if isinstance(dim, int) else dim:
        if d in dims:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        dims.append(wrap_dim(d, ndim))
    return sorted(dims) if ndim else []


def _mask_of(o, input, mask):
    """The mask in the input's size."""
    if mask is None:
        return None
    if mask.dim() > input.dim():
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input) "
            f"[mask={tuple(mask.shape)}, input={tuple(input.shape)}]"
        )
    return mask.to(o.bool).expand(input.shape)


def _filled(o, input, mask, value):
    """The input with a number where the mask is False."""
    mask = _mask_of(o, input, mask)
    if mask is None:
        return input
    return o.where(mask, input, o.full((), value, dtype=input.dtype, device=input.device))


def _as(input, dtype):
    return input if dtype is None else input.to(dtype)


def _least(o, name: str, input, greatest: bool):
    """What never wins a maximum (a minimum, with `greatest`)."""
    if input.dtype is o.bool or input.dtype.is_complex:
        raise NotImplementedError(f"identity of {name} on {input.dtype} input")
    return neutral(input.dtype, "amin" if greatest else "amax")


_SMALL = ("b1", "u8", "i8", "i16", "i32")


def _total(name: str, start: int):
    def body(o, input, dim, *, keepdim=False, dtype=None, mask=None):
        if dtype is None and input.dtype.code in _SMALL:
            dtype = o.int64
        dims = _dims(dim, input.dim())
        x = _filled(o, _as(input, dtype), mask, start)
        if name == "sum":
            return o.sum(x, dims, keepdim, dtype=x.dtype) if dims or not input.dim() else x
        for d in reversed(dims):
            x = o.prod(x, d, keepdim, dtype=x.dtype)
        return x

    return body


def _extreme(name: str):
    def body(o, input, dim, *, keepdim=False, dtype=None, mask=None):
        x = _as(input, dtype)
        dims = _dims(dim, input.dim())
        return getattr(o, name)(_filled(o, x, mask, _least(o, name, x, name == "amin")), dims, keepdim)

    return body


def _position(name: str):
    def body(o, input, dim=None, *, keepdim=False, dtype=None, mask=None):
        x = _as(input, dtype)
        x = _filled(o, x, mask, _least(o, name, x, name == "argmin"))
        return getattr(o, name)(x, dim, keepdim).to(x.dtype)

    return body


def _mean(o, input, dim, *, keepdim=False, dtype=None, mask=None):
    kind = input.dtype if dtype is None else dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {kind}"
        )
    x, dims = _as(input, dtype), _dims(dim, input.dim())
    if mask is None:
        return o.mean(x, dims, keepdim)
    count = o.sum(_mask_of(o, input, mask), dims, keepdim)
    return o.sum(_filled(o, x, mask, 0), dims, keepdim) / count


def _spread(root: bool):
    def body(o, input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
        if unbiased is not None and correction is not None:
            raise AssertionError("Only one of unbiased and correction may be given")
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        if input.dtype is o.bool and dtype is None:
            raise RuntimeError(
                "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
                "mask, use the `~` or `logical_not()` operator instead."
            )
        if dtype is None:
            dtype = input.dtype if input.dtype.is_floating_point or input.dtype.is_complex else o.float32
        x, dims = _as(input, dtype), _dims(dim, input.dim())
        compute = x.float() if x.dtype in (o.float16, o.bfloat16) else x
        if mask is None:
            keep = o.ones(x.shape, dtype=o.bool, device=x.device)
        else:
            keep = _mask_of(o, input, mask)
        count = o.sum(keep, dims, True)
        gap = o.where(keep, compute - o.sum(_filled(o, compute, keep, 0), dims, True) / count, 0)
        square = o.mul(gap, o.conj(gap)) if x.dtype.is_complex else o.mul(gap, gap)
        rest = o.clamp(count - correction, min=0)
        if not keepdim:
            rest = rest.squeeze(dims) if dims else rest
        result = (o.sum(square, dims, keepdim) / rest).to(dtype)
        return o.sqrt(result) if root else result

    return body


def _norm(o, input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    x, dims = _as(input, dtype), _dims(dim, input.dim())
    start = 0
    if ord == float("-inf") and mask is not None:
        if not x.dtype.is_floating_point:
            raise AssertionError(f"input must be floating point, got {x.dtype}")
        start = float("inf")
    return o.linalg_vector_norm(_filled(o, x, mask, start), ord, dims, keepdim)


def _logsumexp(o, input, dim=None, *, keepdim=False, dtype=None, mask=None):
    x = _as(input, dtype)
    floating = x.dtype.is_floating_point or x.dtype.is_complex
    start = float("-inf") if floating else neutral(x.dtype, "amax")
    return o.logsumexp(_filled(o, x, mask, start), _dims(dim, input.dim()), keepdim).to(x.dtype)


def _logaddexp(o, input, other, *, dtype=None, input_mask=None, other_mask=None):
    kind = input.dtype if dtype is None else dtype
    start = float("-inf") if kind.is_floating_point or kind.is_complex else neutral(kind, "amax")
    x, y = (_filled(o, _as(v, dtype), m, start) for v, m in ((input, input_mask), (other, other_mask)))
    return o.logaddexp(x, y).to(kind)


def _median(o, input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    x = _as(input, dtype)
    keep = _mask_of(o, input, mask)
    if not x.dtype.is_floating_point:
        if keep is not None and not bool(o.all(o.any(keep, dim))):
            raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
        x = o.real(x) if x.dtype.is_complex else x
    floating = x if x.dtype.is_floating_point else x.to(o.float64)
    values = o.nanmedian(_filled(o, floating, mask, float("nan")), dim, keepdim)[0]
    return values.to(input.dtype if dtype is None else dtype)


def _running(name: str, start: int):
    def body(o, input, dim, *, dtype=None, mask=None):
        x = _as(input, dtype)
        if x.dtype is o.bool:
            raise NotImplementedError(f"\"{name}_out_cpu\" not implemented for 'Bool'")
        return getattr(o, name)(_filled(o, x, mask, start), dim, dtype=x.dtype)

    return body


def _softmax(name: str, fill: float):
    def body(o, input, dim, *, dtype=None, mask=None):
        x = _as(input, dtype)
        if not x.dtype.is_floating_point:
            raise NotImplementedError(f"\"softmax_lastdim_kernel_impl\" not implemented for '{x.dtype.title}'")
        x = _filled(o, x, mask, fill)
        return o.softmax(-x, dim) if name == "softmin" else getattr(o, name)(x, dim)

    return body


def _normalize(o, input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    x = _as(input, dtype)
    length = o.clamp(_norm(o, x, ord, dim, keepdim=True, mask=mask), min=eps)
    return _filled(o, x, mask, 0) / length


_TAIL = "ScalarType? dtype=None, Tensor? mask=None"
_REDUCED = f"Tensor input, int[1]? dim=None, *, bool keepdim=False, {_TAIL}"
_ONE = f"Tensor input, int? dim=None, *, bool keepdim=False, {_TAIL}"
_ALONG = f"Tensor input, int dim, *, {_TAIL}"
_TWO = "Tensor input, Tensor other, *, ScalarType? dtype=None, Tensor? input_mask=None, Tensor? other_mask=None"
_SPREAD = (
    f"Tensor input, int[1]? dim=None, bool? unbiased=None, *, Scalar? correction=None, bool keepdim=False, {_TAIL}"
)
for _name, _parameters, _body, _what in (
    ("sum", _REDUCED, _total("sum", 0), "Sum of the elements that count; small integers in int64."),
    ("prod", _REDUCED, _total("prod", 1), "Product of the elements that count; small integers in int64."),
    ("amax", _REDUCED, _extreme("amax"), "Greatest element that counts; the least number of the dtype where none does."),
    ("amin", _REDUCED, _extreme("amin"), "Least element that counts; the greatest number of the dtype where none does."),
    ("argmax", _ONE, _position("argmax"), "Position of the greatest element that counts, in the dtype of the input."),
    ("argmin", _ONE, _position("argmin"), "Position of the least element that counts, in the dtype of the input."),
    ("mean", _REDUCED, _mean, "Mean of the elements that count; nan where none does."),
    ("var", _SPREAD, _spread(False), "Variance of the elements that count: sum |x - mean|^2 / (n - correction)."),
    ("std", _SPREAD, _spread(True), "Standard deviation of the elements that count."),
    ("norm", f"Tensor input, Scalar ord=2.0, int[1]? dim=None, *, bool keepdim=False, {_TAIL}", _norm,
     "p-norm of the elements that count."),
    ("logsumexp", _REDUCED, _logsumexp, "log(sum(exp(x))) of the elements that count."),
    ("logaddexp", _TWO, _logaddexp, "log(exp(x) + exp(y)); a masked operand counts as minus infinity."),
    ("median", f"Tensor input, int dim=-1, *, bool keepdim=False, {_TAIL}", _median,
     "Median of the elements that count (the lower of two)."),
    ("cumsum", _ALONG, _running("cumsum", 0), "Running sum of the elements that count."),
    ("cumprod", _ALONG, _running("cumprod", 1), "Running product of the elements that count."),
    ("softmax", _ALONG, _softmax("softmax", float("-inf")), "softmax over the elements that count; 0 elsewhere."),
    ("log_softmax", _ALONG, _softmax("log_softmax", float("-inf")),
     "log_softmax over the elements that count; minus infinity elsewhere."),
    ("softmin", _ALONG, _softmax("softmin", float("inf")), "softmin over the elements that count; 0 elsewhere."),
    ("normalize", f"Tensor input, Scalar ord, int dim, *, float eps=1e-12, {_TAIL}", _normalize,
     "x / max(|x|_p, eps) over the elements that count; 0 elsewhere."),
):  # fmt: skip
    op(
        f"masked_{_name}({_parameters}) -> Tensor",
        names=(f"masked.{_name}",),
        body=Composite(_body),
        differentiable=not _name.startswith("arg"),
        doc=_what + ("" if _name == "logaddexp" else _DOC),
    )
