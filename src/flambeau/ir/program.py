"""Programs: a traced body with the dtypes of its operands, and its lowered form that back ends read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from . import types as t
from .expand import expand
from .expr import Expr, input_, param
from .pairs import split_pairs
from .printer import lines
from .scalar import cast, substitute
from .verify import verify


@dataclass(frozen=True)
class In:
    """An operand: the dtype in memory, and the dtype the body sees (default: the compute dtype of `dtype`)."""

    dtype: str
    compute: str | None = None


@dataclass(frozen=True)
class Par:
    """A run-time parameter, in the dtype the body sees."""

    dtype: str


@dataclass(frozen=True)
class ScalarProgram:
    """Elements of `outputs` as expressions over elements of `inputs` and over parameters.

    Attributes:
        inputs: storage dtypes of the operands.
        outputs: storage dtypes of the results.
        params: dtypes of the run-time parameters as the body sees them.
        roots: one expression an output, in the compute dtype of that output.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    roots: tuple[Expr, ...]
    name: str = field(default="program", compare=False)

    @property
    def lowered(self) -> tuple[Expr, ...]:
        """Primitives over real values only; a complex output gives two roots."""
        kept = vars(self)  # no cached_property: a child forked while another thread is in its lock would wait
        if "_lowered" not in kept:
            kept["_lowered"] = lower(self.roots)
        return kept["_lowered"]

    def stored_as(self, inputs: Sequence[str]) -> "ScalarProgram":
        """The program for operands of other storage dtypes, which are cast to what the body sees."""
        table = {}
        for k, (own, other) in enumerate(zip(self.inputs, inputs, strict=True)):
            seen, found = t.compute_dtype(own), t.compute_dtype(other)
            if seen != found:
                table[input_(k, seen)] = cast(input_(k, found), seen)
        return replace(self, inputs=tuple(inputs), roots=tuple(substitute(self.roots, table)))

    def text(self) -> str:
        """The program for people."""
        head = f"{self.name}({', '.join(self.inputs)}) -> ({', '.join(self.outputs)})"
        return "\n".join([head, *("  " + line for line in lines(self.roots))])


def lower(roots: Iterable[Expr]) -> tuple[Expr, ...]:
    """Roots as primitives over real values: complex values become pairs, functions their expansions."""
    return tuple(expand(split_pairs(roots)))


def trace(fn: Callable, args: Sequence, outputs: Sequence[str] | None = None, name: str = "") -> ScalarProgram:
    """The program of a body.

    Args:
        fn: the body; called with one argument for each of `args`.
        args: `In` and `Par` stand for run-time values, everything else is passed to the body as it is.
        outputs: storage dtypes of the results; results are cast to them. Default: what the body returns.
        name: for people.

    Returns:
        The verified program.
    """
    inputs: list[str] = []
    params: list[str] = []
    values = []
    for a in args:
        if isinstance(a, In):
            operand = input_(len(inputs), t.compute_dtype(a.dtype))
            values.append(cast(operand, t.compute_dtype(a.compute or a.dtype)))
            inputs.append(a.dtype)
        elif isinstance(a, Par):
            compute = t.compute_dtype(a.dtype)
            values.append(param(len(params), compute))
            params.append(compute)
        else:
            values.append(a)
    result = fn(*values)
    roots = tuple(result) if isinstance(result, tuple | list) else (result,)
    outputs = tuple(outputs) if outputs is not None else tuple(r.dtype for r in roots)
    if len(outputs) != len(roots):
        raise ValueError(f"{name or fn!r} returns {len(roots)} values, expected {len(outputs)}")
    roots = tuple(cast(r, t.compute_dtype(o)) for r, o in zip(roots, outputs, strict=True))
    program = ScalarProgram(tuple(inputs), outputs, tuple(params), roots, name or getattr(fn, "__name__", "program"))
    verify(program.roots, program.inputs, program.params)
    return program
