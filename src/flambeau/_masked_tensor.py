"""Masked tensors: a tensor and a mask of the same size that says which of its elements count.

Reductions and softmax leave out what does not count, element-wise operators and views carry the mask along, and two
masked tensors take part in one operation where their masks are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.ops.names import namespace
from flambeau.ops.names import operators as o

__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]


class MaskedTensor(Tensor):
    """A tensor of which some elements do not count. Made by `masked_tensor` and `as_masked_tensor`.

    Example:
        >>> x = torch.masked.masked_tensor(torch.tensor([1., 5., 3.]), torch.tensor([True, False, True]))
        >>> x.mean()
        MaskedTensor(  2.0000, True)
    """

    _asks_nobody = True
    _d: Tensor
    _m: Tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        known = _FUNCTIONS.get(func.__name__)
        if known is None:
            raise TypeError(
                f"no implementation of '{func.__name__}' for MaskedTensor. MaskedTensor.to_tensor(value) gives a "
                "tensor that every operator takes."
            )
        return known(*args, **(kwargs or {}))

    # ---- its parts

    def get_data(self) -> Tensor:
        """The tensor, what does not count included."""
        return self._d

    def get_mask(self) -> Tensor:
        """The mask."""
        return self._m

    def to_tensor(self, value: Any) -> Tensor:
        """A tensor with `value` where elements do not count."""
        return self._d.masked_fill(~self._m, value)

    # ---- what the tape knows stands with the data

    grad_fn = property(lambda self: self._d.grad_fn)  # type: ignore[assignment]
    is_leaf = property(lambda self: self._d.is_leaf)  # type: ignore[assignment]

    @property
    def requires_grad(self) -> bool:
        return self._d.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._d.requires_grad = value

    @property
    def grad(self) -> Any:
        return None if self._d.grad is None else _make(self._d.grad, self._m)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._d.grad = value._d if isinstance(value, MaskedTensor) else value

    def requires_grad_(self, requires_grad: bool = True) -> MaskedTensor:
        """Whether gradients are computed for the elements that count."""
        self._d.requires_grad_(requires_grad)
        return self

    def backward(
        self, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """The gradients of a result with regard to the leaves that it was made of."""
        given = gradient.to_tensor(0) if isinstance(gradient, MaskedTensor) else gradient
        self._d.backward(given, retain_graph, create_graph, inputs)

    def detach(self) -> MaskedTensor:
        """The same without history."""
        return _make(self._d.detach(), self._m)

    def item(self) -> Any:
        """The element as a number; there must be exactly one."""
        return self._d.item()

    def numpy(self, *, force: bool = False) -> Any:
        raise RuntimeError(
            ".numpy() is not supported for tensor subclasses. [MaskedTensor.to_tensor(value) is a plain tensor]"
        )

    def tolist(self) -> Any:
        raise RuntimeError(".tolist() is not supported for tensor subclasses, got MaskedTensor")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        text = _text(self._d.detach(), self._m, 1)
        return f"MaskedTensor({text}, {self._m.item()})" if not self.dim() else f"MaskedTensor(\n  {text}\n)"

    def __deepcopy__(self, memo: dict[int, Any]) -> MaskedTensor:
        return _rebuild(self._d.detach().clone(), self._m.clone(), self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild, (self._d.detach(), self._m, self.requires_grad)


def _make(data: Tensor, mask: Tensor) -> MaskedTensor:
    made = Tensor._make_subclass(MaskedTensor, data.detach())
    made._d, made._m = data, mask if mask.shape == data.shape else mask.expand(data.shape)
    return made


def _rebuild(data: Tensor, mask: Tensor, requires_grad: bool) -> MaskedTensor:
    return _make(data, mask).requires_grad_(requires_grad)


def _text(data: Tensor, mask: Tensor, depth: int) -> str:
    if data.dim() <= 1:
        show = "{:8.4f}".format if data.is_floating_point() else str
        values = data.reshape(-1).tolist()
        shown = [show(v) if m else "      --" for v, m in zip(values, mask.reshape(-1).tolist(), strict=True)]
        return "[" + ", ".join(shown) + "]" if data.dim() else shown[0]
    inset = "  " * (depth + 1)
    rows = (inset + _text(d, m, depth + 1) for d, m in zip(data.unbind(0), mask.unbind(0), strict=True))
    return "[\n" + ",\n".join(rows) + "\n" + "  " * depth + "]"


# ---- made


def _check(data: Any, mask: Any) -> None:
    for what, t in (("data", data), ("mask", mask)):
        if not isinstance(t, Tensor):
            raise TypeError(f"{what} must be a Tensor")
    if mask.dtype is not _core.bool:
        raise TypeError("mask must have dtype bool.")
    if data.dim() != mask.dim():
        raise ValueError("data.dim() must equal mask.dim()")
    if data.size() != mask.size():
        raise ValueError("data.size() must equal mask.size()")


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """A new masked tensor, a leaf, with copies of data and mask.

    Args:
        data: the elements.
        mask: bools of the same size; False says that an element does not count.
        requires_grad: whether gradients are computed for it.

    Example:
        >>> x = torch.masked.masked_tensor(torch.tensor([1., 2.]), torch.tensor([True, False]))
        >>> x + x
        MaskedTensor(
          [  2.0000,       --]
        )
    """
    _check(data, mask)
    return _make(data.detach().clone(), mask.detach().clone()).requires_grad_(requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """A masked tensor over data and mask as they are; gradients flow to data."""
    _check(data, mask)
    return _make(data, mask)


def is_masked_tensor(obj: Any, /) -> bool:
    """Whether an object is a masked tensor."""
    return isinstance(obj, MaskedTensor)


# ---- operators


def _data(x: Any) -> Any:
    return x._d if isinstance(x, MaskedTensor) else x


def _common_mask(*operands: Any) -> Tensor:
    masks = [x._m for x in operands if isinstance(x, MaskedTensor)]
    for other in masks[1:]:
        if other is not masks[0] and (other.shape != masks[0].shape or not bool((other == masks[0]).all())):
            raise ValueError("Input masks must match. If you need support for this, please open an issue on Github.")
    return masks[0]


def _elementwise(name: str) -> Callable:
    def run(*args: Any, **kwargs: Any) -> MaskedTensor:
        mask = _common_mask(*args, *kwargs.values())
        return _make(getattr(o, name)(*map(_data, args), **{key: _data(v) for key, v in kwargs.items()}), mask)

    return run


def _in_place(name: str) -> Callable:
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, MaskedTensor):
            raise TypeError(f"{name}: a masked tensor cannot be written to a tensor without a mask")
        _common_mask(self, *args)
        getattr(self._d, name)(*map(_data, args), **kwargs)
        return self

    return run


def _of_both(name: str) -> Callable:
    """A view or a copy: of the data and of the mask in the same way."""

    def run(self: MaskedTensor, *args: Any, **kwargs: Any) -> Any:
        data, mask = (getattr(t, name)(*args, **kwargs) for t in (self._d, self._m))
        if isinstance(data, Tensor):
            return _make(data, mask)
        return type(data)(_make(d, m) for d, m in zip(data, mask, strict=True))

    return run


def _of_data(name: str) -> Callable:
    return lambda self, *args, **kwargs: _make(getattr(self._d, name)(*args, **kwargs), self._m)


def _reduction(name: str) -> Callable:
    """Of what counts; the result counts where something did."""

    def run(self: MaskedTensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> MaskedTensor:
        options = {key: value for key, value in kwargs.items() if value is not None}
        value = namespace("masked")[name](self._d, dim=dim, keepdim=keepdim, mask=self._m, **options)
        mask = o.any(self._m, None if dim in ((), []) else dim, keepdim)  # () is all dimensions to `masked`
        return _make(value.to(o.int64) if name.startswith("arg") else value, mask)

    return run


def _norm(self: MaskedTensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> MaskedTensor:
    return _reduction("norm")(self, dim, keepdim, ord=p, dtype=dtype)


def _variance(name: str) -> Callable:
    def run(
        self: MaskedTensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> MaskedTensor:
        return _reduction(name)(self, dim, keepdim, unbiased=None if correction is not None else unbiased,
                                correction=correction)  # fmt: skip

    return run


def _all(self: MaskedTensor, dim: Any = None, keepdim: bool = False) -> MaskedTensor:
    counted = self._d.to(_core.bool) | ~self._m
    if dim is None:
        return _make(o.all(counted), o.any(self._m))
    return _make(o.all(counted, dim, keepdim), o.any(self._m, dim, keepdim))


def _along(name: str) -> Callable:
    def run(self: MaskedTensor, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> MaskedTensor:
        options = {} if dtype is None else {"dtype": dtype}
        return _make(namespace("masked")[name](self._d, dim, mask=self._m, **options), self._m)

    return run


def _where(condition: Tensor, input: Any, other: Any) -> MaskedTensor:
    """Elements keep the mask of the operand that they come from."""
    masks = [x._m if isinstance(x, MaskedTensor) else o.ones_like(condition) for x in (input, other)]
    return _make(o.where(condition, _data(input), _data(other)), o.where(condition, *masks))


def _joined(name: str) -> Callable:
    def run(tensors: Any, dim: int = 0) -> MaskedTensor:
        masks = [t._m if isinstance(t, MaskedTensor) else o.ones_like(t, dtype=_core.bool) for t in tensors]
        return _make(getattr(o, name)([_data(t) for t in tensors], dim), getattr(o, name)(masks, dim))

    return run


_ELEMENTWISE = (
    "abs", "acos", "acosh", "angle", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "clamp", "cos", "cosh",
    "deg2rad", "digamma", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "frac", "lgamma", "log", "log10",
    "log1p", "log2", "logit", "i0", "isnan", "isinf", "isfinite", "nan_to_num", "neg", "positive", "pow", "rad2deg",
    "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sgn", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan",
    "tanh", "trunc", "relu", "gelu", "silu", "add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder",
    "fmod", "atan2", "arctan2", "bitwise_and", "bitwise_or", "bitwise_xor", "logaddexp", "logaddexp2", "nextafter",
    "maximum", "minimum", "fmin", "fmax", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or",
    "logical_not", "logical_xor", "lerp", "rsub", "zeros_like", "ones_like", "empty_like", "full_like",
    "rand_like", "randn_like",
)  # fmt: skip
_OF_BOTH = (
    "transpose", "t", "permute", "view", "reshape", "unsqueeze", "squeeze", "expand", "expand_as", "select", "narrow",
    "flatten", "unflatten", "unbind", "split", "chunk", "__getitem__", "contiguous", "clone", "flip", "roll", "movedim",
    "swapaxes", "diagonal", "index_select", "repeat", "unfold", "ravel", "tile", "cpu", "cuda",
)  # fmt: skip
_IN_PLACE = (
    "add_", "sub_", "mul_", "div_", "neg_", "abs_", "exp_", "log_", "sqrt_", "sigmoid_", "tanh_", "clamp_", "relu_",
    "pow_", "zero_", "fill_",
)  # fmt: skip
_CASTS = ("to", "float", "double", "half", "bfloat16", "int", "long", "short", "bool", "type_as")
_REDUCTIONS = ("sum", "mean", "amax", "amin", "argmax", "argmin", "prod", "logsumexp", "median")
_FUNCTIONS: dict[str, Callable] = {
    **{name: _elementwise(name) for name in _ELEMENTWISE},
    **{name: _in_place(name) for name in _IN_PLACE},
    **{name: _of_both(name) for name in _OF_BOTH},
    **{name: _of_data(name) for name in _CASTS},
    **{name: _reduction(name) for name in _REDUCTIONS},
    **{name: _along(name) for name in ("softmax", "log_softmax", "softmin", "cumsum", "cumprod")},
    "var": _variance("var"), "std": _variance("std"), "norm": _norm,
    "all": _all, "where": _where, "cat": _joined("cat"), "stack": _joined("stack"),
    "__len__": lambda self: len(self._d), "is_contiguous": lambda self, *a, **kw: self._d.is_contiguous(*a, **kw),
    "numel": lambda self: self._d.numel(),
}  # fmt: skip
