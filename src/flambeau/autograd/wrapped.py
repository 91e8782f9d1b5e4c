"""Tensors that stand for something else inside a transformed function: one example of a batch, a value with a tangent.

A transform opens a level. A wrapped tensor belongs to one; what it wraps may belong to an outer one. A call is handed
to the innermost level among its arguments, which calls the operator again on what it has unwrapped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad, operands
from flambeau.ops.names import operators as ops
from flambeau.ops.signature import Param, parse

__all__ = ["DataAccess", "Level", "Operation", "Wrapped"]


class DataAccess(RuntimeError):
    """A function that cannot run on all examples at once: it looks at elements, or writes into what they share."""


class Wrapped(Tensor):
    """A tensor of a level. Sizes, strides and dtype are those of the value that the function's author thinks of."""

    _asks_nobody = True
    level: "Level"
    inner: Tensor

    @classmethod
    def make(cls, shown: Tensor, level: "Level", inner: Tensor) -> "Wrapped":
        """A tensor that looks like `shown` (its elements are not used) and wraps `inner`."""
        made = Tensor._make_subclass(cls, shown)
        made.level, made.inner = level, inner
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        innermost = max((t.level for t in _wrapped(args, kwargs)), key=lambda level: level.number)
        return innermost.call(func, args, kwargs or {})

    def over(self, inner: Tensor) -> "Wrapped":
        """A tensor of the same level over another one of the same sizes."""
        raise NotImplementedError

    def cut(self) -> Tensor:
        """The same value without history on the tape."""
        return self.over(cut(self.inner))

    def leaf(self) -> Tensor:
        """The same value as something to differentiate by."""
        return self.over(leaf(self.inner))

    def bottom(self) -> Tensor:
        """The plain tensor under all levels."""
        return self.inner.bottom() if isinstance(self.inner, Wrapped) else self.inner

    def twin(self) -> "Wrapped":
        """Another tensor that stands for the same."""
        made = self.make(self, self.level, self.inner)
        made.__dict__.update(self.__dict__)
        return made

    @property
    def has_tangent(self) -> bool:
        """Whether forward mode follows the value, at any level."""
        return isinstance(self.inner, Wrapped) and self.inner.has_tangent

    # What the tape knows stands with the plain tensor.

    @property
    def requires_grad(self) -> bool:
        return self.inner.requires_grad

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self.inner.requires_grad = on

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.inner.requires_grad_(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        return self.inner.is_leaf

    @property
    def grad_fn(self) -> Any:
        return self.inner.grad_fn

    @property
    def data(self) -> Tensor:
        return self.detach()


@contextmanager
def unseen() -> Iterator[None]:
    """No call is seen in the block."""
    _core.switch_all(1)
    try:
        yield
    finally:
        _core.switch_all(-1)


def cut(t: Tensor) -> Tensor:
    """The same value without history on the tape, at every level."""
    return t.cut() if isinstance(t, Wrapped) else t.detach()


def leaf(t: Tensor) -> Tensor:
    """The same value as something to differentiate by: part of the caller's graph where it has one."""
    if isinstance(t, Wrapped):
        return t.leaf()
    return ops.alias(t) if t.requires_grad else t.detach().requires_grad_()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def _wrapped(args: Sequence[Any], kwargs: dict | None) -> Iterator[Wrapped]:
    return (t for t in tensors_in((*args, *(kwargs or {}).values())) if isinstance(t, Wrapped))


def over_tensors(f: Callable[[Tensor], Any], value: Any) -> Any:
    """A value with `f` applied to its tensors; lists and tuples are gone through."""
    if isinstance(value, Tensor):
        return f(value)
    if isinstance(value, list | tuple):
        return rebuilt(value, [over_tensors(f, v) for v in value])
    return value


def rebuilt(like: list | tuple, items: list) -> Any:
    """A list, tuple, named tuple or `return_types` structure like another one, of other items."""
    kind = type(like)
    return kind(*items) if hasattr(kind, "_make") else kind(items)


class Operation:
    """One call of an operator of the table, its arguments by parameter."""

    __slots__ = ("entry", "func", "params", "values")

    def __init__(self, func: Any, entry: Any, params: tuple[Param, ...], values: list[Any]):
        self.func, self.entry, self.params, self.values = func, entry, params, values

    @classmethod
    def bound(cls, func: Any, args: tuple, kwargs: dict) -> tuple["Operation", Any] | None:
        """A call by parameter, and its out=; None for a function that is not in the table or reads its arguments."""
        bound = _core.bound_call(func, args, kwargs) if isinstance(func, _OPERATORS) else None
        if bound is None:
            return None
        entry, index, values, out = bound
        return cls(func, entry, parse(entry.signatures[index])[0], values), out

    @property
    def name(self) -> str:
        """The name of the entry, `max.dim`."""
        return self.entry.name

    @property
    def in_place(self) -> bool:
        return bool(self.params) and self.params[0].written

    def arguments(self) -> dict[str, Any]:
        return {p.name: v for p, v in zip(self.params, self.values, strict=True)}

    def run(self, values: Sequence[Any]) -> Any:
        """Calls the operator with other values."""
        pairs = list(zip(self.params, values, strict=True))
        positional = [v for p, v in pairs if not p.keyword_only]
        named = {p.name: v for p, v in pairs if p.keyword_only}
        return self.func(*positional, **named)

    def replaced(self, **values: Any) -> list[Any]:
        """The arguments, some replaced."""
        return [values.get(p.name, v) for p, v in zip(self.params, self.values, strict=True)]


class Level:
    """A transform that is running."""

    _count = 0

    def __init__(self) -> None:
        Level._count += 1
        self.number = Level._count
        self._expanding: Any = None

    def call(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """A call some of whose arguments belong to this level."""
        if self._expanding is func:
            self._expanding = None
            return _core.no_opinion
        special = self._special(func)
        if special is not None:
            return special(*args, **kwargs)
        bound = Operation.bound(func, args, kwargs)
        if bound is None:
            return self.expand(func, args, kwargs)
        operation, out = bound
        if out is not None:
            raise RuntimeError(f"{operation.entry.base_name}(): out= is not supported inside of {self.title}")
        return self.operate(operation, args, kwargs)

    def expand(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Runs a function that is written over other operators; those are seen in their turn."""
        self._expanding = func
        try:
            return func(*args, **kwargs)
        finally:
            self._expanding = None

    def _special(self, func: Any) -> Callable[..., Any] | None:
        """What runs instead of a function that is not in the table."""
        if func is Tensor.__getitem__:
            return self.getitem
        if func is Tensor.__setitem__:
            return self.setitem
        return self._grad if func is grad else None

    def _grad(
        self, outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
        create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
        is_grads_batched: bool = False, materialize_grads: bool = False,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        if is_grads_batched:
            raise RuntimeError(f"grad(is_grads_batched=True) is not supported inside of {self.title}")
        keep = create_graph if retain_graph is None else retain_graph
        return self.gradients(
            *operands(outputs, inputs, grad_outputs), keep, create_graph=create_graph, allow_unused=allow_unused,
            materialize_grads=materialize_grads,
        )  # fmt: skip

    # What a transform says.

    title = "a transform"

    def getitem(self, tensor: Tensor, index: Any) -> Any:
        """tensor[index]"""
        raise NotImplementedError

    def setitem(self, tensor: Tensor, index: Any, value: Any) -> None:
        """tensor[index] = value"""
        raise NotImplementedError

    def gradients(
        self, roots: tuple[Tensor, ...], wanted: tuple[Tensor, ...], seeds: tuple[Tensor | None, ...], keep: bool,
        **options: Any,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Gradients of tensors of this level; `options` are those of `grad`."""
        raise NotImplementedError

    def operate(self, operation: Operation, args: tuple, kwargs: dict) -> Any:
        """Runs an operator of the table."""
        raise NotImplementedError


_OPERATORS = (_core.OpFunction, _core.OpMethod)
