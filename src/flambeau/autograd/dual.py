"""Forward mode: values that carry a tangent.

The tangent of a call needs no rule of its own. With the gradient v -> J^T v of an operator, which is linear in v, the
tangent J t is the gradient of that. Linear and bilinear operators, most of what costs time, are simply applied to the
tangents.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad
from flambeau.autograd.grad_mode import enable_grad
from flambeau.autograd.wrapped import (
    Level,
    Operation,
    Wrapped,
    cut,
    leaf,
    over_tensors,
    rebuilt,
    tensors_in,
    unseen,
)
from flambeau.ops.names import operators as ops

__all__ = ["Dual", "DualLevel", "tangent_of"]

# Linear in their first argument, the only tensor that they take.
_LINEAR = frozenset(
    {
        "view", "_unsafe_view", "reshape", "flatten", "transpose", "t", "permute", "expand", "broadcast_to", "squeeze",
        "squeeze.dims", "unsqueeze", "alias", "select.int", "slice.Tensor", "narrow", "diagonal", "unbind.int",
        "split.Tensor", "split_with_sizes", "unfold", "as_strided", "sum_to_size", "view_as_real", "view_as_complex",
        "clone", "contiguous", "neg", "sum", "mean", "cumsum", "flip", "rolled", "select_backward", "slice_backward",
        "narrow_backward", "diagonal_backward", "real", "imag", "mT", "movedim",
    }
)  # fmt: skip
# Linear in each of their first two arguments.
_BILINEAR = frozenset(["mul", "matmul", "mm", "bmm", "mv", "dot", "linear", "conv1d", "conv2d", "conv3d"])
_ADDED = {"linear", "conv1d", "conv2d", "conv3d"}  # with a bias as the third
# In-place forms by which a tensor becomes a view of itself.
_VIEW_CHANGES = frozenset(
    ["transpose_", "swapaxes_", "swapdims_", "t_", "squeeze_", "squeeze_.dims", "unsqueeze_", "as_strided_"]
)


class Dual(Wrapped):
    """A value (`inner`) with its tangent."""

    tangent: Tensor

    @classmethod
    def wrap(cls, level: "DualLevel", primal: Tensor, tangent: Tensor) -> "Dual":
        made = cls.make(primal, level, primal)
        made.tangent = tangent
        return made

    def over(self, inner: Tensor) -> "Dual":
        return Dual.wrap(self.level, inner, self.tangent)

    def cut(self) -> Tensor:
        return Dual.wrap(self.level, cut(self.inner), cut(self.tangent))

    def detach(self) -> Tensor:
        return self.inner.detach()

    @property
    def has_tangent(self) -> bool:
        return True

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.inner!r} with tangent {self.tangent!r}"

    def _plain(name: str) -> Callable[..., Any]:
        def method(self: "Dual", *args: Any, **kwargs: Any) -> Any:
            return getattr(self.inner, name)(*args, **kwargs)

        method.__name__ = name
        return method

    item, tolist, numpy, data_ptr = _plain("item"), _plain("tolist"), _plain("numpy"), _plain("data_ptr")
    __bool__, __int__, __float__ = _plain("__bool__"), _plain("__int__"), _plain("__float__")
    __index__, __complex__, __array__ = _plain("__index__"), _plain("__complex__"), _plain("__array__")


def tangent_of(t: Any, level: Level) -> Tensor | None:
    """The tangent that a value has at a level."""
    return t.tangent if isinstance(t, Dual) and t.level is level else None


def _same(t: Tensor) -> Tensor:
    """Another tensor of the same elements and history."""
    return ops.alias(t) if t.requires_grad else t.detach()


def _extent(t: Tensor) -> int:
    """How many elements of the storage a tensor spans."""
    return 1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) if t.numel() else 0


def _forget(leaves: Iterable[Tensor]) -> None:
    """Nobody differentiates by these leaves again, though histories go on to end in them."""
    for t in leaves:
        if t.is_leaf:
            t.requires_grad_(False)


def _is_differentiable(t: Any) -> bool:
    return isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())


class DualLevel(Level):
    """A forward-mode derivative that is being taken."""

    title = "forward mode"

    def __init__(self) -> None:
        super().__init__()
        self._adopted: list[tuple[Tensor, type, dict]] = []

    def close(self) -> None:
        """Ends the derivative: tensors of others that were given a tangent become what they were."""
        while self._adopted:
            t, kind, own = self._adopted.pop()
            t._become(kind)
            t.__dict__.clear()
            t.__dict__.update(own)

    def primal(self, t: Tensor) -> Tensor:
        return t.inner if isinstance(t, Dual) and t.level is self else t

    def primals(self, values: Any) -> Any:
        return over_tensors(self.primal, values)

    def operate(self, operation: Operation, args: tuple, kwargs: dict) -> Any:
        kind = operation.entry.body.kind
        carries = any(tangent_of(t, self) is not None for t in tensors_in(operation.values))
        if not operation.entry.differentiable or not carries:
            return operation.run(self.primals(operation.values))
        if operation.in_place:
            return self._change(operation)
        if operation.name in _LINEAR:
            return self._linear(operation)
        if operation.name in _BILINEAR:
            return self._bilinear(operation)
        if kind == "composite" and operation.entry.grad is None:
            return self.expand(operation.func, args, kwargs)
        return self._paired(*self._pushed(operation, self.primals(operation.values)))

    def _linear(self, operation: Operation) -> Any:
        result = operation.run(self.primals(operation.values))
        x, *rest = operation.values
        if operation.name == "as_strided":
            rest = self._moved_strides(x, *rest)
        tangents = operation.run([x.tangent, *rest])
        return self._paired(result, tangents)

    def _moved_strides(self, x: Dual, size: Any, stride: Any, offset: int | None) -> list[Any]:
        """What as_strided takes of the tangent, once that lies in memory as the value does."""
        if x.tangent.stride() != x.stride():
            buffer = ops.zeros(_extent(x), dtype=x.dtype, device=x.device)
            x.tangent = ops.as_strided(buffer, x.shape, x.stride(), 0).copy_(x.tangent)
        at = x.storage_offset() if offset is None else offset
        return [size, stride, at - x.storage_offset() + x.tangent.storage_offset()]

    def _bilinear(self, operation: Operation) -> Any:
        values = self.primals(operation.values)
        result = operation.run(values)
        tangents = [tangent_of(v, self) for v in operation.values[:3]]
        without = [None if i == 2 and operation.name in _ADDED else v for i, v in enumerate(values)]
        parts = [
            operation.run([tangents[k] if i == k else v for i, v in enumerate(without)])
            for k in (0, 1)
            if tangents[k] is not None
        ]
        if operation.name in _ADDED and tangents[2] is not None:
            bias, spatial = tangents[2], values[1].ndim - 2
            parts.append(ops.expand(bias.reshape((-1, *(1,) * spatial)) if spatial > 0 else bias, result.shape))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return self._paired(result, total if total.dtype == result.dtype else total.to(result.dtype))

    def _pushed(self, operation: Operation, values: list[Any]) -> tuple[Any, Any]:
        """Result and tangents of a call: the gradient of the gradient."""
        seen = {id(t): t for t in tensors_in(operation.values) if tangent_of(t, self) is not None}
        moving = [t for t in seen.values() if _is_differentiable(t)]
        recorded = _core.is_grad_enabled() and any(
            t.requires_grad for t in (*tensors_in(values), *(m.tangent for m in moving))
        )
        with enable_grad():
            leaves = {id(t): leaf(t.inner) for t in moving}
            inputs = over_tensors(lambda t: leaves.get(id(t), self.primal(t)), operation.values)
            if operation.in_place:
                inputs[0] = inputs[0].clone()
            result = operation.run(inputs)
            outputs = [y for y in tensors_in((result,)) if y.requires_grad and _is_differentiable(y)]
            tangents = self._tangents(outputs, [leaves[id(t)] for t in moving], [t.tangent for t in moving], recorded)
        _forget(leaves.values())
        by_output = {id(y): t for y, t in zip(outputs, tangents, strict=True)}
        paired = over_tensors(lambda y: by_output.get(id(y)), result)
        if recorded:
            return result, paired
        return over_tensors(cut, result), over_tensors(cut, paired)

    def _tangents(
        self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], moves: Sequence[Tensor], recorded: bool
    ) -> list[Tensor | None]:
        if not outputs:
            return []
        seeds = [leaf(ops.zeros_like(cut(y))) for y in outputs]
        pulled = grad(outputs, inputs, seeds, create_graph=True, allow_unused=True)
        pairs = [(g, t) for g, t in zip(pulled, moves, strict=True) if g is not None and g.requires_grad]
        if not pairs:
            return [None] * len(outputs)
        # The gradient of <J^H u, t> by u is conj(J conj(t))'s conjugate: J t, in PyTorch's convention.
        moved = grad([g for g, _ in pairs], seeds, [t for _, t in pairs], create_graph=recorded, allow_unused=True)
        _forget(seeds)
        return list(moved)

    def _paired(self, result: Any, tangents: Any) -> Any:
        """Results with their tangents, in the structure of the results."""
        if isinstance(result, Tensor):
            return result if tangents is None else Dual.wrap(self, result, tangents)
        if not isinstance(result, list | tuple):
            return result
        items = [self._paired(r, t) for r, t in zip(result, tangents, strict=True)]
        return rebuilt(result, items)

    def _change(self, operation: Operation) -> Any:
        """A change in place: of the value, and of its tangent."""
        target = self._followed(operation.values[0])
        if operation.name in _VIEW_CHANGES:
            return self._view_changed(operation, target)
        values = self.primals(operation.values)
        if operation.name in ("copy_", "zero_", "fill_.Scalar"):
            source = tangent_of(operation.values[1], self) if operation.name == "copy_" else None
            operation.run(values)
            target.tangent.copy_(source) if source is not None else target.tangent.zero_()
            return target
        result, tangent = self._pushed(operation, values)
        target.inner.copy_(result)  # once: random numbers are drawn in it
        target.tangent.zero_() if tangent is None else target.tangent.copy_(tangent)
        return target

    def _view_changed(self, operation: Operation, target: Dual) -> Dual:
        """`t_` and its like: value, tangent, and what the dual tensor looks like."""
        for t in (target.inner, target.tangent):
            operation.run([t, *operation.values[1:]])
        with unseen():
            operation.run(operation.values)
        return target

    def _followed(self, target: Tensor) -> Dual:
        """What is changed in place by a tensor with a tangent has one from now on, and so has what it is a view of."""
        if isinstance(target, Dual) and target.level is self:
            return target
        if isinstance(target, Wrapped):
            if target.bottom()._base is not None:
                raise RuntimeError(
                    "a view without tangent cannot be changed in place by a tensor that has one inside of another "
                    "transform. Use the form that returns a new tensor, or make the tensor from one with a tangent "
                    "(zeros_like)."
                )
            return self._adopt(target, target.twin(), ops.zeros_like(target))
        base = target._base
        if base is None:
            return self._adopt(target, _same(target), ops.zeros_like(target))
        if not isinstance(base, Dual):
            buffer = ops.zeros(_extent(base), dtype=base.dtype, device=base.device)
            self._adopt(base, _same(base), ops.as_strided(buffer, base.shape, base.stride(), 0))
        offset = base.tangent.storage_offset() + target.storage_offset() - base.storage_offset()
        return self._adopt(target, _same(target), ops.as_strided(base.tangent, target.shape, target.stride(), offset))

    def _adopt(self, target: Tensor, inner: Tensor, tangent: Tensor) -> Dual:
        self._adopted.append((target, type(target), dict(target.__dict__)))
        target._become(Dual)
        target.level, target.inner, target.tangent = self, inner, tangent
        return target

    def getitem(self, tensor: Tensor, index: Any) -> Any:
        index, tangent = self.primals(index), tangent_of(tensor, self)
        value = self.primal(tensor)[index]
        return value if tangent is None else Dual.wrap(self, value, tangent[index])

    def setitem(self, tensor: Tensor, index: Any, value: Any) -> None:
        index, moved = self.primals(index), tangent_of(value, self)
        if tangent_of(tensor, self) is None and moved is None:  # the index alone has a tangent
            tensor[index] = self.primals(value)
            return
        tensor = self._followed(tensor)
        tensor.inner[index] = self.primals(value)
        tensor.tangent[index] = 0 if moved is None else moved

    def gradients(
        self, roots: tuple[Tensor, ...], wanted: tuple[Tensor, ...], seeds: tuple[Tensor | None, ...], keep: bool,
        **options: Any,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Reverse mode inside of forward mode: the tangent of a gradient is the gradient of the outputs' tangents."""
        pairs = [(y, ops.ones_like(cut(self.primal(y))) if g is None else g) for y, g in zip(roots, seeds, strict=True)]
        leaves = [self.primal(x) for x in wanted]
        found = grad(
            [self.primal(y) for y, _ in pairs], leaves, [self.primal(g) for _, g in pairs], retain_graph=True, **options
        )
        moved = [(tangent_of(y, self), self.primal(g)) for y, g in pairs]
        moved += [(self.primal(y), tangent_of(g, self)) for y, g in pairs]
        live = [(y, g) for y, g in moved if y is not None and g is not None and y.requires_grad]
        if not live:
            return found
        options |= {"allow_unused": True, "materialize_grads": False}
        tangents = grad([y for y, _ in live], leaves, [g for _, g in live], retain_graph=True, **options)
        return tuple(
            g if g is None or t is None else Dual.wrap(self, g, t) for g, t in zip(found, tangents, strict=True)
        )
