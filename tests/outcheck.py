"""`out=` of one public function: the calls to make, and what is checked."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import casecheck
import flambeau as torch
import opcheck
from cases import CASES
from cases.make import Case, Fixed, Maker
from flambeau.ops import names
from flambeau.ops.table import TABLE


def _plain(value: Any) -> Any:
    """Fixed arrays as arrays."""
    if isinstance(value, Fixed):
        return value.array
    return type(value)(_plain(v) for v in value) if isinstance(value, list | tuple) else value


def _cases_of(name: str) -> list[Case]:
    """Calls of an entry, those with samples as well; only of the function alone."""
    if name in CASES:
        found = [c for kind in "fc" for c in CASES[name](Maker(kind, name)) if c.call is None]
        return [Case(_plain(c.args), {k: _plain(v) for k, v in c.kwargs.items()}) for c in found]
    entry = TABLE[name]
    if not opcheck.is_checked(entry):
        return []
    listed = opcheck.dtype_names(entry)
    kinds = [k for d, k in (("float64", "f"), ("int64", "i"), ("bool", "b"), ("complex128", "c")) if d in listed]
    return [Case(s.args, s.kwargs) for s in opcheck.samples(entry, kinds[0])] if kinds else []


def calls() -> Iterator[tuple[str, Case]]:
    """One call of each public function that is no method."""
    names.namespace()
    seen: set[str] = set()
    for name, entry in TABLE.items():
        made = None
        for public in entry.names:
            if public.startswith("Tensor.") or public in seen or entry.user:
                continue
            made = _cases_of(name) if made is None else made
            case = next((c for c in made if all(a.size for a in casecheck.arrays_of(c))), None)
            if case is not None:
                seen.add(public)
                yield public, case


class OutForm:
    """The calls of one function."""

    def __init__(self, name: str, case: Case):
        self.name, self.case, self.function = name, case, casecheck.public_function(name)
        result = self.call()
        self.several = not isinstance(result, torch.Tensor)
        self.results = list(result) if self.several else [result]

    def call(self, grad: bool = False, **more: Any) -> Any:
        def tensor(a: np.ndarray) -> torch.Tensor:
            t = casecheck.tensor(a)
            return t.requires_grad_() if grad and casecheck.is_differentiable(t) else t

        args, kwargs = casecheck.over_arrays(tensor, (self.case.args, self.case.kwargs))
        return self.function(*args, **kwargs, **more)

    def outs(self, make: Any) -> Any:
        made = [make(r) for r in self.results]
        return tuple(made) if self.several else made[0]

    def written(self, make: Any) -> None:
        """What is written to `out` is the plain result, and the same object comes back."""
        out = self.outs(make)
        back = self.call(out=out)
        pairs = zip(out, back, strict=True) if self.several else [(out, back)]
        for k, (given, got) in enumerate(pairs):
            assert got is given, f"{self.name}(out=) gives another object"
            want = self.results[k]
            assert given.shape == want.shape and given.dtype == want.dtype, f"{self.name}(out=): {given.shape} {given.dtype}"
            assert opcheck.bits(given) == opcheck.bits(want), f"{self.name}(out=) differs from {self.name}"

    def error(self, out: Any, grad: bool = False) -> list[str] | None:
        try:
            self.call(grad, out=out)
        except Exception as error:
            return [type(error).__name__, str(error)]
        return None


def every_other(r: torch.Tensor) -> torch.Tensor:
    """Memory for the result, in which every element has a neighbour that must not change."""
    room = torch.full((*r.shape, 2), 7, dtype=torch.int64).to(r.dtype)
    return room[..., 0]


def check_values(form: OutForm) -> None:
    form.written(torch.empty_like)
    form.written(lambda r: torch.empty(0, dtype=r.dtype))
    rooms = []

    def spaced(r: torch.Tensor) -> torch.Tensor:
        rooms.append(every_other(r))
        return rooms[-1]

    form.written(spaced)
    for out in rooms:
        rest = out._base[..., 1]
        assert opcheck.bits(rest) == opcheck.bits(torch.full(rest.shape, 7, dtype=torch.int64).to(rest.dtype)), form.name


def check_resize(form: OutForm) -> None:
    """`out` of another size is resized, with a warning where it had elements."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        form.written(lambda r: torch.empty((3, *r.shape), dtype=r.dtype))
    texts = [str(w.message) for w in seen]
    wanted = "An output with one or more elements was resized since it had shape"
    assert sum(t.startswith(wanted) for t in texts) == len(form.results), f"{form.name}: {texts}"
