"""`out=` over the table: every function whose form in PyTorch takes it, with PyTorch's sentences (recorded)."""

import json
from pathlib import Path

import pytest

import flambeau as torch
import outcheck

FORMS = json.loads((Path(__file__).parent / "data" / "out_forms.json").read_text())
CALLS = {name: case for name, case in outcheck.calls() if name in FORMS}
#: Sentences of many operators. Others have words of their own for the same; of these the class is compared.
GENERAL = ("result type", "Expected out tensor to have dtype", "Found dtype", "torch.cat(): input types")
#: Written in another dtype here, which PyTorch refuses: the int32 or float32 that was asked for holds the numbers.
CAST = ("nansum", "nanmean", "searchsorted", "bucketize")
COPIES = "Attempting to copy from device cpu to device meta, but cross-device copies are not allowed!"
GRADIENT = "functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad."


#: Resizes and copies in Python, in PyTorch too: any size, dtype and device will do.
COPIED = ("lu",)


def test_every_recorded_function_is_called() -> None:
    assert FORMS.keys() == CALLS.keys()
    assert len(FORMS) > 300


def other_dtype(r: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(r, dtype=torch.int32 if r.is_floating_point() or r.is_complex() else torch.float32)


def check_dtype(form: outcheck.OutForm) -> None:
    """Another dtype is cast to or refused."""
    wanted, got = FORMS[form.name]["dtype"], form.error(form.outs(other_dtype))
    if wanted is None:
        assert got is None, f"{form.name}: {got}"
        return
    if got is None:
        assert form.name in CAST, f"{form.name} takes it; PyTorch: {wanted}"
        return
    assert got[0] == wanted[0] or form.name in CAST, f"{form.name}: {got}, PyTorch: {wanted}"
    if wanted[1].startswith(GENERAL):
        assert wanted[1] in got[1], f"{form.name}: {got}, PyTorch: {wanted}"


def check_device(form: outcheck.OutForm) -> None:
    """Another device is refused."""
    got = form.error(form.outs(lambda r: torch.empty_like(r, device="meta")))
    assert got is not None and got[0] == "RuntimeError" and COPIES in got[1], f"{form.name}: {got}"


def check_gradient(form: outcheck.OutForm) -> None:
    """PyTorch lets some composites write a result that has lost its gradient; here all say so."""
    wanted, got = FORMS[form.name]["grad"], form.error(form.outs(torch.empty_like), grad=True)
    if wanted is None:
        assert got is None or GRADIENT in got[1], f"{form.name}: {got}"
        return
    assert GRADIENT in wanted[1]
    assert got is not None and got[0] == wanted[0] and GRADIENT in got[1], f"{form.name}: {got}, PyTorch: {wanted}"


@pytest.mark.parametrize("name", CALLS)
def test_out(name: str) -> None:
    form = outcheck.OutForm(name, CALLS[name])
    check_dtype(form)
    check_gradient(form)
    if name not in COPIED:
        outcheck.check_values(form)
        outcheck.check_resize(form)
        check_device(form)
