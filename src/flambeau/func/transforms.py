"""Derivatives as functions of functions: grad, vjp, jvp, Jacobians, the Hessian."""

import functools
from collections.abc import Callable
from contextlib import closing
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad as gradients
from flambeau.autograd.dual import Dual, DualLevel, tangent_of
from flambeau.autograd.grad_mode import enable_grad
from flambeau.autograd.wrapped import Wrapped, cut, leaf
from flambeau.batching.batch import lifted
from flambeau.batching.vmap import active_levels, vmap
from flambeau.ops.names import operators as ops
from flambeau.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]


def _bottom(t: Tensor) -> Tensor:
    return t.bottom() if isinstance(t, Wrapped) else t


def _free(tree: Any, leaves: list[Tensor]) -> Any:
    """Results without the leaves in their history; what the caller differentiates by stays there."""
    own = [_bottom(x) for x in leaves]
    made = [x for x in own if x.is_leaf]

    def release(t: Any) -> Any:
        if not isinstance(t, Tensor) or not t.requires_grad:
            return t
        return t if _core.has_other_leaves([_bottom(t)], made) else cut(t)

    return tree_map(release, tree)


def _own(tree: Any) -> tuple[Any, list[Tensor]]:
    """Arguments as new things to differentiate by, each example with its own inside of vmap."""
    levels = active_levels()
    leaves: list[Tensor] = []

    def own(t: Any) -> Any:
        if not isinstance(t, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(t)}")
        if not (t.is_floating_point() or t.is_complex()):
            raise RuntimeError(f"only Tensors of floating point dtype can require gradients [got {t.dtype}]")
        leaves.append(leaf(lifted(t, levels)))
        return leaves[-1]

    return tree_map(own, tree), leaves


