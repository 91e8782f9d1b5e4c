"""Hand-written gradients become programs: traced once for each kind of call, then run by C++ without Python.

A gradient is a function over operators, `grad(o, g, *arguments)`. It is called with stand-ins: tensors are slots, sizes
and run-time numbers are symbols. What it does with them is recorded as instructions.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flambeau import _core
from flambeau.autograd.grad_mode import no_grad
from flambeau.ops.names import operators
from flambeau.ops.table import TABLE


class GradientTraceError(RuntimeError):
    """A gradient does something that cannot be recorded."""


@dataclass(slots=True)
class _Trace:
    """What is being recorded, and what the function has looked at."""

    op: str
    n_slots: int
    param_names: tuple[str, ...]
    by_value: set[int] = field(default_factory=set)
    code: list = field(default_factory=list)

    def new_slots(self, count: int) -> int:
        self.n_slots += count
        return self.n_slots - count


def _source_of(x: Any) -> tuple:
    """How an argument is written into a program: stand-ins by their source, everything else as a constant."""
    if isinstance(x, Slot | Number | Numbers | Property):
        return x.source
    if isinstance(x, list | tuple):
        return ("list", [_source_of(e) for e in x])
    return ("const", x)


def _example(x: Any) -> Any:
    """An argument as it is in the call that is being traced; tensors without elements."""
    if isinstance(x, Slot):
        return x._meta()
    if isinstance(x, Number):
        return x.concrete()
    if isinstance(x, Property):
        return x.example()
    if isinstance(x, list | tuple | Numbers):
        return tuple(_example(e) for e in x)
    return x


class Property:
    """A dtype, device or list of sizes that is known when the program runs."""

    __slots__ = ("example", "source")

    def __init__(self, source: tuple, example: Callable[[], Any]):
        self.source, self.example = source, example


class Number:
    """A number that is known when the program runs: a size, or an int or float argument of the call.

    Arithmetic is recorded. Looking at the value (`if`, `int()`, comparison) makes an argument part of the program's
    key; sizes must not be looked at.
    """

    __slots__ = ("concrete", "is_size", "params", "source", "trace")

    def __init__(
        self, trace: _Trace, source: tuple, concrete: Callable[[], Any], params: frozenset[int], is_size: bool
    ):
        self.trace, self.source, self.concrete = trace, source, concrete
        self.params, self.is_size = params, is_size

    def look(self) -> Any:
        if self.is_size:
            raise GradientTraceError(
                f"the gradient of {self.trace.op} looks at a size: a program is traced once for all sizes. Use sizes "
                "as arguments of operators, or move the decision into an operator of its own."
            )
        self.trace.by_value |= self.params
        return self.concrete()

    def _with(self, kind: str, other: Any, swap: bool = False) -> "Number":
        if not isinstance(other, Number | int | float):
            return NotImplemented
        a, b = (other, self) if swap else (self, other)
        params = self.params | (other.params if isinstance(other, Number) else frozenset())
        is_size = self.is_size or (isinstance(other, Number) and other.is_size)

        def concrete() -> Any:
            return _ARITHMETIC[kind](_example(a), _example(b))

        return Number(self.trace, (kind, [_source_of(a), _source_of(b)]), concrete, params, is_size)

    def __add__(self, other):
        return self._with("add", other)

    def __radd__(self, other):
        return self._with("add", other, True)

    def __sub__(self, other):
        return self._with("sub", other)

    def __rsub__(self, other):
        return self._with("sub", other, True)

    def __mul__(self, other):
        return self._with("mul", other)

    def __rmul__(self, other):
        return self._with("mul", other, True)

    def __floordiv__(self, other):
        return self._with("floordiv", other)

    def __rfloordiv__(self, other):
        return self._with("floordiv", other, True)

    def __truediv__(self, other):
        return self._with("truediv", other)

    def __rtruediv__(self, other):
        return self._with("truediv", other, True)

    def __mod__(self, other):
        return self._with("mod", other)

    def __rmod__(self, other):
        return self._with("mod", other, True)

    def __neg__(self):
        return self._with("sub", 0, True)

    def __index__(self):
        return self.look().__index__()

    def __int__(self):
        return int(self.look())

    def __float__(self):
        return float(self.look())

    def __bool__(self):
        return bool(self.look())

    def __str__(self):
        return str(self.look())

    def __format__(self, spec: str):
        return format(self.look(), spec)

    def __hash__(self):
        return hash(self.look())

    def __eq__(self, other):
        return self.look() == _looked(other)

    def __lt__(self, other):
        return self.look() < _looked(other)

    def __le__(self, other):
        return self.look() <= _looked(other)

    def __gt__(self, other):
        return self.look() > _looked(other)

    def __ge__(self, other):
        return self.look() >= _looked(other)


_ARITHMETIC = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "truediv": lambda a, b: a / b,
    "mod": lambda a, b: a % b,
}


def _looked(x: Any) -> Any:
    return x.look() if isinstance(x, Number) else x


class Numbers(Sequence):
    """A list of numbers known when the program runs, of a length known now: sizes of a tensor, or an int[] argument."""

    __slots__ = ("items", "source")

    def __init__(self, source: tuple, items: list[Number]):
        self.source, self.items = source, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i):
        return tuple(self.items[i]) if isinstance(i, slice) else self.items[i]

    def __iter__(self) -> Iterator[Number]:
        return iter(self.items)

    def __eq__(self, other):
        if not isinstance(other, Sequence) or len(other) != len(self):
            return False
        return all(a == b for a, b in zip(self.items, other, strict=True))

    def __add__(self, other):
        return (*self.items, *other)

    def __radd__(self, other):
        return (*other, *self.items)

    __hash__ = None


class Slot:
    """A tensor that is there when the program runs."""

    def __init__(
        self,
        trace: _Trace,
        source: tuple,
        known: tuple[Any, int, tuple[int, ...]] | None = None,
        made: Callable[[], Any] | None = None,
    ):
        self._trace, self.source, self._known, self._made = trace, source, known, made

    def _place(self) -> tuple[int, int]:
        return (self.source[1], self.source[2]) if self.source[0] == "item" else (self.source[1], -1)

    def _meta(self) -> Any:
        if self._made is None:
            return operators.empty(self._known[2], dtype=self._known[0], device="meta")
        with no_grad():
            return self._made()

    def _description(self) -> tuple[Any, int, tuple[int, ...]]:
        """dtype, number of dimensions and sizes; of a result, by computing it without elements."""
        if self._known is None:
            t = self._meta()
            self._known = (t.dtype, t.dim(), tuple(t.shape))
        return self._known

    @property
    def ndim(self) -> int:
        return self._description()[1]

    def dim(self) -> int:
        return self.ndim

    @property
    def dtype(self) -> Any:
        if self._known is not None:
            return self._known[0]
        return Property(("dtype", *self._place()), lambda: self._description()[0])

    @property
    def device(self) -> Property:
        return Property(("device", *self._place()), lambda: "meta")

    def _size(self, d: int) -> Number:
        source = ("size", *self._place(), d)
        return Number(self._trace, source, lambda: self._description()[2][d], frozenset(), True)

    @property
    def shape(self) -> "Numbers":
        return Numbers(("sizes", *self._place()), [self._size(d) for d in range(self.ndim)])

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> Number:
        source = ("numel", *self._place())
        return Number(self._trace, source, lambda: math.prod(self._description()[2]), frozenset(), True)

    def is_complex(self) -> bool:
        return self._description()[0].is_complex

    def is_floating_point(self) -> bool:
        return self._description()[0].is_floating_point

    @property
    def mT(self) -> "Slot":
        return _record(self._trace, "transpose", (self, -2, -1), {})

    @property
    def mH(self) -> "Slot":
        return self.mT.conj()

    def t(self) -> "Slot":
        return _record(self._trace, "t", (self,), {})

    def conj(self) -> "Slot":
        return _record(self._trace, "conj", (self,), {}) if self.is_complex() else self

    def to(self, dtype: Any) -> "Slot":
        if self._known is not None and dtype is self._known[0]:
            return self
        return _record(self._trace, "to", (self, dtype), {})

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_") or name not in _schemas():
            raise AttributeError(
                f"a gradient's tensors have no attribute {name!r} (in the gradient of {self._trace.op})"
            )
        return lambda *args, **kwargs: _record(self._trace, name, (self, *args), kwargs)

    def __bool__(self):
        raise GradientTraceError(f"the gradient of {self._trace.op} branches on the values of a tensor")

    def _binary(self, name: str, a: Any, b: Any) -> "Slot":
        return _record(self._trace, name, (a, b), {})

    def __add__(self, other):
        return self._binary("add", self, other)

    def __radd__(self, other):
        return self._binary("add", self, other)

    def __sub__(self, other):
        return self._binary("sub", self, other)

    def __rsub__(self, other):
        return self._binary("rsub", self, other)

    def __mul__(self, other):
        return self._binary("mul", self, other)

    def __rmul__(self, other):
        return self._binary("mul", self, other)

    def __truediv__(self, other):
        return self._binary("div", self, other)

    def __matmul__(self, other):
        return self._binary("matmul", self, other)

    def __neg__(self):
        return _record(self._trace, "neg", (self,), {})

    def __pow__(self, other):
        return self._binary("pow", self, other)

    def __eq__(self, other):
        return self._binary("eq", self, other)

    def __ne__(self, other):
        return self._binary("ne", self, other)

    def __lt__(self, other):
        return self._binary("lt", self, other)

    def __le__(self, other):
        return self._binary("le", self, other)

    def __gt__(self, other):
        return self._binary("gt", self, other)

    def __ge__(self, other):
        return self._binary("ge", self, other)

    def __and__(self, other):
        return self._binary("bitwise_and", self, other)

    def __invert__(self):
        return _record(self._trace, "bitwise_not", (self,), {})

    __hash__ = object.__hash__


class SlotList(Slot):
    """A list of tensors that an operator returned."""

    def __getitem__(self, i: int) -> Slot:
        return Slot(self._trace, ("item", self.source[1], i), made=lambda: self._meta()[i])


# Overload resolution -----------------------------------------------------------------------------------------------


_SCHEMAS: dict[str, list] = {}


def _schemas() -> dict[str, list]:
    """Overloads by the name they are called by; read again when the table has grown."""
    if len(_SCHEMAS.get("", ())) != len(TABLE):
        _SCHEMAS.clear()
        _SCHEMAS.update(_core.operator_schemas())
        _SCHEMAS[""] = list(TABLE)
    return _SCHEMAS


def _fits(kind: str, optional: bool, number: bool, x: Any) -> bool:
    if x is None:
        return optional
    is_number = isinstance(x, Number | int | float | complex)
    if kind == "Tensor":
        return (isinstance(x, Slot) and not isinstance(x, SlotList)) or (number and is_number)
    if kind == "Tensor[]":
        return isinstance(x, SlotList) or (
            isinstance(x, list | tuple) and all(isinstance(e, Slot) or e is None for e in x)
        )
    if kind == "Scalar":
        return is_number
    if kind == "int":
        return isinstance(x, int) or (isinstance(x, Number) and not isinstance(x.concrete(), float))
    if kind == "float":
        return isinstance(x, Number | int | float)
    if kind in ("int[]", "float[]"):
        if isinstance(x, Numbers):
            return True
        return isinstance(x, list | tuple) and all(isinstance(e, Number | int | float) for e in x)
    if kind == "bool":
        return isinstance(x, bool)
    if kind == "str":
        return isinstance(x, str)
    if kind == "ScalarType":
        return isinstance(x, _core.dtype | Property)
    if kind == "Device":
        return isinstance(x, Property | str | _core.device)
    return kind in ("Any", "Generator", "Layout", "MemoryFormat")


def _bind(params: list, args: Sequence, kwargs: dict) -> list | None:
    """Arguments by parameter, or None where they do not fit. Several ints stand for an int[] in last place."""
    positional = [p for p in params if not p[4]]
    if len(args) > len(positional):
        n = len(positional)
        if n and positional[-1][1] == "int[]" and all(isinstance(a, Number | int) for a in args[n - 1 :]):
            args = (*args[: n - 1], tuple(args[n - 1 :]))
        else:
            return None
    given = dict(zip((p[0] for p in positional), args, strict=False))
    if any(k in given or all(k != p[0] for p in params) for k in kwargs):
        return None
    given.update(kwargs)
    bound = []
    for name, kind, optional, has_default, _, list_size, number, default in params:
        if name not in given:
            if not has_default:
                return None
            bound.append(("const", default))
            continue
        x = given[name]
        if kind in ("int[]", "float[]") and list_size and isinstance(x, Number | int):
            x = (x,) * list_size
        if not _fits(kind, optional, number, x):
            return None
        bound.append(_source_of(x))
    return bound


def _record(trace: _Trace, name: str, args: Sequence, kwargs: dict) -> Any:
    """Adds an instruction; returns what stands for its results."""
    if name.endswith("_"):
        raise GradientTraceError(
            f"the gradient of {trace.op} changes a tensor in place ({name}), which is not recorded"
        )
    for op_id, overload, params, returns in _schemas().get(name, ()):
        bound = _bind(params, args, kwargs)
        if bound is None:
            continue
        first = trace.new_slots(len(returns))
        trace.code.append((op_id, overload, bound, first))
        results = tuple(
            (SlotList if kind == "Tensor[]" else Slot)(
                trace, ("slot", first + i), made=partial(_run_on_examples, name, args, kwargs, i, len(returns))
            )
            for i, kind in enumerate(returns)
        )
        return results[0] if len(results) == 1 else results
    kinds = ", ".join(type(a).__name__ for a in (*args, *kwargs.values()))
    raise GradientTraceError(f"the gradient of {trace.op} calls {name}({kinds}), which no overload takes")


def _run_on_examples(name: str, args: Sequence, kwargs: dict, i: int, count: int) -> Any:
    """The i-th of what an instruction gives for tensors without elements."""
    got = getattr(operators, name)(*(_example(a) for a in args), **{k: _example(v) for k, v in kwargs.items()})
    return got if count == 1 else got[i]


class _Saved:
    def __init__(self, outputs: list):
        self._outputs = outputs

    def output(self, i: int) -> Slot:
        """The i-th output of the forward call."""
        return self._outputs[i]


class Operators:
    """The namespace `o` that a gradient receives: operators by name, dtypes, `needs` and `saved`."""

    def __init__(self, trace: _Trace, needs: tuple, outputs: list):
        self._trace, self.needs, self.saved = trace, needs, _Saved(outputs)

    def conj(self, x: Slot) -> Slot:
        """The conjugate; of real numbers nothing that would have to run."""
        return x.conj()

    def __getattr__(self, name: str) -> Any:
        if name in _schemas():
            return lambda *args, **kwargs: _record(self._trace, name, args, kwargs)
        value = getattr(_core, name, None)
        if isinstance(value, _core.dtype):
            return value
        raise AttributeError(f"the gradient of {self._trace.op} asks for operator {name!r}, which does not exist")


# Tracing -----------------------------------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


def _stand_in(trace: _Trace, i: int, name: str, kind: str, static: bool, value: Any) -> Any:
    """What the gradient gets for the i-th argument. Tensors are described as (dtype, ndim, sizes)."""
    if kind == "Tensor" and isinstance(value, tuple):
        return Slot(trace, ("slot", i), value)
    if kind == "Tensor[]":
        return [None if v is None else Slot(trace, ("item", i, k), v) for k, v in enumerate(value)]
    if static or value is None or "dim" in name:
        if kind in ("int", "float", "Scalar", "int[]"):
            trace.by_value.add(i)
        return value
    params = frozenset((i,))
    if kind in ("int", "float", "Scalar", "Tensor") and isinstance(value, int | float) and not isinstance(value, bool):
        return Number(trace, ("slot", i), partial(_same, value), params, False)
    if kind == "int[]":
        return Numbers(
            ("slot", i), [Number(trace, ("item", i, k), lambda v=v: v, params, False) for k, v in enumerate(value)]
        )
    if kind in ("float[]", "Scalar", "Tensor"):
        trace.by_value.add(i)
    return value


def _walk(source: tuple) -> Iterator[tuple]:
    yield source
    if source[0] in ("list", *_ARITHMETIC):
        for part in source[1]:
            yield from _walk(part)


def _reads(sources: list) -> set[tuple[int, bool]]:
    """(slot, whether its elements are needed)."""
    found = set()
    for source in sources:
        for s in _walk(source):
            if s[0] in ("slot", "item"):
                found.add((s[1], True))
            elif s[0] in ("size", "sizes", "numel", "dtype", "device"):
                found.add((s[1], False))
    return found


def _live_code(code: list, results: list) -> list:
    """Instructions whose results are used."""
    wanted = {slot for slot, _ in _reads(results)}
    live = []
    starts = [c[3] for c in code]
    for k in reversed(range(len(code))):
        end = starts[k + 1] if k + 1 < len(code) else math.inf
        if any(starts[k] <= slot < end for slot in wanted):
            live.append(code[k])
            wanted |= {slot for slot, _ in _reads(code[k][2])}
    return live[::-1]


def _with_drops(code: list, results: list, first_gradient: int) -> list:
    """Adds to each instruction the slots that nobody reads after it."""
    seen = {slot for slot, _ in _reads(results)}
    out = []
    for op_id, overload, sources, first in reversed(code):
        last = {slot for slot, _ in _reads(sources)} - seen
        seen |= last
        out.append((op_id, overload, sources, sorted(s for s in last if s >= first_gradient), first))
    return out[::-1]


def _flat_results(op: str, got: Any, params: list, args: list, needs: tuple) -> list:
    """One source a tensor of the call, lists flattened; what is not needed is dropped."""
    tensors = [a for p, a in zip(params, args, strict=True) if p[1] in ("Tensor", "Tensor[]")]
    operands = list(zip(tensors, needs, strict=True))
    if not isinstance(got, list | tuple) or (len(operands) == 1 and isinstance(operands[0][0], list) and len(got) != 1):
        got = (got,)
    if len(got) != len(operands):
        raise GradientTraceError(
            f"the gradient of {op} returns {len(got)} values; it must return one for each of the {len(operands)} "
            f"tensor "
            "parameters (None where there is no gradient)"
        )
    flat = []
    for g, (arg, need) in zip(got, operands, strict=True):
        if not isinstance(arg, list):
            flat.append(("const", None) if g is None or not need else _source_of(g))
            continue
        items = [None] * len(arg) if g is None else list(g)
        flat += [("const", None) if e is None or not n else _source_of(e) for e, n in zip(items, need, strict=True)]
    return flat


def trace(op: str, overload: str, params: list, args: list, outputs: list, needs: tuple) -> tuple | None:
    """Traces the gradient of an operator for one kind of call.

    Args:
        op: name in the table.
        overload: name the operator was called by, for messages.
        params: (name, kind, is static) for each parameter.
        args: values; tensors as (dtype, ndim, sizes).
        outputs: (dtype, ndim, sizes) of each output.
        needs: for each tensor parameter whether its gradient is needed; a tuple for lists.

    Returns:
        (kept, code, results, first gradient's slot, slots, parameters whose values were looked at), or None.
    """
    entry = TABLE[op]
    if entry.grad is None:
        return None
    n, m = len(params), len(outputs)
    record = _Trace(op, n + 2 * m, tuple(p[0] for p in params))
    stand_ins = [_stand_in(record, i, *p, a) for i, (p, a) in enumerate(zip(params, args, strict=True))]
    saved = [Slot(record, ("slot", n + i), d) for i, d in enumerate(outputs)]
    g = tuple(
        Slot(record, ("slot", n + m + i), d) if d[0].is_floating_point or d[0].is_complex else None
        for i, d in enumerate(outputs)
    )
    got = entry.grad(Operators(record, needs, saved), g[0] if m == 1 else g, *stand_ins)
    results = _flat_results(op, got, params, stand_ins, needs)
    code = _live_code(record.code, results)
    reads = set().union(_reads(results), *(_reads(c[2]) for c in code))
    first_gradient = n + m
    kept = [
        (slot >= n, slot - n if slot >= n else slot, (slot, True) in reads)
        for slot in sorted({slot for slot, _ in reads if slot < first_gradient})
    ]
    return kept, _with_drops(code, results, first_gradient), results, first_gradient, record.n_slots, record.by_value
