"""Over the table and `nn.functional`: derivatives, forward mode and batches of every operator, with the arguments of
`cases`.

`make test` moves along random directions; `make test-all` compares whole Jacobians too.
"""

import warnings

import numpy as np
import pytest

import casecheck
import flambeau as torch
import opcheck
from cases import CASES, NO_CASES, NO_DERIVATIVE, NO_VMAP, ONE_DERIVATIVE
from cases.make import Case, Maker
from flambeau.func import vmap
from flambeau.ops import names
from flambeau.ops.table import TABLE

names.namespace()
PUBLIC = [name for name, entry in TABLE.items() if entry.names and not entry.user]
#: Draws from chances that differ from example to example: `randomness="same"` has no numbers for these.
OWN_CHANCES = (
    "bernoulli", "bernoulli_.Tensor", "multinomial", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet",
)  # fmt: skip
MOST_ELEMENTS = 120


def function_of(name: str):
    """What the cases of a name call."""
    return names.function(TABLE[name].names[0]) if name in TABLE else casecheck.public_function(name)


def made(name: str, kind: str, seed: int = 0) -> list[Case]:
    return CASES[name](Maker(kind, name, seed))


def differentiable_cases(name: str, kinds: str = "fc"):
    for kind in kinds:
        for k, case in enumerate(made(name, kind)):
            if any(a.dtype.kind in "fc" for a in casecheck.arrays_of(case)):
                yield case, f"{name} {kind}{k} {case}"


def usual_kind(name: str) -> str:
    """The kind of number that is always tried; `make test-all` tries both."""
    return "f" if made(name, "f") else "c"


DIFFERENTIABLE = [
    name
    for name in CASES
    if name not in NO_DERIVATIVE and not (name in TABLE and not TABLE[name].differentiable)
    if next(differentiable_cases(name), None)
]


# ---- nothing is left out


def test_every_public_entry_has_arguments_or_a_reason() -> None:
    left = [n for n in PUBLIC if n not in CASES and not opcheck.is_checked(TABLE[n]) and n not in NO_CASES]
    assert not left, f"give these cases (tests/cases), or samples and ref: {left}"
    assert not [n for n in NO_CASES if n not in TABLE or n in CASES], "a reason for what is no entry, or has cases"
    assert all(map(len, [*NO_CASES.values(), *NO_DERIVATIVE.values(), *NO_VMAP.values()]))


def test_every_function_of_networks_has_arguments() -> None:
    namespace = torch.nn.functional
    tabled = {p.rpartition(".")[2] for e in TABLE.values() for p in (*e.names, *e.inplace_names)}
    functions = [
        n
        for n, f in vars(namespace).items()
        if callable(f) and not isinstance(f, type) and not n.startswith("_") and n not in tabled
        if f"nn.functional.{n}" not in CASES and not n.endswith("_")
    ]
    assert not functions, functions


def test_the_sizes_of_cases_do_not_depend_on_the_numbers() -> None:
    for name in CASES:
        for kind in "fc":
            shapes = [[[(a.shape, a.dtype) for a in casecheck.arrays_of(c)] for c in made(name, kind, s)] for s in (0, 1)]
            assert shapes[0] == shapes[1], name
            assert all(a.size <= MOST_ELEMENTS for c in made(name, kind) for a in casecheck.arrays_of(c)), name


def test_the_checks_notice_what_is_wrong() -> None:
    class Tripled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    case = Case((np.array([1.0, 2.0]),))
    for check in (casecheck.check_derivatives, casecheck.check_whole_jacobians):
        with pytest.raises((AssertionError, RuntimeError), match=r"first derivative|Jacobian mismatch"):
            check(Tripled.apply, case, "a gradient three times what it is")
    calls = iter(range(100))
    with pytest.raises(AssertionError, match=r"forward mode of .* reverse mode gives"):
        here = torch.tensor([1.0, 2.0], dtype=torch.float64)
        casecheck.check_forward_mode(lambda x: x * 2 if next(calls) == 0 else x * 3 - here, case, "2 x, later 3 x - 1")
    with pytest.raises(AssertionError, match="vmap of"):
        casecheck.check_vmap(lambda x: x + next(calls), [case, case], "a function that counts its calls")