def _selected(args: tuple, argnums: int | tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(argnums, int | tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    if not numbers:
        raise RuntimeError("argnums must be non-empty")
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    numbers = tuple(n % len(args) for n in numbers)
    if len(set(numbers)) != len(numbers):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return numbers


def _replaced(args: tuple, numbers: tuple[int, ...], values: list[Any]) -> list[Any]:
    given = list(args)
    for n, v in zip(numbers, values, strict=True):
        given[n] = v
    return given


def _with_aux(result: Any, has_aux: bool, function: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(
            f"{function}: output of function f should be a tuple: (output, aux) if has_aux is True, got "
            f"{type(result).__name__}"
        )
    return result


def _check_outputs(outputs: list[Any], function: str) -> None:
    if not outputs:
        raise RuntimeError(f"{function}: Expected f to be a function that has non-empty output (got output = [])")
    for y in outputs:
        if not isinstance(y, Tensor):
            raise RuntimeError(
                f"{function}: expected f(*primals) to return only tensors, got unsupported type {type(y)}"
            )


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of `func` and its value.

    Args:
        func: gives a tensor of one element, or (tensor, aux) with `has_aux`.
        argnums: which arguments to differentiate by; structures of tensors are fine.
        has_aux: the function's second result is passed through.

    Returns:
        A function giving (gradients, value), or (gradients, (value, aux)). Gradients have the arguments' structure.
    """

    @functools.wraps(func)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        numbers = _selected(args, argnums)
        with enable_grad():
            own, leaves = _own([args[n] for n in numbers])
            output, aux = _with_aux(func(*_replaced(args, numbers, own), **kwargs), has_aux, "grad_and_value(f)(*args)")
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                    if not has_aux
                    else f"Expected the first output of f(*args) to be a Tensor, got {type(output)}"
                )
            if output.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            found = _gradients([output], leaves, None)
        grads, value, aux = _free((_in_place_of(leaves, found, own), output, aux), leaves)
        grads = grads[0] if isinstance(argnums, int) else tuple(grads)
        return grads, ((value, aux) if has_aux else value)

    return differentiated


def _in_place_of(leaves: list[Tensor], found: tuple[Tensor, ...], tree: Any) -> Any:
    """A tree with gradients where its leaves were."""
    by_leaf = {id(x): g for x, g in zip(leaves, found, strict=True)}
    return tree_map(lambda x: by_leaf.get(id(x), x), tree)


def _gradients(outputs: list[Tensor], leaves: list[Tensor], seeds: Any) -> tuple[Tensor, ...]:
    """Gradients of outputs, zeros where an output does not depend on a leaf; the graph stays."""
    pairs = [(y, None if seeds is None else seeds[i]) for i, y in enumerate(outputs) if y.requires_grad]
    if not pairs:
        return tuple(ops.zeros_like(cut(x)) for x in leaves)
    roots, given = [y for y, _ in pairs], None if seeds is None else [g for _, g in pairs]
    found = gradients(roots, leaves, given, create_graph=True, allow_unused=True)
    return tuple(ops.zeros_like(cut(x)) if g is None else g for g, x in zip(found, leaves, strict=True))


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`. Arguments as of `grad_and_value`.

    Example:
        >>> cos = torch.func.grad(torch.sin)
        >>> cos(torch.tensor(0.0))
        tensor(1.)
        >>> torch.func.grad(cos)(torch.tensor(0.0))
        tensor(-0.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return gradient


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The outputs of `func`, and the function that multiplies a vector with its Jacobian.

    Args:
        func: takes the primals.
        primals: tensors, or structures of them.
        has_aux: the function gives (outputs, aux).

    Returns:
        (outputs, vjp_fn), or (outputs, vjp_fn, aux). `vjp_fn(cotangents)` takes what the outputs look like and gives
        a tuple with an entry a primal.
    """
    with enable_grad():
        own, leaves = _own(list(primals))
        result, aux = _with_aux(func(*own), has_aux, "vjp(f, *primals)")
        outputs, out_spec = tree_flatten(result)
    _check_outputs(outputs, "vjp(f, *primals)")
    for y in outputs:
        if not (y.is_floating_point() or y.is_complex()):
            raise RuntimeError(
                "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                f"{y.dtype}"
            )

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple[Any, ...]:
        seeds, spec = tree_flatten(cotangents)
        if spec != out_spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {spec}, primal output: {out_spec}"
            )
        with enable_grad():
            found = _gradients(outputs, leaves, seeds)
        return tuple(_free(_in_place_of(leaves, found, own), leaves))

    shown = _free(result, leaves)
    return (shown, vjp_fn, _free(aux, leaves)) if has_aux else (shown, vjp_fn)


def _check_moving(leaves: list[Any], what: str) -> None:
    for t in leaves:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"jvp(f, primals, tangents): Expected {what}s to only contain Tensors, got {type(t)}")
        if not (t.is_floating_point() or t.is_complex()):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {t.dtype}")


def jvp(
    func: Callable[..., Any], primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False
) -> tuple[Any, ...]:
    """The outputs of `func`, and its Jacobian times a vector.

    Args:
        func: takes the primals.
        primals: a tuple of tensors or structures of them.
        tangents: the same structure.
        strict: an output that does not depend on the inputs is an error, not a zero tangent.
        has_aux: the function gives (outputs, aux).

    Returns:
        (outputs, tangents of outputs), or with aux as a third.

    Example:
        >>> torch.func.jvp(torch.sin, (torch.tensor(0.0),), (torch.tensor(2.0),))
        (tensor(0.), tensor(2.))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals). "
            f"Got {type(primals)}."
        )
    flat, spec = tree_flatten(primals)
    moves, moves_spec = tree_flatten(tangents)
    if spec != moves_spec:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. For example, "
            "if primals is a tuple of 3 tensors, tangents also must be. "
            f"Got primals with structure {spec} and tangents with structure {moves_spec}"
        )
    if not flat:
        raise RuntimeError("jvp(f, primals, tangents): Expected primals to contain at least one Tensor.")
    _check_moving(flat, "primal")
    _check_moving(moves, "tangent")
    for x, t in zip(flat, moves, strict=True):
        if x.shape != t.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is "
                f"not supported. Tensor is of size {list(x.shape)} while the given forward gradient is of size "
                f"{list(t.shape)}."
            )
    with closing(DualLevel()) as level:
        duals = [Dual.wrap(level, x, ops.clone(t)) for x, t in zip(flat, moves, strict=True)]
        result, aux = _with_aux(func(*tree_unflatten(duals, spec)), has_aux, "jvp(f, primals, tangents)")
        outputs, out_spec = tree_flatten(result)
        _check_outputs(outputs, "jvp(f, primals, tangents)")
        moved = []
        for y in outputs:
            t = tangent_of(y, level)
            if t is None and strict:
                raise RuntimeError(
                    "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs."
                )
            moved.append(ops.zeros_like(y) if t is None else t)
        shown = tree_unflatten([level.primal(y) for y in outputs], out_spec)
        result = (shown, tree_unflatten(moved, out_spec))
        return (*result, tree_map(level.primal, aux)) if has_aux else result


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The outputs of `func`, and the function that multiplies its Jacobian, at these primals, with vectors."""
    flat, spec = tree_flatten(primals)
    _check_moving(flat, "primal")
    with enable_grad():
        own, leaves = _own(list(primals))
        result = func(*own)
        outputs, out_spec = tree_flatten(result)
        _check_outputs(outputs, "linearize(f, *primals)")
        seeds = [leaf(ops.zeros_like(cut(y))) for y in outputs]
        pulled = _gradients(outputs, leaves, seeds)

    def jvp_fn(*tangents: Any) -> Any:
        moves, moves_spec = tree_flatten(tangents)
        if moves_spec != spec:
            raise RuntimeError(
                f"Expected the tangents {moves_spec} to have the same argspec as the primals {spec}"
            )
        for i, (x, t) in enumerate(zip(flat, moves, strict=True)):
            for what, wanted, got in (("shape", x.shape, t.shape), ("dtype", x.dtype, t.dtype)):
                if got != wanted:
                    raise RuntimeError(
                        f"tangent:{i} with {what} {got} in flattened pytree doesn't match the {what} {wanted} of the "
                        "corresponding primal."
                    )
        pairs = [(g, t) for g, t in zip(pulled, moves, strict=True) if g.requires_grad]
        found = gradients(
            [g for g, _ in pairs], seeds, [t for _, t in pairs], retain_graph=True, allow_unused=True
        ) if pairs else [None] * len(seeds)  # fmt: skip
        return tree_unflatten(
            [ops.zeros_like(cut(y)) if t is None else t for t, y in zip(found, outputs, strict=True)], out_spec
        )

    return _free(result, leaves), jvp_fn


# ---- Jacobians


def _basis(leaves: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Unit vectors over all elements of several tensors, and how many elements each has."""
    sizes = [x.numel() for x in leaves]
    total, vectors, start = sum(sizes), [], 0
    for x, n in zip(leaves, sizes, strict=True):
        unit = ops.zeros((total, n), dtype=x.dtype, device=x.device)
        ops.diagonal(unit, -start).fill_(1)
        vectors.append(unit.reshape((total, *x.shape)))
        start += n
    return vectors, sizes


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, row by row in reverse mode.

    Args:
        func: gives tensors, or (tensors, aux) with `has_aux`.
        argnums: which arguments to differentiate by.
        has_aux: the function's second result is passed through.
        chunk_size: accepted; a row is one backward.

    Returns:
        A function giving, for each output, the structure of the arguments with tensors of the output's sizes followed
        by the argument's.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        numbers = _selected(args, argnums)

        def of_selected(*selected: Any) -> Any:
            return func(*_replaced(args, numbers, list(selected)), **kwargs)

        result = vjp(of_selected, *(args[n] for n in numbers), has_aux=has_aux)
        outputs, out_spec = tree_flatten(result[0])
        rows = [_rows(result[1], outputs, out_spec, i) for i in range(len(outputs))]
        blocks = [r[0] if isinstance(argnums, int) else tuple(r) for r in rows]
        jacobians = tree_unflatten(blocks, out_spec)
        return (jacobians, result[2]) if has_aux else jacobians

    return jacobian


def _rows(pull: Callable[..., Any], outputs: list[Tensor], spec: TreeSpec, which: int) -> list[Any]:
    """Derivatives of one output: an entry for each argument."""
    y = outputs[which]
    units = ops.eye(y.numel(), dtype=y.dtype, device=y.device).reshape((y.numel(), *y.shape))
    zeros = [ops.zeros_like(cut(o)) for o in outputs]
    rows = []
    for j in range(max(y.numel(), 1)):
        seed = units[j] if y.numel() else zeros[which]
        rows.append(pull(tree_unflatten([seed if i == which else z for i, z in enumerate(zeros)], spec)))

    def joined(*parts: Tensor) -> Tensor:
        stacked = ops.stack(parts)
        return (stacked if y.numel() else stacked[:0]).reshape((*y.shape, *parts[0].shape))

    return [tree_map(joined, *column) for column in zip(*rows, strict=True)]


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, all columns at once in forward mode.

    The function runs once on a batch with one copy of the arguments for each of their elements, and each copy moves
    along one of them. Arguments as of `jacrev`; `randomness` as of `vmap`.
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        numbers = _selected(args, argnums)
        selected = [args[n] for n in numbers]
        flat, spec = tree_flatten(selected)
        vectors, sizes = _basis(flat)
        copies = [ops.expand(x, (v.shape[0], *x.shape)) for x, v in zip(flat, vectors, strict=True)]

        def of_flat(*items: Tensor) -> Any:
            return func(*_replaced(args, numbers, tree_unflatten(items, spec)), **kwargs)

        result = jvp(vmap(of_flat, randomness=randomness), tuple(copies), tuple(vectors), has_aux=has_aux)
        tangents, out_spec = tree_flatten(result[1])
        blocks = []
        for t in tangents:
            columns = ops.split_with_sizes(t, sizes)
            parts = [
                ops.movedim(c, 0, -1).reshape((*t.shape[1:], *x.shape)) for c, x in zip(columns, flat, strict=True)
            ]
            block = tree_unflatten(parts, spec)
            blocks.append(block[0] if isinstance(argnums, int) else tuple(block))
        jacobians = tree_unflatten(blocks, out_spec)
        return (jacobians, tree_map(lambda a: a[0], result[2])) if has_aux else jacobians

    return jacobian


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that gives the Hessian of `func`: forward mode over reverse mode.

    Example:
        >>> torch.func.hessian(lambda x: x.sin().sum())(torch.zeros(2))
        tensor([[-0., -0.],
                [-0., -0.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
