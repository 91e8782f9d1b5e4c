"""The numbers a seed gives are PyTorch's: integers, uniforms and masks exactly, normals and the like to 1e-6."""

import hashlib
import json
from pathlib import Path

import pytest

import flambeau
from random_cases import SEEDS, SEQUENCES, numbers

REFERENCE = json.loads((Path(__file__).parent / "data/random_reference.json").read_text())
# Beginnings of the titles of programs whose numbers pass through logarithms, roots, sines or exponentials.
NEAR = ("randn", "normal_", "log_normal_", "exponential_", "cauchy_", "xavier_normal_", "kaiming_normal_", "Embedding")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_recorded_numbers(sequence: str, seed: int) -> None:
    expected = REFERENCE[f"{sequence}-{seed}"]["values"]
    flambeau.manual_seed(seed)
    for title, program in SEQUENCES[sequence].items():
        got = numbers(program(flambeau))
        if title.startswith(NEAR):
            assert got == [pytest.approx(want, abs=1e-6, rel=1e-6) for want in expected[title]], title
        else:
            assert got == expected[title], title


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_generator_ends_in_the_recorded_state(sequence: str, seed: int) -> None:
    flambeau.manual_seed(seed)
    for program in SEQUENCES[sequence].values():
        program(flambeau)
    state = hashlib.sha256(bytes(flambeau.get_rng_state().tolist())).hexdigest()
    assert state == REFERENCE[f"{sequence}-{seed}"]["state"]