# ---- derivatives


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_along_directions(name: str) -> None:
    for case, what in differentiable_cases(name):
        casecheck.check_derivatives(function_of(name), case, what, second=name not in ONE_DERIVATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_whole_jacobians(name: str) -> None:
    for case, what in differentiable_cases(name):
        casecheck.check_whole_jacobians(function_of(name), case, what, second=name not in ONE_DERIVATIVE)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    for case, what in differentiable_cases(name, usual_kind(name)):
        casecheck.check_forward_mode(function_of(name), case, what)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_mode_of_complex_numbers(name: str) -> None:
    for case, what in differentiable_cases(name, "c"):
        casecheck.check_forward_mode(function_of(name), case, what)


def in_place_cases(name: str):
    """Cases of an entry's in-place method, those of its samples as well."""
    entry = TABLE[name]
    found = [(c, w) for c, w in differentiable_cases(name)] if name in CASES else []
    if opcheck.is_checked(entry) and name not in CASES:
        kinds = [k for d, k in (("float64", "f"), ("complex128", "c")) if d in opcheck.dtype_names(entry)]
        made = [(s, k) for k in kinds for s in opcheck.samples(entry, k) if 0 < sum(a.size for a in s.arrays) < 40]
        found = [(Case(s.args, s.kwargs), f"{name} {k}") for s, k in made if s.args[0].dtype.kind in "fc"]
    for case, what in found:
        changed = casecheck.in_place(names.function(entry.names[0]), case)
        if changed is not None:
            yield changed, f"{entry.inplace_names[0]} of {what}"


IN_PLACE = [n for n, e in list(TABLE.items()) if e.inplace_names and e.names and e.differentiable and not e.user and n not in NO_DERIVATIVE]


@pytest.mark.parametrize("name", [n for n in IN_PLACE if next(in_place_cases(n), None)])
def test_derivatives_of_in_place_forms(name: str) -> None:
    method = names.function(TABLE[name].inplace_names[0])
    for case, what in in_place_cases(name):
        casecheck.check_derivatives(method, case, what)
        casecheck.check_forward_mode(method, case, what)


@pytest.mark.parametrize("name", sorted(n for n, why in NO_DERIVATIVE.items() if "derivative for" in why))
def test_a_missing_derivative_is_named_when_it_is_asked_for(name: str) -> None:
    for case, _ in differentiable_cases(name):
        part, at = casecheck.differentiable_part(function_of(name), case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = part(*(x.requires_grad_() for x in at))
        with pytest.raises(RuntimeError, match=NO_DERIVATIVE[name]):
            torch.autograd.backward(results[0], torch.ones_like(results[0]))


# ---- batches


@pytest.mark.parametrize("name", [n for n in CASES if n not in NO_VMAP])
def test_vmap_is_a_loop(name: str) -> None:
    check_vmap(name, usual_kind(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CASES if n not in NO_VMAP])
def test_vmap_of_complex_numbers(name: str) -> None:
    check_vmap(name, "c")


def check_vmap(name: str, kind: str) -> None:
    for k, examples in enumerate(zip(*(made(name, kind, s) for s in range(casecheck.EXAMPLES)), strict=True)):
        what = f"{name} {kind}{k} {examples[0]}"
        try:
            casecheck.check_vmap(function_of(name), examples, what)
        except RuntimeError as error:
            if name not in OWN_CHANCES or "randomness='same'" not in str(error):
                raise


DRAWN = [name for name in CASES if name not in NO_VMAP and any(c.is_random and casecheck.arrays_of(c) for k in "fc" for c in made(name, k))]


@pytest.mark.parametrize("name", DRAWN)
def test_random_numbers_are_refused_or_differ_from_example_to_example(name: str) -> None:
    kind = next(k for k in "fc" if made(name, k))
    case = next(c for c in made(name, kind) if c.is_random)
    call = casecheck.caller(function_of(name), case)
    same = [torch.stack([casecheck.tensor(a)] * 8) for a in casecheck.arrays_of(case)]
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(call)(*same)
    results = vmap(call, randomness="different")(*same)
    assert all(r.shape[0] == 8 for r in results)
    if name not in ("svd_lowrank", "pca_lowrank"):  # the same result from any numbers
        assert any(not torch.equal(r[0], r[k]) for r in results for k in range(1, 8)), name
