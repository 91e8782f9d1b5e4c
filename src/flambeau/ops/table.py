"""The table of operators: `op(...)` adds an entry, and everything else follows from it.

An entry names its signatures (in the grammar of PyTorch's schemas), the names it is reached by, its dtype rule, its
body, and what its tests need. Adding an entry evaluates no body and imports nothing heavy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flambeau import _core

from . import names as public_names
from .out_dtypes import OUT_ERRORS


def _dtypes(names: str) -> tuple[Any, ...]:
    return tuple(getattr(_core, n) for n in names.split())


BOOL = _dtypes("bool")
INTEGERS = _dtypes("uint8 int8 int16 int32 int64")
WIDE_UNSIGNED = _dtypes("uint16 uint32 uint64")
#: Stored and cast only.
FLOATS8 = _dtypes("float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz")
REAL_FLOATS = _dtypes("float16 bfloat16 float32 float64")
COMPLEX = _dtypes("complex64 complex128")
#: Floating point, complex included.
FLOATING = REAL_FLOATS + COMPLEX
#: What has an order and is no bool.
REAL = INTEGERS + REAL_FLOATS
ORDERED = REAL + BOOL
INTEGRAL = INTEGERS + BOOL
#: All that arithmetic takes: wide unsigned integers have storage and casts only.
NUMERIC = ORDERED + COMPLEX
ANY = NUMERIC + WIDE_UNSIGNED
STORED = ANY + FLOATS8


@dataclass(frozen=True, slots=True)
class Scalar:
    """An expression over elements (`flambeau.ir.fn`): `fn(*arguments)` in the order of the signature.

    Operands and run-time numbers come as expressions; static attributes, and parameters folded at their default, as
    Python values. May return a tuple: one expression an output.

    Attributes:
        fn: see above.
        work: what an element costs, an addition being one: threads share fewer elements where they are dear.
    """

    fn: Callable
    work: int = 1
    kind = "scalar"


@dataclass(frozen=True, slots=True)
class Row:
    """An expression with reductions over some dimensions (`flambeau.ir.row`).

    Attributes:
        fn: the expression.
        out: role of each output: F varies over row and batch, B over the batch, R over the row; P has the sums of what
            varies over both over the last dimension, which is one of the row and stays as 1.
        out_dtypes: one letter an output: c compute, s sum, i int64, b bool, r real, 0 as operand 0, m what is computed
            in (float32 for halves): statistics, which the gradient takes from the outputs.
        roles: role of each operand.
        dims: which dimensions the row has: those of the parameter `dim`, or "all", "last <parameter>", "except <n>",
            "class"; "dim or none" where an empty `dim` means none of them, not all.
        empty: the IndexError for a row without elements.
    """

    fn: Callable
    out: str = "F"
    out_dtypes: str = "c"
    roles: str = "F"
    dims: str = "dim"
    empty: str = ""
    kind = "row"


@dataclass(frozen=True, slots=True)
class Native:
    """A C++ function registered under `name`."""

    name: str
    kind = "native"


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop program: `plan(o, *arguments)` checks, makes the outputs and says what to launch (`ops.launch.Launch`).

    Attributes:
        plan: see above.
        in_place: the plan takes `into`: True where the call changes its first operand, which the plan may then write.
        pure: the plan looks at sizes, strides, dtypes and numbers only, and makes tensors by `o.empty` only, on the
            device of an argument. Its launches are remembered: Python plans the first call of a kind. Indices that it
            tests and arguments that it copies, the launch must name (`ops.launch.remembered`).
    """

    plan: Callable
    in_place: bool = False
    pure: bool = False
    kind = "loop"


@dataclass(frozen=True, slots=True)
class Composite:
    """Plain Python over other operators: `fn(o, *arguments)`, `o` being the namespace of operators."""

    fn: Callable
    raw: bool = False
    kind = "composite"


Body = Scalar | Row | Native | Loop | Composite


