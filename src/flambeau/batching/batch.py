"""One example of a batch, as vmap's function sees it, and how operators of the table run on the whole batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad
from flambeau.autograd.grad_mode import no_grad
from flambeau.autograd.wrapped import (
    DataAccess,
    Level,
    Operation,
    Wrapped,
    cut,
    over_tensors,
    rebuilt,
    tensors_in,
    unseen,
)
from flambeau.batching import rules, rules_index
from flambeau.ops.names import operators as ops

__all__ = ["BatchLevel", "Batched", "lifted"]

_LOOKS = (
    "item", "tolist", "numpy", "data_ptr", "__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__"
)  # fmt: skip


class Batched(Wrapped):
    """One example. `inner` holds all of them, along its first dimension."""

    level: "BatchLevel"

    @classmethod
    def wrap(cls, level: "BatchLevel", inner: Tensor) -> "Batched":
        with no_grad(), unseen():
            if inner.shape[0]:
                shown = ops.select(inner, 0, 0)
            else:  # there is no example to show
                shown = ops.empty(inner.shape[1:], dtype=inner.dtype, device=inner.device)
        return cls.make(shown, level, inner)

    def over(self, inner: Tensor) -> "Batched":
        return Batched.wrap(self.level, inner)

    def detach(self) -> Tensor:
        return self.over(self.inner.detach())

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"BatchedTensor(level {self.level.number}, {self.level.size} examples, value={self.inner!r})"

    def _refused(name: str) -> Callable[..., Any]:
        shown = "item" if name in ("int", "float", "index", "complex") else name  # what PyTorch reads numbers by

        def method(self: "Batched", *args: Any, **kwargs: Any) -> Any:
            raise DataAccess(
                f"vmap: It looks like you're calling .{shown}() on a Tensor. We don't support vmap over calling "
                f".{shown}() on a Tensor, please try to rewrite what you're doing with other operations. If error is "
                "occurring somewhere inside PyTorch internals, please file a bug report. [each of the "
                f"{self.level.size} examples has a value of its own; data-dependent control flow needs torch.where]"
            )

        method.__name__ = name
        return method

    for _name in _LOOKS:
        locals()[_name] = _refused(_name.strip("_"))
    del _name


def lifted(t: Tensor, levels: Sequence["BatchLevel"]) -> Tensor:
    """A tensor that is batched at all of these levels (outermost first), so that each example has one of its own."""
    if not levels:
        return t
    if isinstance(t, Wrapped) and t.level.number > levels[-1].number and not isinstance(t, Batched):
        return t.over(lifted(t.inner, levels))
    last = levels[-1]
    inner = t.inner if last.holds(t) else ops.expand(t, (last.size, *t.shape))
    return Batched.wrap(last, lifted(inner, levels[:-1]))


class BatchLevel(Level):
    """A vmap that is running.

    Attributes:
        size: how many examples there are.
        randomness: "error", "same" or "different".
    """

    title = "vmap"

    def __init__(self, size: int, randomness: str):
        super().__init__()
        self.size, self.randomness = size, randomness

    def holds(self, t: Any) -> bool:
        """Whether a value is a tensor of this level."""
        return isinstance(t, Batched) and t.level is self

    def wrap(self, result: Any) -> Any:
        """Results of the whole batch, as one example."""
        return over_tensors(lambda t: Batched.wrap(self, t), result)

    def physical(self, t: Tensor, ndim: int | None = None) -> Tensor:
        """All examples of a tensor, the batch first; `ndim` dimensions follow it. Others are repeated (as a view)."""
        whole = t.inner if self.holds(t) else ops.expand(t, (self.size, *t.shape))
        missing = 0 if ndim is None else ndim - t.ndim
        return whole if missing <= 0 else whole.reshape((self.size, *(1,) * missing, *t.shape))

    def aligned(self, t: Any, ndim: int) -> Any:
        """A tensor as it broadcasts against examples of `ndim` dimensions; what is not of this level, as it is."""
        return self.physical(t, ndim) if self.holds(t) else t

    def example(self, t: Any, i: int) -> Any:
        """One example of a tensor of this level; anything else as it is."""
        return t.inner[i] if self.holds(t) else t

    # ---- calls

    def operate(self, operation: Operation, args: tuple, kwargs: dict) -> Any:
        if not any(self.holds(t) for t in tensors_in(operation.values)):
            return operation.run(operation.values)
        if operation.in_place:
            self._check_target(operation.entry.base_name.removesuffix("_"), operation.values[0])
        rule = rules.find(operation)
        if rule is not None:
            result = rule(self, operation)
            if result is not NotImplemented:
                return self._finish(operation, result)
        elif operation.entry.body.kind == "composite":
            try:
                return self.expand(operation.func, self._shared(operation, args), kwargs)
            except DataAccess:
                if operation.in_place:
                    raise
        return self._finish(operation, self.one_by_one(operation))

    def _shared(self, operation: Operation, args: tuple) -> tuple:
        """The arguments, made those of each example where examples must differ in what is drawn at random."""
        if self.randomness != "different" or operation.entry.base_name not in rules.DRAWING:
            return args
        return over_tensors(lambda t: Batched.wrap(self, self.physical(t)), args)

    def _finish(self, operation: Operation, result: Any) -> Any:
        return operation.values[0] if operation.in_place else self.wrap(result)

    def _check_target(self, name: str, target: Tensor) -> None:
        if not self.holds(target):
            raise DataAccess(
                f"vmap: {name}_(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
                "that has more elements than `self`. This happened due to `other` being vmapped over but `self` not "
                f"being vmapped over at level {self.number}. Please try to use out-of-place operators instead of "
                f"{name}_. If said operator is being called inside the PyTorch framework, please file a bug report "
                "instead."
            )

    def one_by_one(self, operation: Operation) -> Any:
        """The operator example by example: for what has no rule."""
        if self.size == 0:
            raise RuntimeError(
                f"vmap: {operation.entry.base_name} has no batching rule, and there is no example to learn the "
                "result's sizes from: the fallback path does not support vmap over dims of size 0."
            )
        results = []
        for i in range(self.size):
            results.append(operation.run(over_tensors(partial(self.example, i=i), operation.values)))
        return results[0] if operation.in_place else _stacked(operation.entry.base_name, results)

    # ---- indexing

    def getitem(self, tensor: Tensor, index: Any) -> Any:
        return rules.getitem(self, tensor, index)

    def setitem(self, tensor: Tensor, index: Any, value: Any) -> None:
        self._check_target("index_put", tensor)
        rules.setitem(self, tensor, index, value)

    # ---- gradients

    def gradients(
        self, roots: tuple[Tensor, ...], wanted: tuple[Tensor, ...], seeds: tuple[Tensor | None, ...], keep: bool,
        **options: Any,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Gradients of each example: examples do not touch each other, so one pass over the batch gives all."""
        for y, g in zip(roots, seeds, strict=True):
            if g is None and y.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
        given = [ops.ones_like(cut(y)) if g is None else g for y, g in zip(roots, seeds, strict=True)]
        if all(map(self.holds, (*roots, *wanted))):
            found = grad(
                [y.inner for y in roots], [x.inner for x in wanted], [self.physical(g) for g in given],
                retain_graph=keep, **options,
            )  # fmt: skip
            return tuple(None if g is None else Batched.wrap(self, g) for g in found)
        rows = []
        for i in range(self.size):
            ys = [self.physical(y)[i] for y in roots]
            xs = [x.inner if self.holds(x) else x for x in wanted]
            row = grad(ys, xs, [self.physical(g)[i] for g in given], retain_graph=keep or i + 1 < self.size, **options)
            rows.append([g[i] if g is not None and self.holds(x) else g for g, x in zip(row, wanted, strict=True)])
        return tuple(
            None if column[0] is None else Batched.wrap(self, ops.stack(column)) for column in zip(*rows, strict=True)
        )

    # ---- random numbers

    def draw(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Sees every operator in the block, for those that draw random numbers."""
        if func.__name__ not in rules.RANDOM:
            return _core.no_opinion
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                "'different' randomness flags on vmap or perform the randomness operation out of vmap"
            )
        bound = Operation.bound(func, args, kwargs or {})
        if bound is None:
            return _core.no_opinion
        operation, _ = bound
        if operation.entry.body.kind == "composite":
            return _core.no_opinion
        return rules.draw(self, operation)


def _stacked(name: str, results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        what = f"output dynamic shape. Attempted to vmap over aten::{name.removesuffix('_mask')}."
        return rules_index.stacked(results, what)
    if isinstance(first, list | tuple):
        return rebuilt(first, [_stacked(name, list(column)) for column in zip(*results, strict=True)])
    if any(r != first for r in results):
        raise DataAccess(
            f"vmap: {name} gives different results for different examples ({first!r} and others): a value that is no "
            "tensor cannot differ from example to example. It looks like you're attempting to use a Tensor in some "
            "data-dependent control flow."
        )
    return first
