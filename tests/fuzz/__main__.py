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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flambeau as torch
from flambeau.ops.table import TABLE, Entry
from fuzz.draw import Draw

# What a wrong call may raise: these classes themselves, and one more where PyTorch has it.
EXPECTED = {
    "RuntimeError", "TypeError", "ValueError", "IndexError", "NotImplementedError", "OverflowError", "_LinAlgError",
    "OutOfMemoryError",
}  # fmt: skip
EXPECTED_OF = dict.fromkeys(("lobpcg", "masked_var", "masked_std", "masked_norm", "masked_normalize"), "AssertionError")
SECONDS = 30  # of the processors' time: a call that takes longer hangs, and the signal ends the process
PATIENCE = 600  # seconds in all: a call that waits longer
LEAK_BYTES = 1 << 20
BATCH = 50  # operators of one process
SELDOM = 0.1  # operators with a smaller share of valid calls are named


def public_entries(pattern: str) -> list[str]:
    """What a user can call."""
    return [n for n, e in TABLE.items() if (e.names or e.inplace_names) and re.search(pattern, n)]


def run_one(entry: Entry, seed: int, number: int) -> str:
    """Makes one call; gives "ok", or the name of the exception."""
    function, args, kwargs = Draw(f"{seed} {entry.name} {number}").bound(entry)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(PATIENCE)
    try:
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.requires_grad and number % 4 == 0:
            result.sum().backward()
        return "ok"
    except Exception as error:
        name = type(error).__name__
        if name in EXPECTED or name == EXPECTED_OF.get(entry.name):
            return name
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def work(options: argparse.Namespace) -> None:
    """The worker: reports a line for each entry, and for each unforeseen exception."""
    warnings.simplefilter("ignore")
    gc.freeze()  # what was imported stays: looking through it again and again would take most of the time
    place = os.open(options.place, os.O_WRONLY)
    for word in options.names.split(","):
        name, _, first = word.partition(":")
        entry, counts, strange = TABLE[name], collections.Counter(), []
        gc.collect()
        before = torch.cpu.memory_stats()["live_bytes"]
        for number in range(int(first), options.first + options.calls):
            os.pwrite(place, f"{name} {number}".ljust(100).encode(), 0)
            try:
                counts[run_one(entry, options.seed, number)] += 1
            except Exception as error:
                counts["unforeseen"] += 1
                strange.append([number, f"{type(error).__name__}: {error}"[:300]])
        gc.collect()
        grown = torch.cpu.memory_stats()["live_bytes"] - before
        print(json.dumps({"name": name, "counts": counts, "strange": strange[:5], "grown": grown}), flush=True)


class Totals:
    """What the workers' reports come to."""

    def __init__(self, verbose: bool):
        self.verbose = verbose
        self.by_name: dict[str, collections.Counter] = {}
        self.faults: list[str] = []

    @property
    def counts(self) -> collections.Counter:
        return sum(self.by_name.values(), collections.Counter())

    def add(self, report: dict) -> None:
        self.by_name[report["name"]] = collections.Counter(report["counts"])
        for number, text in report["strange"]:
            self.fault(f"{report['name']} {number}: {text}")
        if report["grown"] > LEAK_BYTES:
            self.fault(f"{report['name']}: {report['grown']} bytes are still held after its calls")

    def fault(self, text: str) -> None:
        self.faults.append(text)
        if self.verbose:
            print(text, flush=True)

    def summary(self) -> str:
        counts = self.counts
        calls = sum(counts.values())
        shares = sorted((c["ok"] / max(c.total(), 1), name) for name, c in self.by_name.items())
        seldom = [f"{name} {share:.0%}" for share, name in shares if share < SELDOM]
        return "\n".join([
            f"{calls} calls of {len(self.by_name)} operators, {counts['ok'] / max(calls, 1):.0%} valid",
            "raised: " + ", ".join(f"{k} {v}" for k, v in counts.most_common() if k != "ok"),
            f"valid in fewer than {SELDOM:.0%} of the calls: {', '.join(seldom) or 'none'}",
            f"faults: {len(self.faults)}",
            *self.faults,
        ])  # fmt: skip


def run_batch(options: argparse.Namespace, each: int, names: list[str], totals: Totals) -> None:
    """Calls some operators in a worker, and in a new one from the next call on where it dies."""
    todo = dict.fromkeys(names, options.first)
    with tempfile.NamedTemporaryFile() as place:
        while todo:
            command = [
                sys.executable, "-m", "fuzz", "--place", place.name, "--seed", str(options.seed),
                "--names", ",".join(f"{name}:{first}" for name, first in todo.items()),
                "--first", str(options.first), "--calls", str(each), *(["--load", options.load] if options.load else []),
            ]  # fmt: skip
            worker = subprocess.run(command, capture_output=True, text=True)
            for line in worker.stdout.splitlines():
                report = json.loads(line)
                del todo[report["name"]]
                totals.add(report)
            if worker.returncode:
                name, _, number = Path(place.name).read_text().strip().partition(" ")
                totals.fault(f"{name} {number}: the process ended with {worker.returncode}: {worker.stderr.strip()[:1500]}")
                if name not in todo:
                    break  # it ended before its first call, or after its last one
                todo[name] = int(number) + 1
    if options.verbose:
        counts = totals.counts
        print(f"{len(totals.by_name)} operators, {sum(counts.values())} calls, {len(totals.faults)} faults", flush=True)


def drive(options: argparse.Namespace) -> int:
    """Cuts the operators into batches, and sums up."""
    names, start = public_entries(options.only), time.monotonic()
    each = max(1, options.calls // max(len(names), 1))
    totals = Totals(options.verbose)
    with ThreadPoolExecutor(options.jobs) as pool:
        batches = [names[k : k + BATCH] for k in range(0, len(names), BATCH)]
        list(pool.map(lambda batch: run_batch(options, each, batch, totals), batches))
    print(f"seed {options.seed}, calls {options.first} to {options.first + each - 1} of each operator, ", end="")
    print(f"{time.monotonic() - start:.0f} s")
    print(totals.summary())
    return bool(totals.faults)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of each operator's first call")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
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
