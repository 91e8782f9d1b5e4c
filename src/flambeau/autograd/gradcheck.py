"""Gradients against finite differences."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.differentiate import grad
from flambeau.ops.names import operators as ops

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient differs from what finite differences say."""


def _is_differentiable(x: Any) -> bool:
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, list | tuple) else (x,)


def _outputs(fn: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple(o for o in _as_tuple(fn(*inputs)) if _is_differentiable(o))


def _check_inputs(inputs: Sequence[Any]) -> list[Tensor]:
    wanted = []
    for i, x in enumerate(inputs):
        if not (isinstance(x, Tensor) and x.requires_grad):
            continue
        if x.dtype not in (_core.float64, _core.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                f"will "
                "likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                f"non-overlapping to "
                "be able to compute the numerical gradients correctly. You should call .contiguous on the input "
                "before "
                "passing it to gradcheck."
            )
        wanted.append(x)
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True."
        )
    return wanted


def _values(outputs: Sequence[Tensor]) -> list[Any]:
    """Copies of the outputs as flat arrays."""
    return [o.detach().numpy().reshape(-1).copy() for o in outputs]


def _difference(
    fn: Callable[..., Any], inputs: Sequence[Any], elements: Any, at: Any, step: complex, eps: float
) -> list:
    """Central difference of all outputs along one element of one input."""
    before = elements[at].copy()
    elements[at] = before + step
    high = _values(_outputs(fn, inputs))
    elements[at] = before - step
    low = _values(_outputs(fn, inputs))
    elements[at] = before
    return [(h - w) / (2 * eps) for h, w in zip(high, low, strict=True)]


def _numerical(fn: Callable[..., Any], inputs: Sequence[Any], x: Tensor, outputs: Sequence[Tensor], eps: float) -> list:
    """For each output: the derivatives of its real and imaginary parts, shape (2, elements of x, elements of output).

    In the convention of gradients: along the real axis plus 1j times along the imaginary axis of x.
    """
    import numpy as np

    elements = x.detach().numpy()
    kind = np.complex128 if x.is_complex() else np.float64
    result = [np.zeros((2, x.numel(), o.numel()), kind) for o in outputs]
    with _core.no_grad():
        for i, at in enumerate(np.ndindex(*elements.shape)):
            along_real = _difference(fn, inputs, elements, at, eps, eps)
            along_imag = _difference(fn, inputs, elements, at, 1j * eps, eps) if x.is_complex() else None
            for k, d in enumerate(along_real):
                for part, of in enumerate((np.real, np.imag)):
                    result[k][part, i] = of(d) + (1j * of(along_imag[k]) if along_imag is not None else 0)
    return result


def _analytical(output: Tensor, wanted: Sequence[Tensor]) -> list:
    """As `_numerical`, for all inputs of one output, by backward."""
    import numpy as np

    kinds = [np.complex128 if x.is_complex() else np.float64 for x in wanted]
    result = [np.zeros((2, x.numel(), output.numel()), kind) for x, kind in zip(wanted, kinds, strict=True)]
    if not output.requires_grad:
        return result
    for part, unit in enumerate((1.0, 1j) if output.is_complex() else (1.0,)):
        for j in range(output.numel()):
            seed = np.zeros(output.numel(), output.detach().numpy().dtype)
            seed[j] = unit
            vector = _core.from_numpy(seed.reshape(tuple(output.shape)))
            grads = grad(output, wanted, vector, retain_graph=True, allow_unused=True)
            for k, (g, x) in enumerate(zip(grads, wanted, strict=True)):
                if g is None:
                    continue
                if g.shape != x.shape or g.dtype != x.dtype:
                    raise GradcheckError(
                        f"Backward gives a gradient of shape {list(g.shape)} and dtype {g.dtype} for an input of "
                        f"shape "
                        f"{list(x.shape)} and dtype {x.dtype}"
                    )
                result[k][part, :, j] = g.detach().numpy().reshape(-1)
    return result


def _mismatch(part: int, is_complex: bool, output: int, input: int, numerical: Any, analytical: Any) -> str:
    which = ""
    if is_complex:
        name = "real" if part == 0 else "imaginary"
        which = f"While considering the {name} part of complex outputs only, "
    return (
        f"{which}Jacobian mismatch for output {output} with respect to input {input},\n"
        f"numerical:{_core.from_numpy(numerical)}\nanalytical:{_core.from_numpy(analytical)}\n"
    )


