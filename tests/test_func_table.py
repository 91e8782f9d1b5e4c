"""Over the entries that have samples: vmap gives what a loop over examples gives, forward mode what reverse mode gives."""

import numpy as np
import pytest

import casecheck
import opcheck
from cases.make import Case
from flambeau.ops.table import TABLE

ENTRIES = [name for name, entry in list(TABLE.items()) if opcheck.is_checked(entry)]
MOST_ELEMENTS = 60


def kind_for(entry) -> str | None:
    """The dtype that an entry is tried with: its first among these."""
    listed = opcheck.dtype_names(entry)
    return next((d for d in ("float64", "int64", "bool") if d in listed), None)


def case_of(sample: opcheck.Sample, dtype: str, roll: int = 0) -> Case:
    """The sample's call in a dtype; rolled, its values stand in another order, so that they stay in the domain."""

    def array(a: np.ndarray) -> np.ndarray:
        return opcheck.tensor(np.roll(a.reshape(-1), roll).reshape(a.shape), dtype).numpy()

    args, kwargs = sample.map(array)
    return Case(tuple(args), kwargs)


@pytest.mark.parametrize("name", ENTRIES)
def test_vmap_is_a_loop(name):
    entry = TABLE[name]
    dtype = kind_for(entry)
    if dtype is None:
        pytest.skip("takes none of float64, int64 and bool")
    for sample in opcheck.samples(entry, opcheck.kind_of(dtype)):
        if all(a.size <= MOST_ELEMENTS for a in sample.arrays):
            examples = [case_of(sample, dtype, k) for k in range(casecheck.EXAMPLES)]
            casecheck.check_vmap(opcheck.function_of(entry), examples, f"{name} {opcheck._text(sample)}")


@pytest.mark.parametrize("name", [n for n in ENTRIES if TABLE[n].differentiable])
def test_forward_mode_agrees_with_reverse_mode(name):
    entry = TABLE[name]
    tried = [d for d in ("float64", "complex128") if d in opcheck.dtype_names(entry)]
    if not tried:
        pytest.skip("takes no floating point numbers")
    for dtype in tried:
        for sample in opcheck.samples(entry, opcheck.kind_of(dtype)):
            if 0 < sum(a.size for a in sample.arrays) <= MOST_ELEMENTS:
                what = f"{name} {opcheck._text(sample)}"
                casecheck.check_forward_mode(opcheck.function_of(entry), case_of(sample, dtype), what)
