"""Checks that need nothing but arguments: derivatives against differences, forward mode, batches, `out=`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from cases.make import Case, Fixed, arrays_in, changed, over_arrays
from flambeau.func import jvp, vmap
from flambeau.utils._pytree import tree_flatten

EXAMPLES = 3
STEP = 1e-5


def public_function(name: str) -> Callable:
    """The function under a public name: `linalg.inv`, `Tensor.view`; methods take the tensor first."""
    found = torch
    for part in name.split("."):
        found = getattr(found, part)
    return found


def tensor(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(a))


def _fixed(value: Any) -> Any:
    if isinstance(value, Fixed):
        return tensor(value.array)
    if isinstance(value, list | tuple):
        return type(value)(_fixed(v) for v in value)
    return value


def caller(f: Callable, case: Case) -> Callable:
    """The call as a function of its tensors, giving a tuple of tensors."""

    def call(*tensors: torch.Tensor) -> tuple:
        given = iter(tensors)
        args, kwargs = over_arrays(lambda _: next(given), (case.args, case.kwargs))
        args, kwargs = _fixed(args), {k: _fixed(v) for k, v in kwargs.items()}
        made = f(*args, **kwargs) if case.call is None else case.call(f, *args, **kwargs)
        return tuple(tree_flatten(made)[0])

    return call


def arrays_of(case: Case) -> list[np.ndarray]:
    return list(arrays_in((case.args, case.kwargs)))


def in_place(f: Callable, case: Case) -> Case | None:
    """The case of an in-place form, on a copy; None where the result has other sizes or another dtype."""
    if case.call is not None or not case.args or not isinstance(case.args[0], np.ndarray):
        return None
    result, given = caller(f, case)(*map(tensor, arrays_of(case)))[0], tensor(case.args[0])
    if (result.shape, result.dtype) != (given.shape, given.dtype):
        return None
    return Case(case.args, case.kwargs, changed)


def is_differentiable(t: Any) -> bool:
    return isinstance(t, torch.Tensor) and (t.is_floating_point() or t.is_complex())


def differentiable_part(f: Callable, case: Case) -> tuple[Callable, list[torch.Tensor]]:
    """The call as a function of its floating point tensors, giving those of its results; and these tensors."""
    call, whole = caller(f, case), [tensor(a) for a in arrays_of(case)]
    slots = [k for k, t in enumerate(whole) if is_differentiable(t)]

    def part(*given: torch.Tensor) -> tuple:
        full = list(whole)
        for k, g in zip(slots, given, strict=True):
            full[k] = g
        return tuple(y for y in call(*full) if is_differentiable(y))

    return part, [whole[k] for k in slots]


def direction(rng: np.random.Generator, like: torch.Tensor) -> torch.Tensor:
    values = rng.standard_normal(like.shape)
    if like.is_complex():
        values = values + 1j * rng.standard_normal(like.shape)
    return torch.from_numpy(np.asarray(values)).to(like.dtype)


def inner(a: Any, b: Any) -> float:
    """The real inner product of vectors given in parts; parts that are None are zero."""
    total = 0.0
    for x, y in zip(a, b, strict=True):
        if x is not None and y is not None:
            total += (x.conj() * y).real.sum().item() if x.is_complex() else (x * y).sum().item()
    return total


# ---- derivatives


def _along(scalar: Callable, at: list, by: list) -> float:
    """The derivative of a function along a direction, by a difference of fourth order."""
    value = lambda k: scalar([x + k * STEP * t for x, t in zip(at, by, strict=True)])  # noqa: E731
    return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * STEP)


def check_derivatives(f: Callable, case: Case, what: str, second: bool = True) -> None:
    """First and (if there is one) second derivatives along random directions against differences."""
    part, at = differentiable_part(f, case)
    rng = np.random.default_rng(11)
    by = [direction(rng, x) for x in at]
    with torch.no_grad():
        seeds = [direction(rng, y) for y in part(*at)]
    if not seeds:
        return

    def pulled(xs: list, us: list) -> tuple:
        leaves = [x.detach().requires_grad_() for x in xs]
        ups = [u.detach().requires_grad_() for u in us]
        pairs = [(y, u) for y, u in zip(part(*leaves), ups, strict=True) if y.requires_grad]
        assert pairs, f"{what}: no result requires a gradient"
        got = torch.autograd.grad(
            [y for y, _ in pairs], leaves, [u for _, u in pairs], create_graph=True, allow_unused=True
        )
        for g, x in zip(got, leaves, strict=True):
            assert g is None or (g.shape == x.shape and g.dtype == x.dtype), f"{what}: {g.shape} {g.dtype}"
        return leaves, ups, got

    def value(xs: list) -> float:
        with torch.no_grad():
            return inner(seeds, part(*xs))

    leaves, ups, first = pulled(at, seeds)
    assert_near(inner(first, by), _along(value, at, by), f"first derivative of {what}")
    weights = [None if g is None else direction(rng, g) for g in first]
    along_seeds = [direction(rng, u) for u in seeds]
    live = [(g, w) for g, w in zip(first, weights, strict=True) if g is not None and g.requires_grad]
    if not live:
        return
    if not second:
        return check_missing_derivative([g for g, _ in live], leaves)
    both = torch.autograd.grad(
        [g for g, _ in live], [*leaves, *ups], [w for _, w in live], allow_unused=True
    )
    slope = lambda xs: inner(weights, pulled(xs[: len(at)], xs[len(at) :])[2])  # noqa: E731
    want = _along(slope, [*at, *seeds], [*by, *along_seeds])
    assert_near(inner(both, [*by, *along_seeds]), want, f"second derivative of {what}")


def check_missing_derivative(slopes: list, leaves: list) -> None:
    with pytest.raises(NotImplementedError, match=r"the derivative for .* is not implemented"):
        torch.autograd.grad([g.sum() for g in slopes], leaves, allow_unused=True)


def assert_near(got: float, want: float, what: str) -> None:
    assert np.isfinite(want), f"{what}: the difference is {want}"
    assert abs(got - want) <= 1e-6 + 1e-6 * abs(want), f"{what}: {got}, differences give {want}"


def check_whole_jacobians(f: Callable, case: Case, what: str, second: bool = True) -> None:
    """gradcheck and (if there is a second derivative) gradgradcheck."""
    part, at = differentiable_part(f, case)
    leaves = tuple(x.requires_grad_() for x in at)
    if not part(*leaves):
        return
    torch.manual_seed(5)
    try:
        assert torch.autograd.gradcheck(part, leaves)
        assert not second or torch.autograd.gradgradcheck(part, leaves)
    except Exception as error:
        error.add_note(what)
        raise


# ---- forward mode


def check_forward_mode(f: Callable, case: Case, what: str) -> None:
    """<u, J t> is <J^H u, t>, for tangents of all arguments and of each alone."""
    part, at = differentiable_part(f, case)
    rng = np.random.default_rng(7)
    leaves = [x.clone().requires_grad_() for x in at]
    wanted = part(*leaves)
    if not wanted:
        return
    seeds = [direction(rng, y) for y in wanted]
    pairs = [(y, u) for y, u in zip(wanted, seeds, strict=True) if y.requires_grad]
    pulled = torch.autograd.grad([y for y, _ in pairs], leaves, [u for _, u in pairs], allow_unused=True)
    subsets = [range(len(at)), *([k] for k in range(len(at)) if len(at) > 1)]
    for moving in subsets:
        tangents = tuple(direction(rng, at[k]) for k in moving)

        def moved(*given: torch.Tensor, moving=moving) -> tuple:
            full = list(at)
            for k, g in zip(moving, given, strict=True):
                full[k] = g
            return part(*full)

        outputs, pushed = jvp(moved, tuple(at[k] for k in moving), tangents)
        label = f"forward mode of {what}, arguments {list(moving)}"
        same(outputs, [y.detach() for y in wanted], label)
        for y, t in zip(outputs, pushed, strict=True):
            assert t.shape == y.shape and t.dtype == y.dtype, f"{label}: a tangent of {t.shape} {t.dtype}"
        got, want = inner(seeds, pushed), inner([pulled[k] for k in moving], tangents)
        assert abs(got - want) <= 1e-9 + 1e-9 * abs(want), f"{label}: {got}, reverse mode gives {want}"


# ---- batches


def same(got: Any, want: Any, what: str) -> None:
    assert len(got) == len(want), what
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype, f"{what}: {g.shape} {g.dtype} is not {w.shape} {w.dtype}"
        np.testing.assert_allclose(g.detach().numpy(), w.detach().numpy(), rtol=1e-12, atol=1e-13, err_msg=what)


def check_vmap(f: Callable, examples: list[Case], what: str) -> None:
    """vmap gives what a loop gives: all arguments mapped, the first or the last alone, along another dimension."""
    call = caller(f, examples[0])
    columns = [[tensor(a) for a in column] for column in zip(*map(arrays_of, examples), strict=True)]
    n = len(columns)
    if not n:
        return
    choices = {(True,) * n, (True, *(False,) * (n - 1)), (*(False,) * (n - 1), True)}
    if examples[0].is_in_place:  # what is changed must be mapped over
        choices = {(True, *c[1:]) for c in choices}
    randomness = "same" if examples[0].is_random else "error"
    for batched in sorted(choices, reverse=True):
        rows = []
        for i in range(len(examples)):
            made = call(*(c[i if b else 0].clone() for c, b in zip(columns, batched, strict=True)))
            rows.append(made)
        want = [torch.stack(list(column)) for column in zip(*rows, strict=True)]
        for dim in (0, -1) if all(batched) else (0,):
            given = [torch.stack(c, dim) if b else c[0].clone() for c, b in zip(columns, batched, strict=True)]
            dims = tuple(dim if b else None for b in batched)
            same(vmap(call, dims, randomness=randomness)(*given), want, f"vmap of {what}, in_dims={dims}")
