"""Derivatives of functions: vector-Jacobian and Jacobian-vector products, Jacobians and Hessians."""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad
from flambeau.ops.names import operators as ops

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | Sequence[Tensor]


def _as_tuple(x: Any, what: str, function: str) -> tuple[bool, tuple[Tensor, ...]]:
    is_tuple = isinstance(x, list | tuple)
    items = tuple(x) if is_tuple else (x,)
    for i, t in enumerate(items):
        if not isinstance(t, Tensor):
            where = f"value at index {i}" if is_tuple else f"given {what}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the {where} has "
                f"type {type(t)}."
            )
    return is_tuple, items


def _differentiable(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """Tensors to differentiate by: part of the caller's graph where one is made, else detached."""
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _call(func: Callable[..., Any], inputs: tuple[Tensor, ...], function: str) -> tuple[bool, tuple[Tensor, ...]]:
    with _core.enable_grad():
        return _as_tuple(func(*inputs), "outputs of the user-provided function", function)


def _grads(outputs, inputs, vectors, create_graph, strict, what) -> tuple[Tensor, ...]:
    """Gradients, zeros where there are none; with `strict` independence is an error."""
    live = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if strict and len(live) < len(outputs):
        i = next(i for i, o in enumerate(outputs) if not o.requires_grad)
        raise RuntimeError(
            f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
            f"differentiable manner from the input when running in strict mode."
        )
    if not live:
        return tuple(ops.zeros_like(x) for x in inputs)
    got = grad([o for o, _ in live], inputs, [v for _, v in live], True, create_graph, allow_unused=True)
    for i, g in enumerate(got):
        if g is None and strict:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}. This is not allowed in strict "
                f"mode{what}."
            )
    return tuple(ops.zeros_like(x) if g is None else g for g, x in zip(got, inputs, strict=True))


def _vectors(v: Any, like: Sequence[Tensor], what: str) -> tuple[Tensor, ...]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if the {what} a single Tensor with a single element.")
        return tuple(ops.ones_like(x) for x in like)
    vectors = tuple(v) if isinstance(v, list | tuple) else (v,)
    if len(vectors) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}.")
    for i, (a, b) in enumerate(zip(vectors, like, strict=True)):
        if a.shape != b.shape:
            entry = f"Entry {i} in v" if len(like) > 1 else "v"
            raise RuntimeError(f"{entry} has invalid size: should be {b.shape} but got {a.shape}.")
    return vectors


def _result(is_tuple: bool, items: Sequence[Tensor], create_graph: bool) -> Any:
    items = tuple(items) if create_graph else tuple(t.detach() for t in items)
    return items if is_tuple else items[0]


def vjp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The function's outputs, and the vector `v` times the Jacobian.

    Args:
        func: takes tensors, gives a tensor or a tuple of tensors.
        inputs: its arguments.
        v: shaped like the outputs; None where there is one output of one element.
        create_graph: makes the results differentiable.
        strict: raises where an output does not depend on an input, instead of giving zeros.
    """
    is_tuple, given = _as_tuple(inputs, "inputs", "vjp")
    given = _differentiable(given, create_graph)
    out_tuple, outputs = _call(func, given, "vjp")
    products = _grads(outputs, given, _vectors(v, outputs, "user-provided function returns"), create_graph, strict, "")
    return _result(out_tuple, outputs, create_graph), _result(is_tuple, products, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The function's outputs, and the Jacobian times the vector `v`, by differentiating a vector-Jacobian product.

    Args:
        func: takes tensors, gives a tensor or a tuple of tensors.
        inputs: its arguments.
        v: shaped like the inputs; None where there is one input of one element.
        create_graph: makes the results differentiable.
        strict: raises where an output does not depend on an input, instead of giving zeros.
    """
    _, given = _as_tuple(inputs, "inputs", "jvp")
    given = _differentiable(given, create_graph)
    vectors = _vectors(v, given, "input to the user-provided function is")
    out_tuple, outputs = _call(func, given, "jvp")
    dummies = tuple(ops.zeros_like(o).requires_grad_() for o in outputs)
    with _core.enable_grad():
        products = _grads(outputs, given, dummies, True, strict, "")
    tangents = _grads(products, dummies, vectors, create_graph, False, "")
    return _result(out_tuple, outputs, create_graph), _result(out_tuple, tangents, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian: for each output and input a tensor of the output's sizes followed by the input's.

    Args:
        func: takes tensors, gives a tensor or a tuple of tensors.
        inputs: its arguments.
        create_graph: makes the result differentiable.
        strict: raises where an output does not depend on an input, instead of giving zeros.
        vectorize: accepted; rows are computed one by one.
        strategy: "reverse-mode" or "forward-mode"; both give the same.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: got {strategy!r}.'
        )
    is_tuple, given = _as_tuple(inputs, "inputs", "jacobian")
    given = _differentiable(given, create_graph)
    out_tuple, outputs = _call(func, given, "jacobian")
    blocks = tuple(_rows(o, given, create_graph, strict) for o in outputs)
    blocks = tuple(b if is_tuple else b[0] for b in blocks)
    return blocks if out_tuple else blocks[0]


def _rows(output: Tensor, inputs: Sequence[Tensor], create_graph: bool, strict: bool) -> tuple[Tensor, ...]:
    if output.numel() == 0:
        return tuple(ops.zeros((*output.shape, *x.shape), dtype=x.dtype) for x in inputs)
    flat = output.reshape(-1)
    rows = [
        _grads((flat[j],), inputs, (ops.ones_like(flat[j]),), create_graph, strict, "") for j in range(flat.numel())
    ]
    columns = zip(*rows, strict=True)
    blocks = tuple(
        ops.stack(column).reshape((*output.shape, *x.shape)) for column, x in zip(columns, inputs, strict=True)
    )
    return blocks if create_graph else tuple(b.detach() for b in blocks)


def _scalar(func: Callable[..., Any], function: str) -> Callable[..., Tensor]:
    def checked(*inputs: Tensor) -> Tensor:
        is_tuple, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", function)
        if is_tuple or outputs[0].numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {function} should contain a single element"
            )
        return outputs[0].reshape(())

    return checked


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a function with one element as output: for each pair of inputs a tensor of both their sizes.

    Args:
        func: takes tensors, gives a tensor of one element.
        inputs: its arguments.
        create_graph: makes the result differentiable.
        strict: raises where the output does not depend on an input, instead of giving zeros.
        vectorize: accepted; rows are computed one by one.
        outer_jacobian_strategy: accepted; both strategies give the same.
    """
    is_tuple, _ = _as_tuple(inputs, "inputs", "hessian")
    scalar = _scalar(func, "hessian")

    def gradient(*given: Tensor) -> Any:
        got = jacobian(scalar, given, create_graph=True, strict=strict)
        return got if is_tuple else got[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The function's output (one element), and the vector `v` times its Hessian; arguments as in `vjp`."""
    is_tuple, given = _as_tuple(inputs, "inputs", "vhp")
    given = _differentiable(given, create_graph)
    vectors = _vectors(v, given, "input to the user-provided function is")
    with _core.enable_grad():
        output = _scalar(func, "vhp")(*given)
        first = _grads((output,), given, (ops.ones_like(output),), True, strict, "")
    products = _grads(first, given, vectors, create_graph, strict, "")
    return _result(False, (output,), create_graph), _result(is_tuple, products, create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The function's output (one element), and its Hessian times the vector `v`: the Hessian is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
