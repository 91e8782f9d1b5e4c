"""Matrix products and convolutions in GFLOP/s and as a share of the machine's multiply-add peak, which is measured too.

    PYTHONPATH=src python bench/contract.py [--threads 2] [--level x86-64-v3] [--dtype bfloat16] [--only REGEX]

With one thread, time is that of the processor, so that other programs disturb less. `--level` runs the description of a
lesser machine than this one, against the peak of that one. Peak and case are measured in turn, some 10 ms each, and the
share is the median over the rounds: the clock's frequency may change, and another program may take a core for a while.
So may another machine on the same processor, which shows by the front of the core alone (see `limits.front_kernel`):
rounds beside such a neighbour count apart.
"""

import argparse
import os
import re
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import limits

PRODUCTS = [(n, n, n, "") for n in (64, 128, 256, 512, 1024, 2048)]
PRODUCTS += [(4096, 768, 768, ""), (64, 784, 512, "")]
PRODUCTS += [(n, n, n, form) for form in ("at", "bt", "at bt") for n in (128, 256, 512, 1024)]
PRODUCTS += [
    (4096, 768, 768, "at"),
    (4096, 768, 768, "bt"),
    (64, 512, 784, "bt"),
    (512, 784, 64, "at"),
    (16, 1024, 1024, "bt"),
    (1, 4096, 4096, "bt"),
]

