"""What this machine can do at most: multiply-adds a second, and bytes a second of copying, of reading and of writing.

    PYTHONPATH=src python bench/limits.py [--threads 2]

Measured with loops that the project's own code generator writes, in each of the threads at once. `measure()` names the
limits as workloads do that declare their work: `float32`, `float64` and `bfloat16` in operations a second (a
multiply-add is two), `copy`, `read` and `write` in bytes a second (a copied byte counts twice: it is read and written).
"""

import argparse
import ctypes
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace

STEPS = 2_000_000  # of the multiply-add loop: about 12 ms, beside which starting the threads does not count
BLOCK = 96 << 20  # bytes of each array of a thread: more than a last-level cache's share
_NOPS, _TURNS = 512, 40_000  # about half a millisecond
ROUNDS = 7
MEMORY = ("copy", "read", "write")

Kernel = Callable[[int, int, int], None]  # (to, from, count)


def _kernel(name: str, write: Callable, features: str = "") -> Kernel:
    """Compiles, or takes from the cache, the loop that `write(f)` writes into a function of (to, from, count)."""
    from flambeau.codegen.jit import compile_code
    from flambeau.codegen.module import Function, Module
    from flambeau.codegen.resolve import resolve_family
    from flambeau.codegen.target import host

    def make():
        module = Module(replace(host(), features=features) if features else host())
        f = Function(module, "loop", [("ptr", "to"), ("ptr", "from"), ("i64", "n")])
        write(f)
        f.finish()
        return compile_code(module)

    address = resolve_family(f"bench|{name}||||{host().level}", make)["loop"]
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)


def chains(target) -> int:
    """How many independent sums keep the multiply-add units busy, and leave registers over."""
    return 20 if target.registers >= 32 else 12


def _write_peak(f, dtype: str) -> None:
    from flambeau.codegen.lanes import Lanes

    lanes = Lanes(f, dtype)
    x = lanes.load("%from")
    sums = [lanes.variable(x) for _ in range(chains(f.target))]
    with f.loop(0, "%n"):
        for s in sums:
            lanes.set(s, lanes.fma(lanes.get(s), x, x))
    total = x
    for s in sums:
        total = lanes.add(total, lanes.get(s))
    lanes.store(total, "%to")


def _write_bfloat16_peak(f) -> None:
    """vdpbf16ps: each lane of float32 takes two products of bfloat16."""
    vector, pairs = "<16 x float>", "<32 x bfloat>"
    x = f.value(f"load {pairs}, ptr %from, align 2")
    sums = [f.variable(vector, "zeroinitializer") for _ in range(chains(f.target))]
    name = f.module.declare("llvm.x86.avx512bf16.dpbf16ps.512", vector, vector, pairs, pairs)
    with f.loop(0, "%n"):
        for s in sums:
            now = f.value(f"load {vector}, ptr {s}")
            after = f.value(f"call {vector} {name}({vector} {now}, {pairs} {x}, {pairs} {x})")
            f.do(f"store {vector} {after}, ptr {s}")
    total = "zeroinitializer"
    for s in sums:
        total = f.value(f"fadd {vector} {f.value(f'load {vector}, ptr {s}')}, {total}")
    f.do(f"store {vector} {total}, ptr %to, align 4")


def _write_copy(f) -> None:
    """Past the caches, as kernels write results that are larger than them; n is a multiple of 8 vectors."""
    from flambeau.codegen.lanes import Lanes

    lanes = Lanes(f, "f32")
    with f.loop(0, "%n", 8 * lanes.bytes) as i:
        source, to = f.offset("%from", i), f.offset("%to", i)
        values = [lanes.load(f.offset(source, k * lanes.bytes), aligned=True) for k in range(8)]
        for k, v in enumerate(values):
            lanes.store(v, f.offset(to, k * lanes.bytes), stream=True)
    f.fence()


def _write_read(f) -> None:
    from flambeau.codegen.lanes import Lanes

    lanes = Lanes(f, "f32")
    sums = [lanes.variable() for _ in range(8)]
    with f.loop(0, "%n", 8 * lanes.bytes) as i:
        source = f.offset("%from", i)
        for k, s in enumerate(sums):
            lanes.set(s, lanes.add(lanes.get(s), lanes.load(f.offset(source, k * lanes.bytes), aligned=True)))
    total = lanes.get(sums[0])
    for s in sums[1:]:
        total = lanes.add(total, lanes.get(s))
    lanes.store(total, "%to")


