"""The instructions that small calls execute stay what they were: `bench/instructions.py` counts and records them."""

import json

import pytest

import bench_modules

SLOWER, LOOSE = 1.05, 0.75

instructions = bench_modules.load("instructions")

pytestmark = pytest.mark.skipif(instructions.missing() is not None, reason=str(instructions.missing()))


@pytest.fixture(scope="module")
def baseline() -> dict[str, int]:
    found = json.loads(instructions.BASELINE.read_text()).get(instructions.key())
    if found is None:
        pytest.skip(f"no baseline for {instructions.key()}: bench/instructions.py --record makes one")
    return found


@pytest.fixture(scope="module")
def counts(baseline: dict[str, int]) -> dict[str, float]:
    return instructions.count_all()


@pytest.mark.parametrize("name", [*instructions.PROGRAMS, *instructions.DIFFERENCES])
def test_instructions_of_one_call(name: str, baseline: dict[str, int], counts: dict[str, float]) -> None:
    now, before = counts[name], baseline[name]
    assert now <= before * SLOWER, f"{name} executes {now:.0f} instructions, {before} before"
    assert now >= before * LOOSE, (
        f"{name} executes only {now:.0f} instructions, {before} before: record the new baseline"
    )
