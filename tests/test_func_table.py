"""Over the table: vmap gives what a loop over examples gives, forward mode what reverse mode gives."""

import numpy as np
import pytest

import flambeau as torch
import opcheck
from flambeau.func import jvp, vmap
from flambeau.ops.table import TABLE

ENTRIES = [name for name, entry in list(TABLE.items()) if opcheck.is_checked(entry)]
EXAMPLES = 3


def kind_for(entry) -> str | None:
    """The dtype that an entry is tried with: its first among these."""
    listed = opcheck.dtype_names(entry)
    return next((d for d in ("float64", "int64", "bool") if d in listed), None)


def examples(a: np.ndarray) -> np.ndarray:
    """Several arrays of the same values in other orders, so that they stay in the operator's domain."""
    return np.stack([np.roll(a.reshape(-1), k).reshape(a.shape) for k in range(EXAMPLES)])


def same(got, want, what: str) -> None:
    got, want = opcheck.flat(got), opcheck.flat(want)
    assert len(got) == len(want), what
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype, f"{what}: {g.shape} {g.dtype} is not {w.shape} {w.dtype}"
        np.testing.assert_allclose(opcheck.numpy_of(g), opcheck.numpy_of(w), rtol=1e-12, atol=1e-13, err_msg=what)


def looped(f, tensors: list, batched: list[bool]):
    rows = [
        opcheck.flat(f(*(t[i] if b else t for t, b in zip(tensors, batched, strict=True)))) for i in range(EXAMPLES)
    ]
    return [torch.stack(list(column)) for column in zip(*rows, strict=True)]


def check_vmap(entry, sample, dtype: str) -> None:
    f = opcheck.function_of(entry)
    places = [k for k, a in enumerate(sample.args) if isinstance(a, np.ndarray)]
    if not places:
        return
    whole = [opcheck.tensor(examples(sample.args[k]), dtype) for k in places]
    single = [opcheck.tensor(sample.args[k], dtype) for k in places]

    def call(*given):
        full = list(sample.args)
        for k, g in zip(places, given, strict=True):
            full[k] = g
        result = f(*full, **sample.kwargs)
        return tuple(result) if isinstance(result, tuple | list) else result

    choices = {(True,) * len(places), (True, *(False,) * (len(places) - 1)), (*(False,) * (len(places) - 1), True)}
    for batched in sorted(choices):
        given = [w if b else s for w, s, b in zip(whole, single, batched, strict=True)]
        try:
            want = looped(call, given, batched)
        except RuntimeError:
            continue  # positions in one example only need not fit the other's tensor
        got = vmap(call, tuple(0 if b else None for b in batched))(*given)
        same(got, want, f"vmap of {entry.name} {batched} {opcheck._text(sample)}")


@pytest.mark.parametrize("name", ENTRIES)
def test_vmap_is_a_loop(name):
    entry = TABLE[name]
    dtype = kind_for(entry)
    if dtype is None:
        pytest.skip("takes none of float64, int64 and bool")
    for sample in opcheck.samples(entry, opcheck.kind_of(dtype)):
        if all(a.size <= 60 for a in sample.arrays):
            check_vmap(entry, sample, dtype)


def check_forward_mode(entry, sample, dtype: str) -> None:
    """<u, J t> is <J^H u, t> for vectors u and t."""
    f, rng = opcheck.function_of(entry), np.random.default_rng(7)
    kind = getattr(torch, dtype)
    args, kwargs = sample.map(lambda a: opcheck.tensor(a, dtype))
    slots = [k for k, a in enumerate(args) if isinstance(a, torch.Tensor) and a.dtype == kind]

    def like(t):
        values = rng.standard_normal(t.shape)
        return torch.from_numpy(np.asarray(values + 1j * rng.standard_normal(t.shape) if t.is_complex() else values)).to(t.dtype)

    def call(*given):
        full = list(args)
        for k, g in zip(slots, given, strict=True):
            full[k] = g
        results = tuple(r for r in opcheck.flat(f(*full, **kwargs)) if r.is_floating_point() or r.is_complex())
        return results

    primals = tuple(args[k] for k in slots)
    tangents = tuple(map(like, primals))
    outputs, moved = jvp(call, primals, tangents)
    leaves = [p.clone().requires_grad_() for p in primals]
    wanted = call(*leaves)
    what = f"jvp of {entry.name} {opcheck._text(sample)}"
    same(outputs, tuple(w.detach() for w in wanted), what)
    pairs = [(w, like(w), t) for w, t in zip(wanted, moved, strict=True) if w.requires_grad]
    if not pairs:
        return
    pulled = torch.autograd.grad([w for w, _, _ in pairs], leaves, [u for _, u, _ in pairs], allow_unused=True)
    inner = lambda a, b: (a.conj() * b).real.sum().item() if a.is_complex() else (a * b).sum().item()  # noqa: E731
    left = sum(inner(u, t) for _, u, t in pairs)
    right = sum(inner(g, t) for g, t in zip(pulled, tangents, strict=True) if g is not None)
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9, err_msg=what)


@pytest.mark.parametrize("name", [n for n in ENTRIES if TABLE[n].differentiable])
def test_forward_mode_agrees_with_reverse_mode(name):
    entry = TABLE[name]
    tried = [d for d in ("float64", "complex128") if d in opcheck.dtype_names(entry)]
    if not tried:
        pytest.skip("takes no floating point numbers")
    for dtype in tried:
        for sample in opcheck.samples(entry, opcheck.kind_of(dtype)):
            if 0 < sum(a.size for a in sample.arrays) <= 60:
                check_forward_mode(entry, sample, dtype)