@dataclass(slots=True)
class Entry:
    """One operator. See `op` for the fields."""

    name: str
    signatures: tuple[str, ...]
    body: Any
    names: tuple[str, ...] = ()
    inplace_names: tuple[str, ...] = ()
    dtypes: tuple[Any, ...] = NUMERIC
    dtype_error: str = ""
    mask_error: str = ""
    out_error: str = ""
    alone: tuple[Any, ...] = ()
    mixed_error: str = ""
    numbers_fit: bool = False
    result: str | tuple[str, ...] = "promote"
    numbers: tuple[str, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    divisor: str = ""
    static: tuple[str, ...] = ()
    fold: tuple[str, ...] = ()
    grad: Callable | None = None
    saves: tuple[str, ...] = ()
    differentiable: bool = True
    ref: Callable | None = None
    samples: Any = None
    errors: Any = ()
    doc: str = ""
    user: bool = False

    @property
    def base_name(self) -> str:
        """The name without that of the overload."""
        return self.name.split(".")[0]


#: Every operator by its unique name, in the order of definition.
TABLE: dict[str, Entry] = {}


def _in_place(signature: str, base: str) -> str:
    """The signature of the in-place form: the first operand is written and returned."""
    head, parameters = signature.split("(", 1)
    parameters = parameters[: parameters.rindex("->")].removeprefix("Tensor")
    return f"{base}_{head[len(base) :]}(Tensor(a!){parameters}-> Tensor(a!)"


def _in_place_names(names: Sequence[str], signature: str) -> list[str]:
    """Methods have an in-place form; functions where there is one operand, as in PyTorch."""
    unary = signature.count("Tensor") == 2
    return [f"{n}_" for n in names if n.startswith("Tensor.") or (unary and "." not in n)]


def op(
    signature: str | Sequence[str],
    *,
    body: Any,
    names: Sequence[str] | None = None,
    dtypes: tuple[Any, ...] = NUMERIC,
    dtype_error: str = "",
    mask_error: str = "",
    out_error: str = "",
    alone: tuple[Any, ...] = (),
    mixed_error: str = "",
    numbers_fit: bool = False,
    result: str | tuple[str, ...] = "promote",
    numbers: Sequence[str] = (),
    roles: dict[str, str] | None = None,
    divisor: str = "",
    static: Sequence[str] = (),
    fold: Sequence[str] = (),
    inplace: bool | Sequence[str] = False,
    grad: Callable | None = None,
    saves: Sequence[str] = (),
    differentiable: bool = True,
    ref: Callable | None = None,
    samples: Any = None,
    errors: Any = (),
    doc: str = "",
    user: bool = False,
) -> Entry:
    """Adds an operator.

    Args:
        signature: `name.overload(Tensor self, *, float eps=0.1) -> Tensor`; several for overloads of one body.
        body: `Scalar`, `Row`, `Native`, `Loop` or `Composite`.
        names: where it is reached: `exp`, `Tensor.exp`, `nn.functional.gelu`, `special.expit`. Default: the
            function and the method of its name.
        dtypes: dtypes that operands may have after promotion.
        dtype_error: the sentence for other dtypes (`{got}` is replaced), with the exception's class in front where it
            is not NotImplementedError; that for complex dtypes in front of a | where it is another.
        mask_error: the sentence for an operand of role m that is not bool.
        out_error: the sentence for `out=` of another dtype than the result ({got}, {want}), where none is cast to; see
            `ops.out_dtypes`.
        alone: dtypes of operands that go with operands of the same dtype only.
        mixed_error: the sentence for those beside others ({want}: the first operand's; {operand}, {name}: that differs).
        numbers_fit: numbers that stand for operands must fit the integers that are computed in.
        result: dtype of the result after promotion: promote, float (integers give the default dtype), bool, real,
            real_float, complex, input, int32, int64; a tuple where outputs differ.
        numbers: operands for which a Python number may stand.
        roles: of parameters that are not seen in the promoted dtype: k keeps its own, r takes the real counterpart, z
            the complex one, m must be bool; numbers take part in promotion (c), or not (k), or not and must fit the
            dtype that is computed in (f), or must not be of a higher kind (a).
        divisor: the operand that must hold no 0 where integers are computed.
        static: int parameters that choose code. Strings, bools and dtypes always do.
        fold: numbers that become constants of the body where they have their default.
        inplace: makes the in-place form; a sequence gives names for it beside the method's.
        grad: the gradient, written over operators: `grad(o, g, *arguments)`; default: derived from the body.
        saves: outputs that a hand-written gradient reads.
        differentiable: False: results never require a gradient.
        ref: `ref(np, *arguments)`, an independent definition for tests.
        samples: name of a family of test inputs, or a function making them.
        errors: (arguments, exception, part of the sentence) of calls that must fail.
        doc: one line, then more.
        user: defined outside of the package.

    Returns:
        The entry.
    """
    signatures = (signature,) if isinstance(signature, str) else tuple(signature)
    name = signatures[0].split("(", 1)[0]
    base = name.split(".")[0]
    public = tuple(names) if names is not None else (base, f"Tensor.{base}")
    in_place = []
    if inplace:
        in_place = _in_place_names(public, signatures[0]) + ([] if inplace is True else list(inplace))
        signatures += tuple(_in_place(s, base) for s in signatures)
    entry = Entry(
        name=name, signatures=signatures, body=body, names=public, inplace_names=tuple(in_place), dtypes=dtypes,
        dtype_error=dtype_error, mask_error=mask_error, out_error=out_error or OUT_ERRORS.get(base, ""), alone=alone,
        mixed_error=mixed_error, numbers_fit=numbers_fit, result=result,
        numbers=tuple(numbers), roles=roles or {}, divisor=divisor,
        static=tuple(static), fold=tuple(fold), grad=grad, saves=tuple(saves), differentiable=differentiable, ref=ref,
        samples=samples, errors=errors, doc=doc, user=user,
    )  # fmt: skip
    register(entry)
    return entry


def register(entry: Entry) -> None:
    """Hands an entry to C++ and gives its functions their names."""
    native = entry.body.name if entry.body.kind == "native" else None
    functions = _core.register_op(
        entry.name, entry.signatures, kind=entry.body.kind, result=entry.result, dtypes=entry.dtypes,
        dtype_error=entry.dtype_error, mask_error=entry.mask_error, out_error=entry.out_error, alone=entry.alone,
        mixed_error=entry.mixed_error, numbers_fit=entry.numbers_fit, static=entry.static,
        fold=entry.fold, numbers=entry.numbers,
        roles={entry.divisor: "d"} if entry.divisor else entry.roles,
        has_gradient=entry.differentiable, hand_gradient=entry.grad is not None, work=getattr(entry.body, "work", 1),
        native=native, pure=getattr(entry.body, "pure", False),
        entry=entry,
    )  # fmt: skip
    TABLE[entry.name] = entry
    public_names.place(entry.base_name, functions, entry.names, entry.inplace_names)
