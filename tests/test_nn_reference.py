"""Modules, losses, optimizers, schedules and data loaders give what PyTorch gave, from the same seed."""

import json
from pathlib import Path
from typing import Any

import pytest

import flambeau
from nn_cases import REPRS, programs, run

REFERENCE = json.loads((Path(__file__).parent / "data/nn_reference.json").read_text())
PROGRAMS = programs()


def same(got: Any, want: Any) -> bool:
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    return got == pytest.approx(want, rel=2e-4, abs=2e-5, nan_ok=True)


@pytest.mark.parametrize("title", PROGRAMS)
def test_recorded_values(title: str) -> None:
    got, want = run(flambeau, PROGRAMS[title]), REFERENCE["values"][title]
    assert same(got, want), f"got {got}\nwanted {want}"


@pytest.mark.parametrize("title", REPRS)
def test_recorded_reprs(title: str) -> None:
    assert repr(REPRS[title](flambeau)) == REFERENCE["reprs"][title]
