"""The operators of Flambeau. Importing this fills the table; no body is evaluated and no kernel made."""

from . import (
    activation,
    binary,
    contract,
    convert,
    creation,
    gather,
    index,
    join,
    normalize,
    pool,
    random,
    reduce,
    scan,
    select,
    unary,
    views,
)

__all__ = [
    "activation", "binary", "contract", "convert", "creation", "gather", "index", "join", "normalize", "pool", "random",
    "reduce", "scan", "select", "unary", "views",
]  # fmt: skip
