"""The same programs under Flambeau and under PyTorch, in turn, and their ratios.

    TORCH_PYTHON=/path/to/python python bench/compare.py [--only REGEX] [--rounds 7] [--threads 2] [--markdown FILE]

Ratios above 1 say that Flambeau is faster. Each round times one framework right after the other; the median of the
rounds' ratios counts, and the spread tells how far to trust it. First calls are shown apart.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ratios

HERE = Path(__file__).resolve().parent


class Worker:
    """One framework in a process of its own."""

    def __init__(self, python: str, module: str, threads: int):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), FLAMBEAU_NUM_THREADS=str(threads))
        if module == "flambeau":
            env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent / "src"), env.get("PYTHONPATH", "")])
        command = [python, str(HERE / "worker.py"), module, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.hello = self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker died: {self._process.args}")
        return json.loads(line)

    def ask(self, command: str) -> dict:
        """Sends one command and waits for its answer."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.write("quit\n")
        self._process.stdin.close()
        self._process.wait(10)


def measure(name: str, ours: Worker, theirs: Worker | None, rounds: int) -> dict:
    """One workload: medians, the median of the rounds' ratios and their spread."""
    row = {"name": name}
    loaded = {}
    for who, worker in (("ours", ours), ("theirs", theirs)):
        if worker is None:
            continue
        answer = worker.ask(f"load {name}")
        if "error" in answer:
            return {**row, "error": f"{who}: {answer['error']}"}
        loaded[who], row[f"first_{who}"] = (worker, answer["n"]), answer["first"]
    times = {who: [] for who in loaded}
    for _ in range(rounds):
        for who, (worker, n) in loaded.items():
            times[who].append(worker.ask(f"time {n}")["seconds"])
            time.sleep(0.005)
    for who, values in times.items():
        row[who] = statistics.median(values)
    if theirs is not None:
        row["ratio"], row["low"], row["high"] = ratios.summary(times["ours"], times["theirs"])
    return row


def line(row: dict) -> str:
    """A row of the table."""
    if "error" in row:
        return f"| {row['name']} | {row['error'][:100]} | | | | |"
    cells = [row["name"], f"{row['ours'] * 1e6:.2f}"]
    if "ratio" in row:
        cells += [f"{row['theirs'] * 1e6:.2f}", f"{row['ratio']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"]
        cells[-1] += " (too noisy)" if ratios.noisy(row["ratio"], row["low"], row["high"]) else ""
        cells.append(f"{row['first_ours'] * 1e3:.0f} / {row['first_theirs'] * 1e3:.0f}")
    else:
        cells += ["", "", "", f"{row['first_ours'] * 1e3:.0f}"]
    return "| " + " | ".join(cells) + " |"


HEAD = "| workload | ours, us | PyTorch, us | ratio | spread | first call, ms |\n|---|---|---|---|---|---|"


def cpu_name() -> str:
    """The processor, as the system names it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in text.splitlines() if x.startswith("model name")), "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", help="also write the table to this file")
    options = parser.parse_args()
    ours = Worker(sys.executable, "flambeau", options.threads)
    torch_python = os.environ.get("TORCH_PYTHON")
    theirs = Worker(torch_python, "torch", options.threads) if torch_python else None
    title = f"{cpu_name()}, {options.threads} threads, Flambeau {ours.hello['ready']}"
    title += f", PyTorch {theirs.hello['ready']}" if theirs else ""
    print(title + "\n\n" + HEAD, flush=True)
    rows = []
    for name in ours.hello["names"]:
        if re.search(options.only, name):
            rows.append(measure(name, ours, theirs, options.rounds))
            print(line(rows[-1]), flush=True)
    totals = ratios.totals(rows)
    print("\n" + "\n".join(totals))
    ours.close()
    if theirs:
        theirs.close()
    if options.markdown:
        parts = [f"# Results\n\n{title}\n", HEAD, *map(line, rows), "", *totals]
        Path(options.markdown).write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
