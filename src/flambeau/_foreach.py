"""`_foreach_add`, `_foreach_mul_`, ...: an operator applied to every tensor of a list."""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau._core import Tensor
from flambeau.ops.names import operators

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma",
    "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt",
    "tan", "tanh", "trunc",
)  # fmt: skip
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_max", "clamp_min", "pow", "lerp")
_WITH_VALUE = ("addcmul", "addcdiv")  # their last argument is a keyword of the operator
#: Keywords that stand for operands, in the order in which a call has them.
_OPERANDS = frozenset(
    ["end", "exponent", "other", "scalar", "scalars", "src", "weight", "weights"]
    + [f"tensor{s}{i}" for s in ("", "s") for i in (1, 2)]
)
_NAMES = {
    *(f"_foreach_{n}{end}" for n in (*_UNARY, *_BINARY, *_WITH_VALUE) for end in ("", "_")),
    "_foreach_norm", "_foreach_copy_", "_foreach_zero_",
}  # fmt: skip


def _per_tensor(argument: Any, n: int) -> list:
    """One argument for each tensor: the elements of a list, or the same for all."""
    if not isinstance(argument, Sequence):
        return [argument] * n
    if len(argument) != n:
        raise RuntimeError(
            f"Tensor lists must have the same number of tensors, got {n} and {len(argument)} [in _foreach]"
        )
    return list(argument)


def _each(operator: Callable, keyword: str | None) -> Callable:
    def run(tensors: Sequence[Tensor], arguments: tuple, options: dict) -> list:
        if not tensors:
            raise RuntimeError("Tensor list must have at least one tensor.")
        n = len(tensors)
        if keyword and len(arguments) == 3:
            values = arguments[2].tolist() if isinstance(arguments[2], Tensor) else arguments[2]
            arguments, options = arguments[:2], {**options, keyword: values}
        columns = [_per_tensor(a, n) for a in arguments]
        named = {key: _per_tensor(value, n) for key, value in options.items()}
        return [
            operator(t, *(c[i] for c in columns), **{key: values[i] for key, values in named.items()})
            for i, t in enumerate(tensors)
        ]

    return run


def make(name: str) -> Callable:
    """The function of this name.

    Raises:
        AttributeError: there is none.
    """
    if name not in _NAMES:
        raise AttributeError(name)
    base = name.removeprefix("_foreach_")
    operator = operators.linalg_vector_norm if base == "norm" else getattr(operators, base)
    run = _each(operator, "value" if base.rstrip("_") in _WITH_VALUE else None)

    def foreach(self: Sequence[Tensor], *arguments: Any, **options: Any) -> Any:
        operands = (*arguments, *(options.pop(key) for key in list(options) if key in _OPERANDS))
        results = run(self, operands, options)
        return self if base.endswith("_") else tuple(results)

    foreach.__name__ = foreach.__qualname__ = name
    foreach.__doc__ = f"`{base}` of every tensor of a list; other lists give an argument for each, numbers one for all."
    return foreach
