"""`backward` and `grad`."""

import warnings
from collections.abc import Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.ops.names import operators as ops

__all__ = ["backward", "grad"]

Tensors = Tensor | Sequence[Tensor]


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, Tensor) or x is None else tuple(x)


def _seeds(given: Any, count: int) -> tuple[Any, ...]:
    seeds = (None,) * count if given is None else _as_tuple(given)
    if len(seeds) != count:
        raise RuntimeError(f"got {count} tensors and {len(seeds)} gradients")
    for g in seeds:
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    return seeds


def operands(outputs: Tensors, inputs: Tensors, grad_outputs: Any) -> tuple[tuple, tuple, tuple]:
    """What `grad` was given, as tuples: outputs, inputs, and a gradient or None for each output."""
    roots = _as_tuple(outputs)
    return roots, _as_tuple(inputs), _seeds(grad_outputs, len(roots))


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensors | None = None,
) -> None:
    """Computes the gradients of tensors with respect to the leaves they were made from and adds them to their `.grad`.

    Args:
        tensors: what is differentiated.
        grad_tensors: the gradient of each tensor (the vector of the vector-Jacobian product); None for scalars.
        retain_graph: keeps the graph for another backward. Default: what `create_graph` says.
        create_graph: records the computation, so that gradients can be differentiated again.
        grad_variables: an old name of `grad_tensors`.
        inputs: the tensors whose `.grad` is wanted. Default: all leaves.

    Raises:
        RuntimeError: a tensor has no history, or it is no scalar and no gradient was given for it.
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only "
                "use "
                "`grad_tensors`."
            )
        grad_tensors = grad_variables
    if inputs is not None and not isinstance(inputs, Tensor) and len(inputs) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    roots = _as_tuple(tensors)
    wanted = () if inputs is None else _as_tuple(inputs)
    retain = create_graph if retain_graph is None else retain_graph
    _core.run_backward(roots, _seeds(grad_tensors, len(roots)), retain, create_graph, wanted, True, True)


def grad(
    outputs: Tensors,
    inputs: Tensors | dict[str, Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...] | dict[str, Tensor | None]:
    """The gradients of the sum of outputs with respect to inputs; `.grad` is not touched.

    Args:
        outputs: what is differentiated.
        inputs: with respect to what; where they have names in a dict, so have the results.
        grad_outputs: the gradient of each output; None for scalars.
        retain_graph: keeps the graph for another call. Default: what `create_graph` says.
        create_graph: records the computation, so that gradients can be differentiated again.
        only_inputs: an old argument that changes nothing.
        allow_unused: gives None for inputs that the outputs do not depend on, where False is an error. Default: what
            `materialize_grads` says.
        is_grads_batched: the first dimension of `grad_outputs` counts vectors, and that of the results as well.
        materialize_grads: gives zeros, not None, for unused inputs.

    Returns:
        One gradient an input.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if isinstance(inputs, dict):
        found = grad(
            outputs, tuple(inputs.values()), grad_outputs, retain_graph, create_graph, only_inputs, allow_unused,
            is_grads_batched, materialize_grads,
        )  # fmt: skip
        return dict(zip(inputs, found, strict=True))
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    roots, wanted = _as_tuple(outputs), _as_tuple(inputs)
    asked = roots + wanted + (() if grad_outputs is None else _as_tuple(grad_outputs))
    if _core.has_torch_function(asked):
        return _core.handle_torch_function(
            grad, asked, outputs, inputs, grad_outputs, retain_graph, create_graph, only_inputs, allow_unused,
            is_grads_batched, materialize_grads,
        )  # fmt: skip
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    if not wanted:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    retain = create_graph if retain_graph is None else retain_graph
    grads = _core.run_backward(
        roots, _seeds(grad_outputs, len(roots)), retain, create_graph, wanted, allow_unused, False
    )
    if materialize_grads:
        grads = tuple(
            ops.zeros_like(x, requires_grad=create_graph) if g is None else g
            for g, x in zip(grads, wanted, strict=True)
        )
    return grads


def _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads):
    """One call a vector: the graph is kept until the last."""
    roots, _, seeds = operands(outputs, inputs, grad_outputs)
    count = next(g.shape[0] for g in seeds if g is not None)
    rows = []
    for i in range(count):
        row = tuple(None if g is None else g[i] for g in seeds)
        keep = create_graph if retain_graph is None else retain_graph
        rows.append(
            grad(roots, inputs, row, keep or i + 1 < count, create_graph, True, allow_unused, False, materialize_grads)
        )
    return tuple(
        None if any(r[k] is None for r in rows) else ops.stack([r[k] for r in rows]) for k in range(len(rows[0]))
    )
