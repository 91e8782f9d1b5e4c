"""Pieces of formulas that entries share."""

from flambeau.ir.expr import Expr


def is_one(factor) -> bool:
    """Whether a parameter was folded in as the number 1; a run-time parameter is an expression."""
    return not isinstance(factor, Expr) and factor == 1


def times(x, factor):
    """x * factor, and x alone where the factor is known to be 1."""
    return x if is_one(factor) else x * factor
