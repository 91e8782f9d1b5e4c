"""Times workloads in one framework on command; `compare.py` drives two of these in turn.

    python bench/worker.py flambeau|torch THREADS

Reads lines from standard input, answers each with one line of JSON:
    load NAME    prepare a workload; answers the time of its first call and how many calls make about 60 ms
    time N       run it N times; answers seconds for one call
    quit
"""

import importlib.util
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def workloads() -> dict:
    """Name -> function(torch) that prepares a workload and returns what one call does."""
    found = {}
    for path in sorted((HERE / "workloads").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"workloads_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, make in module.WORKLOADS.items():
            found[f"{path.stem}.{name}"] = make
    return found


def run(step, n: int) -> float:
    """Seconds for one of n calls."""
    start = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - start) / n


def load(make, torch) -> tuple:
    """A prepared workload, the seconds its first call took, and how many calls make about 60 ms."""
    torch.manual_seed(0)
    step = make(torch)
    first = run(step, 1)
    run(step, 3)
    once = max(run(step, 3), 1e-8)
    once = max(run(step, max(1, int(0.005 / once))), 1e-8)
    return step, first, max(1, int(0.06 / once))


def main() -> None:
    torch = importlib.import_module(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    table, step = workloads(), None
    print(json.dumps({"ready": torch.__version__, "names": list(table)}), flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "quit":
            return
        try:
            if command == "load":
                step, first, n = load(table[argument], torch)
                answer = {"first": first, "n": n}
            else:
                answer = {"seconds": run(step, int(argument))}
        except Exception as error:  # a workload that fails is a row of the table, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
