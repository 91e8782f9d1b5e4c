"""The bench: its statistics, and one workload of each file."""

import importlib.util
from pathlib import Path

import pytest

import flambeau as fl

BENCH = Path(__file__).parents[1] / "bench"


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ratios, worker = load("ratios"), load("worker")
FIRST = {name.partition(".")[0]: name for name in reversed(worker.workloads())}


def test_statistics():
    assert ratios.summary([1, 2, 4], [2, 2, 2]) == (1, 0.5, 2)
    assert ratios.geometric_mean([0.5, 2, 8]) == pytest.approx(2)
    assert ratios.noisy(1, 0.8, 1.2)
    assert not ratios.noisy(1, 0.98, 1.02)
    assert not ratios.noisy(2, 1.5, 2.5)


def test_totals_weigh_families_alike():
    rows = [{"name": n, "ratio": r} for n, r in (("a.x", 4), ("a.y", 4), ("b.x", 0.9), ("b.y", 0.625))]
    assert ratios.totals([*rows, {"name": "b.z", "error": "missing"}])[2:] == [
        "- over families: 1.73",
        "- below 0.97: 2 of 4",
        "- below 0.8: 1 of 4",
    ]


@pytest.mark.parametrize("family", sorted(FIRST))
def test_a_workload_of_each_file_runs(family):
    worker.workloads()[FIRST[family]](fl)()
