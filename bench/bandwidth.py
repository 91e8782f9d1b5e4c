"""Elementwise, copy, reduction and row kernels on large data, as a share of the bandwidth of this machine.

    PYTHONPATH=src python bench/bandwidth.py [--threads 2] [--only REGEX] [--rounds 7]

Each case says how many bytes it must read and write at least; of an operand that is walked in steps, the cache lines
that hold its elements. What it reaches is set against what `limits` copies or, where next to nothing is written, reads
right before and after. Ways to memory and back may be of different widths: where more is written than read, or read
than written, the share of what `limits` writes or reads is told as well. Medians over the rounds, those beside a
neighbour apart (see `contract`).
"""

import argparse
import os
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import limits
from contract import Clock, Front
from workloads.elementwise import CASTS

LINE = 64  # bytes of a cache line
N = 4096  # square matrices of 16M elements


@dataclass
class Round:
    """Seconds of a call, its share of each limit, and what the fronts of the cores took around it."""

    seconds: float
    shares: dict[str, float]
    front: float


@dataclass
class Case:
    """What is run, and the bytes that it reads and writes."""

    run: Callable[[], object]
    read: int
    written: int
    rounds: list[Round] = field(default_factory=list)

    def bytes(self) -> dict[str, int]:
        """What is moved, under each limit that it meets; a result of a hundredth of the operands is no copy."""
        if 100 * self.written < self.read:
            return {"read": self.read + self.written}
        moved = {"copy": self.read + self.written}
        if self.read != self.written:
            moved |= {"write": self.written} if self.written > self.read else {"read": self.read}
        return moved

    def measure(self, clock: Clock, front: Front, memory: limits.Memory) -> None:
        """One round."""
        moved, first = self.bytes(), front.look()
        before = {limit: memory.rate(limit) for limit in moved}
        second = clock.seconds(self.run)
        rates = {limit: max(before[limit], memory.rate(limit)) for limit in moved}
        shares = {limit: amount / second / rates[limit] for limit, amount in moved.items()}
        self.rounds.append(Round(second, shares, min(first, front.look())))

    def text(self, rounds: list[Round]) -> str:
        """Medians of some rounds."""
        second = statistics.median(r.seconds for r in rounds)
        shares = ", ".join(f"{_share(rounds, limit)} of {limit}" for limit in self.bytes())
        return f"{second * 1e3:8.3f} ms {(self.read + self.written) / second / 1e9:6.1f} GB/s {shares}"

    def share(self, rounds: list[Round]) -> str:
        """Of the limit that it is set against first."""
        return _share(rounds, next(iter(self.bytes())))


def _share(rounds: list[Round], limit: str) -> str:
    return f"{100 * statistics.median(r.shares[limit] for r in rounds):5.0f}%"


def _case(read: list, run: Callable) -> Case:
    """A case that reads tensors and writes what it returns."""
    results = run()
    results = results if isinstance(results, (tuple, list)) else (results,)
    return Case(run, sum(_bytes(t) for t in read), sum(_bytes(t) for t in results))


def _bytes(tensor) -> int:
    """Of the elements, and of what shares a cache line with them: memory is read by lines."""
    gap = min((step for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1), default=1)
    return tensor.numel() * min(max(gap, 1) * tensor.element_size(), LINE)


def elementwise(torch) -> dict[str, Callable[[], Case]]:
    def two(call, change=lambda b: b):
        def make() -> Case:
            a, b = torch.rand(N, N), change(torch.rand(N, N))
            return _case([a, b], lambda: call(a, b))

        return make

    def one(call):
        def make() -> Case:
            a = torch.rand(N, N)
            return _case([a], lambda: call(a))

        return make

    def where() -> Case:
        a, b, c = torch.rand(N, N), torch.rand(N, N), torch.rand(N, N) < 0.5
        return _case([a, b, c], lambda: torch.where(c, a, b))

    def add(a, b):
        return a + b

    return {
        "add": two(add),
        "add in place": two(lambda a, b: a.add_(b)),
        "mul number": one(lambda a: a * 2.5),
        "mul number in place": one(lambda a: a.mul_(1.0)),
        "exp": one(torch.exp),
        "relu": one(torch.relu),
        "gelu": one(torch.nn.functional.gelu),
        "less": two(lambda a, b: a < b),
        "where": where,
        "add row": two(add, lambda b: b[0]),
        "add column": two(add, lambda b: b[:, :1].clone()),
        "add transposed": two(add, lambda b: b.t()),
        "add float64": two(add, lambda b: b.double()),
        "add bfloat16": two(add, lambda b: b.bfloat16()),
        "add every second": two(add, lambda b: torch.rand(N, 2 * N)[:, ::2]),
    }


