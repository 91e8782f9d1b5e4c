"""The bench: its statistics, its worker, and one workload of each file."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as fl

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module", autouse=True)
def bench_on_path():
    """The bench's files import each other by name, as scripts do."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(name):
    return importlib.import_module(name)


def row(name, ratio, low=None, high=None):
    return {"name": name, "ratio": ratio, "low": low or ratio, "high": high or ratio}


def test_statistics():
    ratios = load("ratios")
    assert ratios.summary([1, 2, 4], [2, 2, 2]) == (1, 0.75, 1.5)
    assert ratios.summary([2], [3]) == (1.5, 1.5, 1.5)
    assert ratios.geometric_mean([0.5, 2, 8]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (1, 0.9, 1.1, True),
        (1, 0.98, 1.02, False),
        (2, 1.8, 2.2, False),
        (2, 1.5, 2.5, True),  # faster for sure, but by how much?
    ],
)
def test_noise(ratio, low, high, expected):
    assert load("ratios").noisy(ratio, low, high) is expected


def test_totals_weigh_families_alike():
    rows = [row(n, r) for n, r in (("a.x", 4), ("a.y", 4), ("b.x", 0.9), ("b.y", 0.625))]
    rows += [row("a.z", 4, 2, 8), {"name": "b.z", "error": "missing"}]
    assert load("ratios").totals(rows)[2:] == [
        "- over families: 1.73",
        "- below 0.97: 2 of 5",
        "- below 0.8: 1 of 5",
        "- too noisy to tell, run again on a quieter machine: a.z",
        "- failed: b.z",
    ]


def test_table_and_chart(tmp_path):
    compare, chart = load("compare"), load("chart")
    measured = {"seconds": [1e-6, 2e-6], "first": [0.001, 0.002], "memory": [1 << 20, None], "share": 0.5}
    assert compare.line(row("a.x", 2) | measured, 2) == (
        "| a.x | 1.00 | 2.00 | 2.00 | 2.00 to 2.00 | 50% | 1 / 2 | 1.0 /  |"
    )
    failed = {"name": "a.y", "error": "ours: NotImplementedError: a | b"}
    assert compare.line(failed, 2).startswith("| a.y | ours: NotImplementedError: a / b |")
    width = compare.head(["ours", "PyTorch"]).splitlines()[0].count("|")
    assert compare.line(failed, 2).count("|") == width
    pytest.importorskip("matplotlib", reason="charts need the extra demo")
    assert not chart.draw(tmp_path / "none.png", [failed], "title", "PyTorch")
    rows = [row(f"{family}.{i}", 0.5 + i / 10) for family in "ab" for i in range(60)]
    assert [len(c) for c in chart._columns(rows)] == [61, 61]
    assert chart.draw(tmp_path / "chart.png", rows, "title", "PyTorch")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read from /proc")
def test_worker_serves_and_survives_failures():
    env = dict(os.environ, PYTHONPATH=str(BENCH.parent / "src"))
    command = [sys.executable, str(BENCH / "worker.py"), "flambeau", "1"]
    lines = ["load dispatch.tiny_add", "time 3", "drop", "load no.such", "drop", "memory dispatch.tiny_add"]
    lines += ["check inference.dqn_action", "quit"]
    text = subprocess.run(
        command, input="\n".join(lines) + "\n", env=env, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    ready, loaded, timed, missing, memory, checked = map(json.loads, text.splitlines())
    assert ready == {"ready": fl.__version__}
    assert loaded["first"] > 0
    assert loaded["n"] >= 1
    assert timed["seconds"] > 0
    assert missing == {"error": "KeyError: 'no.such'"}
    assert memory["bytes"] >= 0
    assert len(checked["values"]) == 5
    assert set(checked["values"]) <= {0.0, 1.0}


def test_limits_are_measured(monkeypatch):
    limits = load("limits")
    monkeypatch.setattr(limits, "BLOCK", 1 << 20)
    monkeypatch.setattr(limits, "ROUNDS", 1)
    monkeypatch.setattr(limits, "STEPS", 1000)
    found = limits.measure(2)
    assert {"float32", "float64", "copy", "read"} <= set(found)
    assert all(value > 1e6 for value in found.values())


def test_what_workloads_declare_belongs_to_workloads():
    worker = load("worker")
    names, (quick, work) = worker.workloads(), worker.declared()
    assert set(quick) | set(work) <= set(names)
    assert {name.partition(".")[0] for name in quick} == {name.partition(".")[0] for name in names}
    assert {limit for limit, _ in work.values()} <= {"float32", "float64", "bfloat16", "copy", "read"}


@pytest.mark.parametrize("family", sorted(path.stem for path in (BENCH / "workloads").glob("*.py")))
def test_a_workload_of_each_file_runs(family):
    worker = load("worker")
    names = [name for name in worker.workloads() if name.startswith(f"{family}.")]
    worker.workloads()[names[0]](fl)()
