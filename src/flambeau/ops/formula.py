"""Pieces of formulas and of error sentences that entries share."""

from flambeau.ir.expr import Expr


def is_one(factor) -> bool:
    """Whether a parameter was folded in as the number 1; a run-time parameter is an expression."""
    return not isinstance(factor, Expr) and factor == 1


def times(x, factor):
    """x * factor, and x alone where the factor is known to be 1."""
    return x if is_one(factor) else x * factor


_TITLES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half", "bfloat16": "BFloat16",
    "float32": "Float", "float64": "Double", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def title_of(dtype) -> str:
    """The name of a dtype in PyTorch's sentences: `Long` for int64."""
    return _TITLES[str(dtype).rpartition(".")[2]]