def copies(torch) -> dict[str, Callable[[], Case]]:
    def matrix(call, dtype="float32"):
        def make() -> Case:
            x = (torch.rand(N, N) * 100).to(getattr(torch, dtype))
            return _case([x], lambda: call(x))

        return make

    def join(call):
        def make() -> Case:
            a, b = torch.rand(N, N), torch.rand(N, N)
            return _case([a, b], lambda: call((a, b)))

        return make

    def copy_() -> Case:
        a, b = torch.rand(N, N), torch.rand(N, N)
        return _case([b], lambda: a.copy_(b))

    def fill_(call):
        def make() -> Case:
            a = torch.rand(N, N)
            return _case([], lambda: call(a))

        return make

    images = (64, 64, 56, 56)

    def image(call):
        def make() -> Case:
            x = torch.rand(images)
            return _case([x], lambda: call(x))

        return make

    cases = {
        "copy_": copy_,
        "clone": matrix(lambda x: x.clone()),
        "fill_": fill_(lambda a: a.fill_(1.5)),
        "zeros": fill_(lambda a: torch.zeros(a.shape)),
        "cat 0": join(lambda p: torch.cat(p, 0)),
        "cat 1": join(lambda p: torch.cat(p, 1)),
        "stack last": join(lambda p: torch.stack(p, -1)),
        "channels last": image(lambda x: x.contiguous(memory_format=torch.channels_last)),
        "permute heads": image(lambda x: x.view(64, 64, 49, 64).permute(0, 2, 1, 3).contiguous()),
        "flip": image(lambda x: x.flip(3)),
        "roll": image(lambda x: x.roll(3, 2)),
        "pad": image(lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1))),
    }
    for dtype in ("float32", "bfloat16", "float64", "uint8"):
        cases[f"transpose {dtype}"] = matrix(lambda x: x.t().contiguous(), dtype)
    for start, end in CASTS:
        cases[f"{start} to {end}"] = matrix(lambda x, end=end: x.to(getattr(torch, end)), start)
    return cases


def reductions(torch) -> dict[str, Callable[[], Case]]:
    calls = {
        "sum": lambda x, *d: x.sum(*d),
        "mean": lambda x, *d: x.mean(*d),
        "max": lambda x, *d: x.max(*d),
        "argmax": lambda x, *d: x.argmax(*d),
        "var": lambda x, *d: x.var(*d),
        "norm": lambda x, *d: torch.linalg.vector_norm(x, 2, *d),
    }

    def matrix(call, *dims):
        def make() -> Case:
            x = torch.randn(N, N)
            return _case([x], lambda: call(x, *dims))

        return make

    def middle() -> Case:
        x = torch.randn(64, 1024, 256)
        return _case([x], lambda: x.sum(1))

    cases = {f"{name} all": matrix(call) for name, call in calls.items()}
    cases.update({f"{name} {d}": matrix(call, d) for name, call in calls.items() for d in (0, 1)})
    cases["sum middle"] = middle
    cases.update({f"cumsum {d}": matrix(lambda x, d: x.cumsum(d), d) for d in (0, 1)})
    return cases


def rows(torch) -> dict[str, Callable[[], Case]]:
    functional = torch.nn.functional
    matrix, images = (16384, 1024), (64, 64, 56, 56)
    programs = {
        "softmax": (matrix, lambda x, w, b: torch.softmax(x, 1)),
        "softmax 0": ((N, N), lambda x, w, b: torch.softmax(x, 0)),
        "log_softmax": (matrix, lambda x, w, b: torch.log_softmax(x, 1)),
        "softmax 512x32K": ((512, 32768), lambda x, w, b: torch.softmax(x, 1)),
        "layer_norm": (matrix, lambda x, w, b: functional.layer_norm(x, x.shape[1:], w, b)),
        "rms_norm": (matrix, lambda x, w, b: functional.rms_norm(x, x.shape[1:], w)),
        "batch_norm": (images, lambda x, w, b: functional.batch_norm(x, None, None, w, b, True)),
        "group_norm": (images, lambda x, w, b: functional.group_norm(x, 8, w, b)),
        "instance_norm": (images, lambda x, w, b: functional.instance_norm(x, None, None, w, b)),
    }
    cases = {}
    for name, (size, call) in programs.items():
        cases[name], cases[f"{name} backward"] = _pair(torch, size, call)

    def loss(backward):
        def make() -> Case:
            x, target = torch.randn(matrix, requires_grad=backward), torch.randint(0, matrix[1], matrix[:1])
            y = functional.cross_entropy(x, target)
            if backward:
                return _case([x], lambda: torch.autograd.grad(y, x, retain_graph=True))
            return _case([x], lambda: functional.cross_entropy(x, target))

        return make

    cases["cross_entropy"], cases["cross_entropy backward"] = loss(False), loss(True)
    return cases


def _pair(torch, size, call) -> tuple[Callable[[], Case], Callable[[], Case]]:
    """Forward and backward; a gradient needs two tensors of that size and makes one."""

    def forward() -> Case:
        x, w, b = torch.randn(size), torch.rand(size[1]), torch.rand(size[1])
        return _case([x], lambda: call(x, w, b))

    def backward() -> Case:
        x, w, b = (torch.rand(s, requires_grad=True) for s in (size, size[1], size[1]))
        y, g = call(x, w, b), torch.rand(size)
        return _case([x, g], lambda: torch.autograd.grad(y, (x, w, b), g, retain_graph=True, allow_unused=True)[:1])

    return forward, backward


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    os.environ["FLAMBEAU_NUM_THREADS"] = str(options.threads)
    import flambeau as torch

    memory = limits.Memory(options.threads)
    clock = Clock(options.threads)
    front = Front(clock)
    groups = (elementwise, copies, reductions, rows)
    makers = {name: make for group in groups for name, make in group(torch).items() if re.search(options.only, name)}
    print(f"{options.threads} threads", flush=True)
    for name, make in makers.items():
        torch.manual_seed(0)
        case = make()
        for _ in range(options.rounds):
            case.measure(clock, front, memory)
        print(f"{name:28s} {front.text(case.rounds, case.text, case.share)}", flush=True)


if __name__ == "__main__":
    main()
