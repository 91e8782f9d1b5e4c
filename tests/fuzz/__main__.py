"""Calls every operator of the table with random arguments: nothing may crash, hang, leak or fail in an unforeseen way.

    python -m fuzz --calls 1000000 --seed 1          (with tests/ on the path; tools/fuzz does it under sanitizers)
    python -m fuzz --only conv2d --first 17 --calls 1

A worker process makes the calls. Before each it writes down which one, so that one that ends the process is known.
"""

import argparse
import collections
import gc
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import flambeau as torch
from flambeau.ops import names
from flambeau.ops.table import TABLE, Entry
from fuzz.draw import Draw

# What a wrong call may raise: these classes themselves, and one more where PyTorch has it.
EXPECTED = {
    "RuntimeError", "TypeError", "ValueError", "IndexError", "NotImplementedError", "OverflowError", "_LinAlgError",
    "OutOfMemoryError",
}  # fmt: skip
EXPECTED_OF = dict.fromkeys(("lobpcg", "masked_var", "masked_std"), "AssertionError")
SECONDS = 20  # a call that takes longer hangs
LEAK_BYTES = 1 << 20


def public_entries(pattern: str) -> list[str]:
    """What a user can call."""
    return [n for n, e in TABLE.items() if (e.names or e.inplace_names) and re.search(pattern, n)]


def function_of(entry: Entry):
    return getattr(names.operators, entry.base_name)


class Hang(Exception):
    """A call took too long."""


def _alarm(*_: object) -> None:
    raise Hang


def run_one(entry: Entry, seed: int, number: int) -> str:
    """Makes one call; gives "ok", or the name of the exception."""
    args, kwargs = Draw(f"{seed} {entry.name} {number}").call(entry)
    signal.alarm(SECONDS)
    try:
        result = function_of(entry)(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.requires_grad and number % 4 == 0:
            result.sum().backward()
        return "ok"
    except Exception as error:
        name = type(error).__name__
        if name in EXPECTED or name == EXPECTED_OF.get(entry.name):
            return name
        raise
    finally:
        signal.alarm(0)


def work(options: argparse.Namespace) -> None:
    """The worker: reports a line for each entry, and for each unforeseen exception."""
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")
    place = Path(options.place)
    for name in options.names.split(","):
        entry, counts, strange = TABLE[name], collections.Counter(), []
        gc.collect()
        before = torch.cpu.memory_stats()["live_bytes"]
        for number in range(options.first, options.first + options.calls):
            place.write_text(f"{name} {number}")
            try:
                counts[run_one(entry, options.seed, number)] += 1
            except Exception as error:
                counts["unforeseen"] += 1
                strange.append([number, f"{type(error).__name__}: {error}"[:300]])
        gc.collect()
        grown = torch.cpu.memory_stats()["live_bytes"] - before
        print(json.dumps({"name": name, "counts": counts, "strange": strange[:5], "grown": grown}), flush=True)


def drive(options: argparse.Namespace) -> int:
    """Starts workers, one after the other where one dies, and sums up."""
    todo = collections.deque(public_entries(options.only))
    each = max(1, options.calls // max(len(todo), 1))
    total: collections.Counter = collections.Counter()
    faults, start, done = [], time.monotonic(), 0
    skipping: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "call"
        while todo:
            first = skipping.get(todo[0], options.first)
            batch = [todo[0]] if todo[0] in skipping else list(todo)[:25]
            command = [
                sys.executable, "-m", "fuzz", "--place", str(place), "--names", ",".join(batch),
                "--seed", str(options.seed), "--first", str(first), "--calls", str(each - (first - options.first)),
                *(["--load", options.load] if options.load else []),
            ]  # fmt: skip
            worker = subprocess.run(command, capture_output=True, text=True)
            for line in worker.stdout.splitlines():
                report = json.loads(line)
                todo.remove(report["name"])
                total.update(report["counts"])
                done += 1
                faults += [f"{report['name']} {n}: {text}" for n, text in report["strange"]]
                if report["grown"] > LEAK_BYTES:
                    faults.append(f"{report['name']}: {report['grown']} bytes are still held after its calls")
            if worker.returncode:
                name, number = place.read_text().split()
                head = worker.stderr.strip()[:1500]
                faults.append(f"{name} {number}: the process ended with {worker.returncode}: {head}")
                if name in todo:
                    skipping[name] = int(number) + 1
                    if skipping[name] >= options.first + each:
                        todo.remove(name)
            if options.verbose:
                print(f"{done} operators, {sum(total.values())} calls, {len(faults)} faults", flush=True)
    calls = sum(total.values())
    print(f"seed {options.seed}: {calls} calls of {done} operators, {each} each, {time.monotonic() - start:.0f} s")
    print(f"valid: {total['ok']} ({total['ok'] / max(calls, 1):.0%})")
    print("raised: " + ", ".join(f"{k} {v}" for k, v in total.most_common() if k != "ok"))
    print(f"faults: {len(faults)}")
    print(*faults, sep="\n")
    return bool(faults)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of each operator's first call")
    parser.add_argument("--only", default="", help="a regular expression for the operators' names")
    parser.add_argument("--load", help="a Python file with operators of your own")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--names", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        runpy.run_path(options.load)
    if options.names:
        work(options)
        return 0
    return drive(options)


if __name__ == "__main__":
    os.environ.setdefault("FLAMBEAU_NUM_THREADS", "2")
    sys.exit(main())
