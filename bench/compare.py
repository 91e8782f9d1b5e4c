"""The same programs under Flambeau and under PyTorch, in turn: ratios of times, memory, shares of the machine's limit.

    TORCH_PYTHON=/path/to/python python bench/compare.py              all workloads, into bench/RESULTS.md and .png
    python bench/compare.py --quick --only REGEX --threads 2 1        some, into build/bench/RESULTS.md and .png
    python bench/compare.py --against COMMIT                          beside another commit of ours
    python bench/compare.py --check                                   do both compute the same numbers?
    python bench/compare.py --channels-last                           beside PyTorch's channels-last convolutions

Ratios above 1 say that Flambeau is faster. Each round times one framework right after the other; the median of the
rounds' ratios counts, and the quartiles tell how far to trust it. Noisy rows get more rounds. First calls are apart:
of a fresh process, whose kernels are in the user's cache if any run before needed them. Memory is the peak of a fresh
process over that after the import.
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

import chart
import limits
import ratios
import worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CLOSE = 2e-3  # relative difference of losses that summing in another order explains


class Worker:
    """One framework in a process of its own."""

    def __init__(self, label: str, python: str, module: str, threads: int, tree: Path = ROOT, *more: str):
        self.label = label
        env = environment(threads, tree if module == "flambeau" else None)
        command = [python, str(HERE / "worker.py"), module, str(threads), *more]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.version = self._answer()["ready"]

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker died: {self._process.args}")
        return json.loads(line)

    def tell(self, command: str) -> None:
        """Sends a command."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def ask(self, command: str) -> dict:
        """Sends a command and waits for its answer."""
        self.tell(command)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.tell("quit")
        self._process.stdin.close()
        self._process.wait(10)


# Between turns: threads of OpenMP spin for a while after their work, and would take the next one's core.
PAUSE_SECONDS = 0.05


def environment(threads: int, tree: Path | None) -> dict[str, str]:
    """What a process with so many threads sees; `tree` holds the package."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), FLAMBEAU_NUM_THREADS=str(threads))
    if tree:
        env["PYTHONPATH"] = os.pathsep.join([str(tree / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return env


def worktree(commit: str) -> Path:
    """A tree of that commit under build/, built."""
    name = subprocess.run(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    tree = ROOT / "build" / "against" / name[:12]
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), name], cwd=ROOT, check=True)
    build = ["tools/build"]
    subprocess.run(build, cwd=tree, check=True, env=dict(os.environ, PYTHON=sys.executable), stdout=subprocess.DEVNULL)
    return tree


def measure(name: str, workers: list[Worker], rounds: int) -> dict:
    """One workload: medians, the median of the rounds' ratios and their quartiles, first calls, memory."""
    row: dict = {"name": name}
    counts = []
    for each in workers:
        answer = each.ask(f"load {name}")
        if "error" in answer:
            row["error"] = f"{each.label}: {answer['error']}"
            break
        row.setdefault("first", []).append(answer["first"])
        counts.append(answer["n"])
    if "error" not in row:
        try:
            row.update(_rounds(workers, counts, rounds))
        except RuntimeError as error:
            row["error"] = str(error)
    for each in workers:
        each.tell("drop")
    if "error" not in row:
        row["memory"] = [each.ask(f"memory {name}").get("bytes") for each in workers]
    return row


def add_shares(rows: list[dict], work: dict[str, tuple[str, float]], limit: dict[str, float]) -> None:
    """What part of the machine's limit ours reach, for the workloads that say what they need."""
    for row in rows:
        kind, amount = work.get(row["name"], ("", 0.0))
        if "error" not in row and kind in limit:
            row["share"] = amount / row["seconds"][0] / limit[kind]


def _rounds(workers: list[Worker], counts: list[int], rounds: int) -> dict:
    """Times in turn; where they are noisy, up to twice as many rounds."""
    times: list[list[float]] = [[] for _ in workers]
    row: dict = {}
    for i in range(2 * rounds):
        for each, n, seconds in zip(workers, counts, times, strict=True):
            answer = each.ask(f"time {n}")
            if "error" in answer:
                raise RuntimeError(f"{each.label}: {answer['error']}")
            seconds.append(answer["seconds"])
            time.sleep(PAUSE_SECONDS)
        if i < rounds - 1:
            continue
        row["seconds"] = [statistics.median(x) for x in times]
        if len(workers) < 2:
            return row
        row["ratio"], row["low"], row["high"] = ratios.summary(*times)
        if not ratios.noisy(row["ratio"], row["low"], row["high"]):
            return row
    return row


def head(labels: list[str]) -> str:
    """The first lines of the table."""
    names = ["workload", *(f"{label}, us" for label in labels), "ratio", "quartiles", "share of limit"]
    names += ["first call, ms", "memory, MiB"]
    return "| " + " | ".join(names) + " |\n|" + "---|" * len(names)


def line(row: dict, count: int) -> str:
    """A row of the table, of `count` frameworks."""
    if "error" in row:
        return f"| {row['name']} | {row['error'][:160].replace('|', '/')} |" + " |" * (count + 4)
    cells = [row["name"], *(f"{s * 1e6:.2f}" for s in row["seconds"])]
    if "ratio" in row:
        verdict = " (too noisy)" if ratios.noisy(row["ratio"], row["low"], row["high"]) else ""
        cells += [f"{row['ratio']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}{verdict}"]
    else:
        cells += ["", ""]
    cells.append(f"{100 * row['share']:.0f}%" if "share" in row else "")
    cells.append(" / ".join(f"{s * 1e3:.0f}" for s in row["first"]))
    cells.append(" / ".join("" if m is None else f"{m / 2**20:.1f}" for m in row["memory"]))
    return "| " + " | ".join(cells) + " |"


