"""Counts the instructions that small calls execute, with callgrind: a number that a busy machine does not change.

    python bench/instructions.py                 prints the counts of every program
    python bench/instructions.py --record        writes them to tests/data/instructions.json as the new baseline
    python bench/instructions.py --where NAME    prints the functions in which a program's instructions are spent

A program runs its call N and 2N times (callgrind collects nothing else, so start-up does not count); the difference
over N is one call. What would move the count is held still: one thread, PYTHONHASHSEED=0, no address randomisation, no
garbage collection, kernels already in the cache, and a first round that nobody counts, for caches and the
interpreter's specialised bytecode. Valgrind knows no AVX-512, so the target is x86-64-v3.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "tests" / "data" / "instructions.json"
TARGET = "x86-64-v3"
CALLS = 400
WARM_UP = 40

# Name -> (what is prepared, the call).
PROGRAMS = {
    "add": ("a, b = fl.rand(4), fl.rand(4)", "a + b"),
    "add_grad": ("a, b = fl.rand(4, requires_grad=True), fl.rand(4)", "a + b"),
    "mul_number": ("a = fl.rand(4)", "a * 2.0"),
    "view": ("a = fl.rand(4, 4)", "a.t()"),
    "mul_sum_backward": (
        "x, y = fl.rand(4, requires_grad=True), fl.rand(4, requires_grad=True)",
        "(x * y).sum().backward()",
    ),
    "softmax": ("a = fl.rand(2, 4)", "fl.softmax(a, 1)"),
    "linear_module": ("m, x = fl.nn.Linear(4, 4), fl.rand(4, 4)", "m(x)"),
    "linear_function": (
        "m, x = fl.nn.Linear(4, 4), fl.rand(4, 4); f, w, b = fl.nn.functional.linear, m.weight, m.bias",
        "f(x, w, b)",
    ),
}
# What a module's call costs on top of the function it calls.
DIFFERENCES = {"linear_module_overhead": ("linear_module", "linear_function")}

# hex(step) calls PyNumber_ToBase, which nothing else does, and from there __index__: callgrind collects just that.
GATE = "PyNumber_ToBase"
SCRIPT = """
import gc, sys
from itertools import repeat
import flambeau as fl

fl.set_num_threads(1)
gc.disable()

def measure(step):
    for step.n in map(int, sys.argv[1].split(",")):
        gc.collect()
        hex(step)
{programs}"""
PROGRAM = """
class Step:
    def __index__(self):
        {prepare}
        for _ in repeat(None, self.n):
            {call}
        return 0

measure(Step())
"""


def missing() -> str | None:
    """Why instructions cannot be counted here; None where they can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "instructions are counted on x86-64 Linux"
    if os.environ.get("FLAMBEAU_GUARD"):
        return "guard mode is not what is counted"
    return None if shutil.which("valgrind") else "valgrind is not installed"


def environment() -> dict[str, str]:
    """What the counted processes see."""
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "0",
        "FLAMBEAU_TARGET": TARGET,
        "FLAMBEAU_NUM_THREADS": "1",
        "FLAMBEAU_CACHE": os.environ.get("FLAMBEAU_CACHE", str(ROOT / "build" / "test-cache")),
    }


def execute(names: list[str], counts: list[int], *tool: str) -> None:
    """Runs each program once for each of `counts`, that many calls at a time, under `tool` where one is given."""
    programs = "".join(PROGRAM.format(prepare=PROGRAMS[n][0], call=PROGRAMS[n][1]) for n in names)
    script = SCRIPT.format(programs=programs)
    command = [*tool, sys.executable, "-c", script, ",".join(map(str, counts))]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(tool[:4])} failed with {done.returncode}\n{done.stderr[-4000:]}")


def callgrind(names: list[str], counts: list[int], folder: str) -> list[Path]:
    """One profile for each program and count, in order."""
    still = ["setarch", "-R"] if shutil.which("setarch") else []
    options = [f"--toggle-collect={GATE}", f"--dump-after={GATE}", f"--callgrind-out-file={folder}/out"]
    execute(names, counts, *still, "valgrind", "--tool=callgrind", *options)
    profiles = sorted(Path(folder).glob("out.*"), key=lambda p: int(p.suffix[1:]))
    return profiles[-len(names) * len(counts) :]


def instructions_in(profile: Path) -> int:
    """What a profile counted altogether."""
    return int(re.search(r"^(?:totals|summary): (\d+)", profile.read_text(), re.MULTILINE).group(1))


def count_all() -> dict[str, float]:
    """Name -> instructions of one call, for all programs."""
    names = list(PROGRAMS)
    execute(names, [1])  # compiles kernels that the cache does not hold yet
    with tempfile.TemporaryDirectory() as folder:
        totals = [instructions_in(p) for p in callgrind(names, [WARM_UP, CALLS, 2 * CALLS], folder)]
    counts = {n: (totals[3 * i + 2] - totals[3 * i + 1]) / CALLS for i, n in enumerate(names)}
    for name, (whole, part) in DIFFERENCES.items():
        counts[name] = counts[whole] - counts[part]
    return counts


def key() -> str:
    """Under what a baseline is stored: the interpreter's bytecode and the kernels' target decide the counts."""
    return f"{sys.version_info.major}.{sys.version_info.minor} {TARGET}"


def record(counts: dict[str, float]) -> None:
    """Makes the counts the baseline of this interpreter."""
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    baselines[key()] = {name: round(value) for name, value in counts.items()}
    BASELINE.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")


def where(name: str, lines: int = 45) -> str:
    """The functions in which a program spends its instructions."""
    execute([name], [1])
    with tempfile.TemporaryDirectory() as folder:
        profile = callgrind([name], [WARM_UP, 2 * CALLS], folder)[-1]
        command = ["callgrind_annotate", "--threshold=99", str(profile)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(text.splitlines()[:lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--where", metavar="NAME", choices=PROGRAMS)
    arguments = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    if arguments.where:
        print(where(arguments.where))
        return
    counts = count_all()
    for name, value in counts.items():
        print(f"{name:24} {value:10.1f}")
    if arguments.record:
        record(counts)


if __name__ == "__main__":
    main()