# name: batch, groups, channels, outputs (of a group), size, kernel, stride, padding
CONVOLUTIONS = {
    "3x3 64 56": (32, 1, 64, 64, 56, 3, 1, 1),
    "3x3 128 28": (16, 1, 128, 128, 28, 3, 1, 1),
    "3x3 256 14": (32, 1, 256, 256, 14, 3, 1, 1),
    "3x3 512 7": (32, 1, 512, 512, 7, 3, 1, 1),
    "3x3 s2 128-256 28": (32, 1, 128, 256, 28, 3, 2, 1),
    "1x1 64-256 56": (32, 1, 64, 256, 56, 1, 1, 0),
    "7x7 s2 3-64 224": (16, 1, 3, 64, 224, 7, 2, 3),
    "5x5 1-6 28": (64, 1, 1, 6, 28, 5, 1, 2),
    "5x5 6-16 14": (64, 1, 6, 16, 14, 5, 1, 0),
    "depthwise 96 56": (16, 96, 1, 1, 56, 3, 1, 1),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", default="")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "bfloat16"))
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


_ALONE = 0.85  # of the most instructions a second that the fronts of the cores took


class Clock:
    """Seconds of something, done by all threads or, with one thread, in time of the processor."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.now = time.thread_time if threads == 1 else time.perf_counter

    def peak(self, run: Callable[[], object], operations: float) -> float:
        """Operations a second of `run`, which does so many, in every thread at once; each has its own time."""
        rates, together = [], threading.Barrier(self.threads)

        def work() -> None:
            together.wait()
            begin = self.now()
            run()
            rates.append(operations / (self.now() - begin))

        workers = [threading.Thread(target=work) for _ in range(self.threads - 1)]
        for w in workers:
            w.start()
        work()
        for w in workers:
            w.join()
        return sum(rates)

    def seconds(self, run: Callable[[], object], least: float = 0.012) -> float:
        """Seconds of one call; before, as many as take a third of `least`: the first wake threads and fill caches."""
        begin, warm = self.now(), 0
        while warm == 0 or self.now() - begin < least / 3:
            run()
            warm += 1
        count = 3 * warm
        begin = self.now()
        for _ in range(count):
            run()
        return (self.now() - begin) / count


class Front:
    """Whether all places in the fronts of the cores are ours: instructions a second, and the most that were seen."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.kernel, self.most = clock, limits.front_kernel(), 0.0
        for _ in range(10):
            self.look()

    def look(self) -> float:
        now = self.clock.peak(*self.kernel)
        self.most = max(self.most, now)
        return now

    def text(self, rounds: list, whole: Callable[[list], str], share: Callable[[list], str]) -> str:
        """The `whole` text of the rounds alone on the cores, of which `front` is what each saw, and the `share` of
        those beside a neighbour; or the whole of these, if there are no others."""
        alone = [r for r in rounds if r.front >= _ALONE * self.most]
        beside = [r for r in rounds if r.front < _ALONE * self.most]
        if not alone:
            return f"{whole(beside)}, all rounds beside a neighbour"
        apart = f", {share(beside)} in {len(beside)} of {len(rounds)} beside a neighbour" if beside else ""
        return whole(alone) + apart


@dataclass
class Round:
    """Seconds of a call, its share of the peak, and the least instructions a second of the front around it."""

    seconds: float
    share: float
    front: float


@dataclass
class Case:
    """Operations of one call, and its rounds."""

    work: float
    run: Callable[[], object]
    rounds: list[Round] = field(default_factory=list)

    def measure(self, clock: Clock, front: Front, peak: tuple[Callable[[], object], float], rounds: int) -> None:
        self.run()
        before, first = clock.peak(*peak), front.look()
        for _ in range(rounds):
            second = clock.seconds(self.run)
            after, last = clock.peak(*peak), front.look()
            self.rounds.append(Round(second, self.work / second / max(before, after), min(first, last)))
            before, first = after, last

    def text(self, rounds: list[Round]) -> str:
        """Medians of some rounds."""
        second = statistics.median(r.seconds for r in rounds)
        return f"{second * 1e3:9.3f} ms {self.work / second / 1e9:7.0f} GFLOP/s {_share(rounds)} of the peak"


def _share(rounds: list[Round]) -> str:
    return f"{100 * statistics.median(r.share for r in rounds):5.1f}%"


def products(o, randn) -> dict[str, tuple[float, Callable[[], object]]]:
    cases = {}
    for m, n, k, form in PRODUCTS:
        a = o.transpose(randn(k, m), 0, 1) if "at" in form else randn(m, k)
        b = o.transpose(randn(n, k), 0, 1) if "bt" in form else randn(k, n)
        cases[f"gemm {m}x{n}x{k} {form}".strip()] = (2.0 * m * n * k, lambda a=a, b=b: o.mm(a, b))
    return cases


def convolutions(o, randn) -> dict[str, tuple[float, Callable[[], object]]]:
    cases = {}
    for name, (batch, groups, channels, outputs, size, kernel, stride, padding) in CONVOLUTIONS.items():
        x = randn(batch, channels * groups, size, size)
        w = randn(outputs * groups, channels, kernel, kernel)
        window = ((stride,) * 2, (padding,) * 2, (1, 1), groups)
        y = o.conv2d(x, w, None, *window)
        dy = randn(*y.shape)
        work = 2.0 * dy.numel() * channels * kernel**2
        x_size, w_size = tuple(x.shape), tuple(w.shape)
        runs = {
            "forward": lambda x=x, w=w, window=window: o.conv2d(x, w, None, *window),
            "data": lambda dy=dy, w=w, s=x_size, window=window: o.conv_input_grad(dy, w, s, *window),
            "weight": lambda dy=dy, x=x, s=w_size, window=window: o.conv_weight_grad(dy, x, s, *window),
        }
        cases.update({f"conv {name} {what}": (work, run) for what, run in runs.items()})
    return cases


def main() -> None:
    options = arguments()
    os.environ["FLAMBEAU_NUM_THREADS"] = str(options.threads)
    if options.level:
        os.environ["FLAMBEAU_TARGET"] = options.level
    import numpy as np

    from flambeau import _core
    from flambeau.codegen.target import host
    from flambeau.ops.names import namespace
    from flambeau.ops.names import operators as o

    namespace()
    rng = np.random.default_rng(0)
    dtype = getattr(_core, options.dtype)
    peaks = {"float32": "f32", "float64": "f64", "bfloat16": "bf16" if host().bfloat16 else "f32"}

    def randn(*shape: int):
        return o.to(_core.tensor(rng.standard_normal(shape, np.float32)), dtype)

    clock, peak = Clock(options.threads), limits.peak_kernel(peaks[options.dtype], host())
    front = Front(clock)
    print(f"{host().level}, {options.threads} threads, peak {clock.peak(*peak) / 1e9:.0f} GFLOP/s")
    cases = products(o, randn)
    if options.dtype == "float32":
        cases |= convolutions(o, randn)
    chosen = {name: Case(*case) for name, case in cases.items() if re.search(options.only, name)}
    for name, case in chosen.items():
        case.measure(clock, front, peak, options.rounds)
        print(f"{name:36s} {front.text(case.rounds, case.text, _share)}", flush=True)


if __name__ == "__main__":
    main()
