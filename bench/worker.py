"""Runs workloads in one framework on command; `compare.py` drives two of these in turn.

    python bench/worker.py flambeau|torch THREADS [channels_last]

Reads lines from standard input, answers each with one line of JSON:
    load NAME     prepare a workload; answers the time of its first call and how many calls make about 60 ms
    time N        run it N times; answers seconds for one call
    memory NAME   answers the bytes that the workload needs at its peak
    check NAME    answers what its first calls return, as one number each
    drop          forget the workload
    quit

Every workload runs in a child forked from a process that has imported the framework and nothing else: no workload sees
what another left behind, and one that dies is a row of the table, not the end of the run.
"""

import importlib
import importlib.util
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALLS_CHECKED = 5


def modules() -> dict:
    """File name -> module, for all files of workloads."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))  # workloads share `models`
    found = {}
    for path in sorted((HERE / "workloads").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"workloads_{path.stem}", path)
        found[path.stem] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return found


def workloads(channels_last: bool = False) -> dict[str, Callable]:
    """Name -> function(torch) that prepares a workload and returns what one call does.

    With `channels_last` they are those whose operands can come in that order, and do.
    """
    table = "CHANNELS_LAST" if channels_last else "WORKLOADS"
    return {f"{stem}.{name}": make for stem, m in modules().items() for name, make in getattr(m, table, {}).items()}


def declared() -> tuple[list[str], dict[str, tuple[str, float]]]:
    """Names of representative workloads, and what workloads say of the work of a call: which limit of the machine they
    meet (a key of `limits.measure()`), and how many operations or bytes of it they need."""
    quick, work = [], {}
    for stem, module in modules().items():
        names = getattr(module, "QUICK", list(module.WORKLOADS)[:1])
        quick += [f"{stem}.{name}" for name in names]
        work.update({f"{stem}.{name}": value for name, value in getattr(module, "WORK", {}).items()})
    return quick, work


def run(step: Callable, n: int) -> float:
    """Seconds for one of n calls."""
    start = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - start) / n


def load(make: Callable, torch) -> tuple[Callable, float, int]:
    """A prepared workload, the seconds its first call took, and how many calls make about 60 ms."""
    torch.manual_seed(0)
    step = make(torch)
    first = run(step, 1)
    once = max(run(step, 1), 1e-8)
    for _ in range(3):  # calls get faster as caches fill
        if once < 0.03:
            once = max(run(step, max(1, int(0.005 / once))), 1e-8)
    return step, first, max(1, int(0.06 / once))


def memory(make: Callable, torch) -> int | None:
    """Bytes at the peak of two calls, over those of the import: memory that files stand behind (code) left out."""
    before = resident()
    if not before:
        return None
    torch.manual_seed(0)
    step = make(torch)
    for _ in range(2):
        step()
    after = resident()
    return max(0, after["VmHWM"] - after["RssFile"] - before["RssAnon"])


def resident() -> dict[str, int]:
    """Bytes of this process in memory, by kind, where the system tells."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return {}
    return {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def check(make: Callable, torch) -> list[float | None]:
    """The mean size of the elements of what each of the first calls returns; None where that is no tensor."""
    torch.manual_seed(0)
    step = make(torch)
    return [_size(step(), torch) for _ in range(CALLS_CHECKED)]


def _size(value, torch) -> float | None:
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    if isinstance(value, (bool, int, float)):
        return float(value)
    if not isinstance(value, torch.Tensor) or value.numel() == 0:
        return None
    return value.detach().double().abs().mean().item()


def serve(lines: Iterator[str], torch, threads: int) -> None:
    """Does one command and, after `load`, those of `time` that follow, until `drop`."""
    command, _, name = next(lines).partition(" ")
    torch.set_num_threads(threads)
    make = workloads(sys.argv[3:] == ["channels_last"])[name]
    if command == "memory":
        answer({"bytes": memory(make, torch)})
    elif command == "check":
        answer({"values": check(make, torch)})
    else:
        step, first, n = load(make, torch)
        answer({"first": first, "n": n})
        while (line := next(lines)) != "drop":
            answer({"seconds": run(step, int(line.partition(" ")[2]))})


def serve_in_child(lines: Iterator[str], torch, threads: int) -> None:
    """`serve` in a forked child; where it fails or dies, that is the answer."""
    child = os.fork()
    if child == 0:
        try:
            serve(lines, torch, threads)
        except BaseException as error:
            answer({"error": f"{type(error).__name__}: {error}"})
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        answer({"error": f"killed by signal {os.WTERMSIG(status)}"})


def read() -> Iterator[str]:
    """Lines of standard input; unbuffered, because parent and children read in turn."""
    stream = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    while line := stream.readline():
        yield line.decode().strip()


def answer(value: dict) -> None:
    """Writes a line of JSON."""
    os.write(1, (json.dumps(value) + "\n").encode())


def main() -> None:
    torch = importlib.import_module(sys.argv[1])
    answer({"ready": torch.__version__})
    lines = read()
    for line in lines:
        if line == "quit":
            return
        if line != "drop":  # left unread by a child that failed
            serve_in_child(itertools.chain([line], lines), torch, int(sys.argv[2]))


if __name__ == "__main__":
    main()
