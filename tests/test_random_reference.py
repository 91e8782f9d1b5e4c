"""The numbers a seed gives are PyTorch's: integers, uniforms and masks exactly, normals and the like to 1e-6."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import flambeau
from random_cases import SEEDS, SEQUENCES, numbers

REFERENCE = json.loads((Path(__file__).parent / "data/random_reference.json").read_text())
# Beginnings of the titles of programs whose numbers pass through logarithms, roots, sines or exponentials.
NEAR = (
    "randn", "normal_", "log_normal_", "exponential_", "cauchy_", "xavier_normal_", "kaiming_normal_", "Embedding",
    "_standard_gamma", "_sample_dirichlet", "Normal", "Beta", "Gumbel", "StudentT", "VonMises", "MultivariateNormal",
    "RelaxedBernoulli",
)  # fmt: skip


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


class Words:
    """MT19937 of NumPy with the seed's first words, by draws of any length."""

    def __init__(self, seed: int) -> None:
        self.source = np.random.MT19937()
        self.source._legacy_seeding(seed)

    def __call__(self, n: int) -> np.ndarray:
        return self.source.random_raw(n)

    def doubles(self, n: int) -> np.ndarray:
        words = self(2 * n)
        return ((words[::2] << np.uint64(32) | words[1::2]) & np.uint64(2**53 - 1)) / 2**53


LENGTHS = (1, 7, 311, 312, 313, 2500, 300_007)  # around the 624 words of a table, and beyond one draw of many


@pytest.mark.parametrize("threads", [1, 3])
def test_long_draws_continue_each_other(threads: int) -> None:
    words, before = Words(11), flambeau.get_num_threads()
    flambeau.manual_seed(11)
    flambeau.set_num_threads(threads)
    try:
        for n in LENGTHS:
            singles = (words(n) & np.uint64(2**24 - 1)).astype(np.float32) / np.float32(2**24)
            assert np.array_equal(flambeau.rand(n).numpy(), singles), n
            assert np.array_equal(flambeau.rand(n, dtype=flambeau.float64).numpy(), words.doubles(n)), n
            for dtype in (flambeau.bool, flambeau.float32):
                mask = flambeau.empty(n, dtype=dtype).bernoulli_(0.3)
                assert np.array_equal(mask.numpy(), words.doubles(n) < 0.3), n
            for high in (1, 7, 2**28 - 1):
                assert np.array_equal(flambeau.randint(0, high, (n,)).numpy(), words(n) % np.uint64(high)), (n, high)
            pairs = words(2 * n)
            wide = (pairs[::2] << np.uint64(32) | pairs[1::2]) % np.uint64(2**40)
            assert np.array_equal(flambeau.randint(0, 2**40, (n,)).numpy(), wide), n
            waits = flambeau.empty(n, dtype=flambeau.float64).exponential_(2.0)
            np.testing.assert_allclose(waits.numpy(), -np.log1p(-words.doubles(n)) / 2, rtol=1e-14)
    finally:
        flambeau.set_num_threads(before)


@pytest.mark.parametrize("p", [0.0, 2.0**-53, 0.1, 1 - 2.0**-53, 1.0])
def test_bernoulli_at_the_ends(p: float) -> None:
    words = Words(4)
    flambeau.manual_seed(4)
    mask = flambeau.empty(1000, dtype=flambeau.bool).bernoulli_(p)
    assert np.array_equal(mask.numpy(), words.doubles(1000) < p)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, 300_007])
def test_permutations_exchange_each_place_with_a_later_one(n: int) -> None:
    words = Words(5)
    flambeau.manual_seed(5)
    expected = list(range(n))
    for i, word in enumerate(words(max(n - 1, 0)).tolist()):
        j = i + word % (n - i)
        expected[i], expected[j] = expected[j], expected[i]
    assert flambeau.randperm(n).tolist() == expected


def test_rows_of_weights_are_drawn_from_on_their_own() -> None:
    weights = flambeau.rand(130, 40, dtype=flambeau.float64)
    words = Words(6)
    flambeau.manual_seed(6)
    got = flambeau.multinomial(weights, 90, replacement=True).numpy()
    cumulative = np.cumsum(weights.numpy(), 1)
    cumulative /= cumulative[:, -1:]
    expected = [np.searchsorted(row[:-1], words.doubles(90)) for row in cumulative]
    assert np.array_equal(got, expected)
