"""What a first training step costs in a fresh process: with the wheel's pack, with nothing, with a warm cache.

    python bench/first_step.py                 LeNet, 5 processes each
    python bench/first_step.py --step gpt_128 --rounds 9
    python bench/first_step.py --pack FOLDER   with these packs, instead of making them

A copy of the package gets the packs that a wheel would carry (tools/make_pack.py). Each process states the milliseconds
of its import, of its first and its second step, the same in processors' time (which a busy machine changes less), and
how many kernels it had to generate.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import json, sys, time
now = lambda: (time.perf_counter(), time.process_time())
begun = now()
import flambeau as torch
sys.path.insert(0, sys.argv[1])
imported = now()
import worker
step = worker.workloads()["steps." + sys.argv[2]](torch)
times = [now()]
for _ in range(2):
    float(step())
    times.append(now())
from flambeau.codegen import resolve
spans = [1e3 * (b[k] - a[k]) for k in (0, 1) for a, b in ((begun, imported), times[:2], times[1:])]
print(json.dumps([*spans, resolve.stats()["generated"]]))
"""


def run(package: Path, cache: Path, step: str) -> list[float]:
    """One process: milliseconds of import, first and second step by the clock and of processors' time, and kernels
    generated."""
    env = dict(os.environ, PYTHONPATH=str(package.parent), FLAMBEAU_CACHE=str(cache), PYTHONDONTWRITEBYTECODE="")
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "bench"), step]
    return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


def make_packs(package: Path, folder: Path) -> None:
    env = dict(os.environ, PYTHONPATH=str(package.parent))
    subprocess.run([sys.executable, str(ROOT / "tools" / "make_pack.py"), str(folder)], env=env, check=True)


def report(label: str, rows: list[list[float]]) -> None:
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{label:<22}" + "".join(f"{m:9.0f}" for m in medians), flush=True)


def measure(package: Path, packs: Path, step: str, rounds: int) -> None:
    """Fresh processes in each state, in turn, so that the machine's moods meet all of them."""
    rows: dict[str, list] = {"pack, empty cache": [], "no pack, empty cache": [], "no pack, warm cache": []}
    place = package / "_pack"
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as cache:
            shutil.copytree(packs, place)
            run(package, Path(empty), step)  # the system reads the files, Python compiles the modules, once
            shutil.rmtree(empty)
            rows["pack, empty cache"].append(run(package, Path(empty), step))
            shutil.rmtree(place)
            rows["no pack, empty cache"].append(run(package, Path(cache), step))
            rows["no pack, warm cache"].append(run(package, Path(cache), step))
    columns = ("import", "first", "second", "cpu", "first", "second", "generated")
    print(f"{f'{step}, ms, medians':<22}" + "".join(f"{c:>9}" for c in columns))
    for label, found in rows.items():
        report(label, found)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", default="lenet", help="a workload of bench/workloads/steps.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pack", type=Path, help="a folder with packs of these sources")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package, packs = Path(folder) / "flambeau", options.pack or Path(folder) / "packs"
        shutil.copytree(ROOT / "src" / "flambeau", package, ignore=shutil.ignore_patterns("_pack", "__pycache__"))
        if not options.pack:
            make_packs(package, packs)
        measure(package, packs, options.step, options.rounds)


if __name__ == "__main__":
    main()