def _compare(outputs: Sequence[Tensor], wanted: Sequence[Tensor], numerical: list, atol: float, rtol: float) -> None:
    import numpy as np

    for k, output in enumerate(outputs):
        analytical = _analytical(output, wanted)
        for i in range(len(wanted)):
            for part in range(2 if output.is_complex() else 1):
                a, n = analytical[i][part], numerical[i][k][part]
                if not np.allclose(a, n, rtol, atol, equal_nan=True):
                    raise GradcheckError(_mismatch(part, output.is_complex(), k, i, n.copy(), a.copy()))


def _check_deterministic(outputs: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float) -> None:
    import numpy as np

    for output in outputs:
        first, second = _analytical(output, wanted), _analytical(output, wanted)
        for a, b in zip(first, second, strict=True):
            if not np.all((np.abs(a - b) <= tolerance) | (np.isnan(a) & np.isnan(b)) | (a == b)):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    "gives different values, although analytical gradient matches numerical gradient."
                    f"The tolerance for nondeterminism was {tolerance}."
                )


def _check(fn, inputs, eps, atol, rtol, nondet_tol) -> None:
    wanted = _check_inputs(inputs)
    outputs = _outputs(fn, inputs)
    numerical = [_numerical(fn, inputs, x, outputs, eps) for x in wanted]
    _compare(outputs, wanted, numerical, atol, rtol)
    _check_deterministic(outputs, wanted, nondet_tol)


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Checks gradients against central differences: |analytical - numerical| <= atol + rtol * |numerical|.

    Each output is differentiated alone, so gradients of the other outputs are undefined throughout; dtypes of gradients
    are always checked, and the full Jacobian is compared also where `fast_mode` would allow less.

    Args:
        func: takes tensors, gives a tensor or a tuple of tensors.
        inputs: those with `requires_grad` are checked; in double precision.
        eps: step of the differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        raise_exception: False gives False where the check fails.
        nondet_tol: how much two runs of the same backward may differ.
        check_undefined_grad: always done.
        check_grad_dtypes: always done.
        check_batched_grad: not used.
        check_batched_forward_grad: not used.
        check_forward_ad: not used.
        check_backward_ad: False checks nothing.
        fast_mode: accepted; the full check is made.
        masked: not used.

    Returns:
        True where all differences lie within the tolerances.

    Raises:
        GradcheckError: a Jacobian differs, with both printed.
    """
    if not check_backward_ad:
        return True
    try:
        _check(func, _as_tuple(inputs), eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _random_like(output: Tensor) -> Tensor:
    values = ops.randn(output.shape, dtype=output.dtype, device=output.device)
    return values.requires_grad_()


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Checks gradients of gradients: `gradcheck` of the backward of `func`, for its inputs and for `grad_outputs`.

    Args:
        func: takes tensors, gives a tensor or a tuple of tensors.
        inputs: those with `requires_grad` are checked.
        grad_outputs: gradients of the outputs. Default: normal random numbers.
        eps: as in `gradcheck`, and so are the others.
        gen_non_contig_grad_outputs: makes the default `grad_outputs` not contiguous.
    """
    arguments = _as_tuple(inputs)
    differentiable = [o.requires_grad for o in _outputs(func, arguments)]

    def followed(given: Sequence[Any]) -> tuple[Tensor, ...]:
        """The outputs that have a gradient."""
        return tuple(o for o, d in zip(_outputs(func, given), differentiable, strict=True) if d)

    outputs = followed(arguments)
    if grad_outputs is None:
        seeds = tuple(_random_like(o) for o in outputs)
        if gen_non_contig_grad_outputs:
            seeds = tuple(
                ops.stack([g.detach(), g.detach()], -1).select(-1, 0).requires_grad_() if g.dim() else g for g in seeds
            )
    else:
        seeds = _as_tuple(grad_outputs)
    n = len(seeds)

    def first_order(*all_arguments: Any) -> tuple[Tensor, ...]:
        given, vectors = all_arguments[:-n], all_arguments[-n:]
        with _core.enable_grad():
            made = followed(given)
            wanted = tuple(x for x in given if isinstance(x, Tensor) and x.requires_grad)
            grads = grad(made, wanted, vectors, create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        first_order, (*arguments, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, fast_mode=fast_mode, masked=masked,
    )  # fmt: skip