def _write_fill(f) -> None:
    """Past the caches as well, and not zeros: lines of zeros some machines write without their bytes."""
    from flambeau.codegen.lanes import Lanes

    lanes = Lanes(f, "f32")
    one = lanes.load("%from")
    with f.loop(0, "%n", 8 * lanes.bytes) as i:
        for k in range(8):
            lanes.store(one, f.offset(f.offset("%to", i), k * lanes.bytes), stream=True)
    f.fence()


def _rate(work: list[Callable[[], object]], amount: float, rounds: int = ROUNDS) -> float:
    """The most of `amount` a second that all of `work`, one thread each, did at once in any round."""
    best = 0.0
    for _ in range(rounds):
        threads = [threading.Thread(target=w) for w in work[1:]]
        begin = time.perf_counter()
        for t in threads:
            t.start()
        work[0]()
        for t in threads:
            t.join()
        best = max(best, len(work) * amount / (time.perf_counter() - begin))
    return best


def peak_kernel(dtype: str, target) -> tuple[Callable[[], object], float]:
    """A loop of multiply-adds of `f32`, `f64` or `bf16` that fill the registers, and the operations it does."""
    write = _write_bfloat16_peak if dtype == "bf16" else lambda f: _write_peak(f, dtype)
    kernel = _kernel(f"peak {dtype}", write, "+avx512bf16" if dtype == "bf16" else "")
    operations = {"f32": target.vector_bytes / 4, "f64": target.vector_bytes / 8, "bf16": target.vector_bytes / 2}
    memory = ctypes.create_string_buffer(256)
    address = ctypes.addressof(memory)
    return lambda memory=memory: kernel(address, address, STEPS), 2.0 * operations[dtype] * chains(target) * STEPS


def _write_nops(f) -> None:
    """Instructions that take a place in the core's front, and nothing else."""
    with f.loop(0, "%n"):
        f.do('call void asm sideeffect "' + "nop\\0A" * _NOPS + '", ""()')


def front_kernel() -> tuple[Callable[[], object], float]:
    """A loop of instructions that do nothing, and how many. Half as many a second as before say that a neighbour, of
    which this machine knows nothing, runs on the same core: it leaves a loop of multiply-adds alone as it has few
    others, but no kernel."""
    kernel = _kernel("front", _write_nops)
    memory = ctypes.create_string_buffer(256)
    address = ctypes.addressof(memory)
    return lambda memory=memory: kernel(address, address, _TURNS), float(_NOPS * _TURNS)


class Memory:
    """Two tensors for each thread, whose pages are as large as those of any, and what moving their bytes reaches."""

    def __init__(self, threads: int) -> None:
        from flambeau import ones, uint8

        self._tensors = [(ones(BLOCK, dtype=uint8), ones(BLOCK, dtype=uint8)) for _ in range(threads)]
        self._kernels = {
            "copy": (_kernel("copy", _write_copy), 2),
            "read": (_kernel("read", _write_read), 1),
            "write": (_kernel("write", _write_fill), 1),
        }

    def rate(self, kind: str, rounds: int = 1) -> float:
        """Bytes a second of `copy` (which reads and writes each), `read` or `write`: the best of some rounds."""
        kernel, times = self._kernels[kind]
        pairs = [(to.data_ptr(), source.data_ptr()) for to, source in self._tensors]
        return _rate([lambda p=p: kernel(*p, BLOCK) for p in pairs], times * BLOCK, rounds)


def measure(threads: int) -> dict[str, float]:
    """The limits that this many threads together meet."""
    from flambeau.codegen.target import cpu_flags, host

    target, found = host(), {}
    names = {"float32": "f32", "float64": "f64"}
    if target.level == "x86-64-v4" and "avx512_bf16" in cpu_flags():
        names["bfloat16"] = "bf16"
    for name, dtype in names.items():
        runs = [peak_kernel(dtype, target) for _ in range(threads)]
        found[name] = _rate([run for run, _ in runs], runs[0][1])
    memory = Memory(threads)
    return found | {kind: memory.rate(kind, ROUNDS) for kind in MEMORY}


def text(limits: dict[str, float]) -> str:
    """The limits in words."""
    parts = [
        f"{name} {value / 1e9:.0f} {'GB/s' if name in MEMORY else 'GFLOP/s'}"
        for name, value in limits.items()
    ]
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    limits = measure(options.threads)
    print(json.dumps(limits) if options.json else text(limits))


if __name__ == "__main__":
    main()