def cpu_name() -> str:
    """The processor, as the system names it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in text.splitlines() if x.startswith("model name")), "unknown")


def busy() -> list[str]:
    """A warning where other programs use this machine: threads that wait for each other then wait for those."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return []
    return [f"Other programs were using this machine (load {load:.1f} on {cores} cores): ratios say little."]


def measured_limits(threads: int) -> dict[str, float]:
    """`limits.measure` in a process that ends before the workloads begin."""
    command = [sys.executable, str(HERE / "limits.py"), "--threads", str(threads), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(threads, ROOT))
    return json.loads(done.stdout)


def start(options: argparse.Namespace, threads: int, tree: Path | None) -> list[Worker]:
    """Ours, and what it is compared with."""
    workers = [Worker("ours", sys.executable, "flambeau", threads)]
    if tree:
        workers.append(Worker(options.against, sys.executable, "flambeau", threads, tree))
    elif os.environ.get("TORCH_PYTHON"):
        order = ["channels_last"] if options.channels_last else []
        workers.append(Worker("PyTorch", os.environ["TORCH_PYTHON"], "torch", threads, ROOT, *order))
    return workers


def compare(workers: list[Worker], names: list[str], rounds: int, threads: int) -> tuple[list[str], list[dict], str]:
    """Measures all names, printing as it goes; returns the report's lines, the rows and a title."""
    limit, work = measured_limits(threads), worker.declared()[1]
    labels = [w.label for w in workers]
    versions = ", ".join(f"{'Flambeau' if w.label != 'PyTorch' else w.label} {w.version}" for w in workers)
    title = f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}, {versions}"
    warning = busy()
    top = [title + ".", *warning, f"Limits: {limits.text(limit)}.", head(labels)]
    print("\n\n".join(top), flush=True)
    rows = []
    for name in names:
        rows.append(measure(name, workers, rounds))
        add_shares(rows[-1:], work, limit)
        print(line(rows[-1], len(workers)), flush=True)
    # Other programs may have disturbed the first measurement: the report takes the better of two.
    limit = {kind: max(value, limit[kind]) for kind, value in measured_limits(threads).items()}
    add_shares(rows, work, limit)
    totals = ratios.totals(rows)
    print("\n" + "\n".join(totals) + "\n")
    report = [title + ".", "", *warning, "", f"Limits: {limits.text(limit)}.", "", *totals]
    report += ["", head(labels), *(line(row, len(workers)) for row in rows)]
    return report, rows, title


def check(workers: list[Worker], names: list[str]) -> int:
    """Prints what the frameworks compute where it differs; how many workloads differ."""
    different = 0
    for name in names:
        answers = [w.ask(f"check {name}") for w in workers]
        errors = [f"{w.label}: {a['error']}" for w, a in zip(workers, answers, strict=True) if "error" in a]
        if not errors and len(answers) > 1:
            ours, theirs = (a["values"] for a in answers)
            far = [b is not None and (a is None or not _close(a, b)) for a, b in zip(ours, theirs, strict=True)]
            errors = [f"ours {ours}, {workers[1].label} {theirs}"] if any(far) else []
        different += bool(errors)
        print(f"{name}: {'; '.join(errors) or 'the same'}", flush=True)
    print(f"{different} of {len(names)} differ")
    return different


def _close(a: float, b: float) -> bool:
    return a == b or (a != a and b != b) or abs(a - b) <= CLOSE * max(abs(a), abs(b))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="workloads whose name it is found in")
    parser.add_argument("--quick", action="store_true", help="representative workloads, three rounds")
    parser.add_argument("--rounds", type=int, help="default 7; with --quick 3")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="a table for each number")
    parser.add_argument("--against", metavar="COMMIT", help="compare with that commit of ours, not with PyTorch")
    parser.add_argument("--channels-last", action="store_true", help="operands in that order, PyTorch's only")
    parser.add_argument("--list", action="store_true", help="print the names of workloads")
    parser.add_argument("--check", action="store_true", help="compare what workloads compute, not how fast")
    parser.add_argument("--output", metavar="STEM", help="write STEM.md and STEM.png, in place of the usual ones")
    return parser.parse_args()


def output(options: argparse.Namespace) -> Path:
    """Where results go: only a whole comparison with PyTorch replaces the results that are kept."""
    part = options.only or options.quick or options.against or options.channels_last
    whole = not part and os.environ.get("TORCH_PYTHON")
    stem = Path(options.output) if options.output else HERE / "RESULTS" if whole else ROOT / "build/bench/RESULTS"
    stem.parent.mkdir(parents=True, exist_ok=True)
    return stem


def main() -> None:
    options = arguments()
    quick = worker.declared()[0]
    known = worker.workloads(options.channels_last)
    names = [n for n in known if re.search(options.only, n) and (n in quick or not options.quick)]
    if options.list:
        print("\n".join(names))
        return
    tree = worktree(options.against) if options.against else None
    report, pictured = ["# Results", ""], None
    for threads in options.threads:
        workers = start(options, threads, tree)
        if options.check:
            different = check(workers, names)
            sys.exit(bool(different))
        lines, rows, title = compare(workers, names, options.rounds or (3 if options.quick else 7), threads)
        report += [f"## {threads} threads" if threads > 1 else "## 1 thread", "", *lines, ""]
        pictured = pictured or (rows, title, workers[-1].label)
        for w in workers:
            w.close()
    stem = output(options)
    picture = stem.with_suffix(".png")
    if chart.draw(picture, *pictured):
        report[1:1] = ["", f"![ratios]({picture.name})"]
        print(f"{picture}")
    stem.with_suffix(".md").write_text("\n".join(report).rstrip() + "\n")
    print(f"{stem.with_suffix('.md')}")


if __name__ == "__main__":
    main()
