"""Kernels for NVIDIA GPUs (PTX), from the programs that the CPU's kernels are made of. Assembled by `ptxas`, not run.

Arguments are those of the CPU's kernels, but arrays are passed by value: for `cuLaunchKernel` the host points at the
same `ptr`, `stride`, `shape`, `ints` and `params` that it would hand to the CPU's kernel. No kernel calls anything
outside of its own text. Products are not contracted with sums: every operation names its rounding, so `ptxas` keeps
them apart.

- Elementwise: x of grid and block go along the row, y over rows, both in strides of the grid.
- Row programs along rows: one block of `THREADS` threads a row. A thread takes elements thread + THREADS * j; the
  states of the threads are combined in a fixed tree in shared memory.
- Row programs along columns: one thread a column.
- Loop programs: one thread an iteration of the outermost loop.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from flambeau.ir import loop as loop_ir
from flambeau.ir.expr import Expr, walk
from flambeau.ir.program import ScalarProgram

from . import elementwise, loop, row
from .columns import Columns
from .memory import byte_type
from .module import Function, Module, llvm_type
from .rows import Rows
from .states import component_dtypes

THREADS = 256  # of a block that works on a row: the tree of partial results, and so the result, depends on it

_SHARED = "ptr addrspace(3)"


def emit(module: Module, program: Any, classes: str, name: str) -> None:
    """Writes the kernel of a program."""
    if isinstance(program, ScalarProgram):
        _Elementwise(module, program, classes, name).write()
    elif isinstance(program, loop_ir.LoopProgram):
        _Loop(module, program, name).write()
    elif program.mode.startswith("combine"):
        scalar = row.combine_program(program, name)
        _Elementwise(module, scalar, "c" * (3 * len(scalar.outputs)), name).write()
    else:
        (_Columns if program.columns else _Rows)(module, program.program, program.mode, classes, name).write()


def _kernel(module: Module, name: str, arguments: list[tuple[str, str]]) -> Function:
    """A function that the host launches; a type in brackets is an array passed by value."""
    passed = [(f"ptr byval({t}) align 8" if t.startswith("[") else t, n) for t, n in arguments]
    return Function(module, name, passed, linkage="ptx_kernel")


def _slots(roots: Iterable[Expr]) -> str:
    """The type of the array of run-time numbers."""
    numbers = (e.attr[0] for e in walk(roots) if e.op == "param" and e.attr[1] in (0, 1))
    return f"[{max(numbers, default=0) + 1} x [2 x i64]]"


def _register(function: Function, name: str) -> str:
    """A special register (`tid.x`, `nctaid.y`, ...) as an i64."""
    return function.value(f"zext i32 {function.call(f'llvm.nvvm.read.ptx.sreg.{name}', 'i32')} to i64")


def _over_grid(function: Function, axis: str, low: str, high: str) -> AbstractContextManager[str]:
    """for i in [low, high), every thread of the grid having its own."""
    thread, block, width, blocks = (_register(function, f"{r}.{axis}") for r in ("tid", "ctaid", "ntid", "nctaid"))
    mine = function.add(function.mul(block, width), thread)
    return function.loop(function.add(low, mine), high, function.mul(width, blocks))


class _Elementwise(elementwise.Kernel):
    def begin(self, module: Module, name: str) -> Function:
        count = len(self.program.outputs) + len(self.program.inputs)
        types = (f"[{count} x ptr]", f"[{2 * count} x i64]", "i64", "i64", _slots(self.roots))
        return _kernel(module, name, list(zip(types, ("ptr", "stride", "n", "m", "params"), strict=True)))

    def rows(self) -> AbstractContextManager[str]:
        return _over_grid(self.function, "y", "0", "%m")

    def row(self) -> None:
        with _over_grid(self.function, "x", "0", "%n") as i:
            self.step(i, [0], 1)


def _row_function(kernel: Rows, module: Module, name: str) -> Function:
    count = len(kernel.operands)
    types = (f"[{count} x ptr]", f"[{3 * count} x i64]", "[5 x i64]", _slots(kernel.program.roots))
    return _kernel(module, name, list(zip(types, ("ptr", "stride", "shape", "params"), strict=True)))


class _Rows(Rows):
    accumulators = 1

    def begin(self, module: Module, name: str) -> Function:
        return _row_function(self, module, name)

    def batch(self) -> AbstractContextManager[str]:
        f = self.function
        self.thread = _register(f, "tid.x")
        self._shared: dict[tuple[int, str], str] = {}
        return f.loop(_register(f, "ctaid.x"), self.shape[0], _register(f, "nctaid.x"))

    def first(self) -> str:
        f = self.function
        return f.value(f"and i1 {super().first()}, {f.value(f'icmp eq i64 {self.thread}, 0')}")

    def pass_run(self, step, first: str) -> None:
        with self.function.loop(self.thread, self.shape[2], THREADS) as i:
            step([self.stream(i, first)])

    def across_lanes(self, e: Expr, parts: list[str]) -> list[str]:
        """The states of all threads of the block as one, which every thread gets."""
        f, dtypes = self.function, component_dtypes(e)
        arrays = [self._array(k, d) for k, d in enumerate(dtypes)]
        self._put(arrays, dtypes, self.thread, parts)
        width = THREADS // 2
        while width:
            self._barrier()
            with f.when(f.value(f"icmp slt i64 {self.thread}, {width}")):
                other = self._get(arrays, dtypes, f.add(self.thread, width))
                mine = self._get(arrays, dtypes, self.thread)
                self._put(arrays, dtypes, self.thread, self.merge(e, mine, other))
            width //= 2
        self._barrier()
        total = self._get(arrays, dtypes, 0)
        self._barrier()  # the next reduction writes to the same places
        return total

    def _array(self, component: int, dtype: str) -> str:
        """Shared memory for one component of a state of each thread."""
        key = (component, dtype)
        if key not in self._shared:
            name = f"@shared_{component}_{dtype}"
            kind = f"[{THREADS} x {llvm_type(byte_type(dtype))}]"
            self.function.module.add(f"{name} = internal addrspace(3) global {kind} undef, align 16")
            self._shared[key] = name
        return self._shared[key]

    def _barrier(self) -> None:
        name = self.function.module.declare("llvm.nvvm.barrier0", "void")
        self.function.do(f"call void {name}()")

    def _place(self, array: str, dtype: str, at: int | str) -> str:
        kind = llvm_type(byte_type(dtype))
        return self.function.value(f"getelementptr {kind}, {_SHARED} {array}, i64 {at}")

    def _put(self, arrays: list[str], dtypes: list[str], at: int | str, values: list[str]) -> None:
        for array, dtype, value in zip(arrays, dtypes, values, strict=True):
            if dtype == "b1":
                value = self.function.value(f"zext i1 {value} to i8")
            self.function.do(f"store {llvm_type(byte_type(dtype))} {value}, {_SHARED} {self._place(array, dtype, at)}")

    def _get(self, arrays: list[str], dtypes: list[str], at: int | str) -> list[str]:
        values = []
        for array, dtype in zip(arrays, dtypes, strict=True):
            place = self._place(array, dtype, at)
            value = self.function.value(f"load {llvm_type(byte_type(dtype))}, {_SHARED} {place}")
            values.append(self.function.value(f"icmp ne i8 {value}, 0") if dtype == "b1" else value)
        return values


class _Columns(Columns):
    def begin(self, module: Module, name: str) -> Function:
        return _row_function(self, module, name)

    def batch_loop(self) -> None:
        with _over_grid(self.function, "x", "0", self.shape[0]) as b:
            self.block([b])


class _Loop(loop.Writer):
    def begin(self, module: Module, name: str) -> Function:
        expressions = list(loop_ir.expressions(self.program.body))
        numbers = (e.attr[0] for e in walk(expressions) if e.op == "param" and e.attr[1] == loop_ir.INT)
        ints = f"[{max(numbers, default=0) + 1} x i64]"
        types = (f"[{len(self.program.dtypes)} x ptr]", ints, "i64", "i64", _slots(expressions))
        return _kernel(module, name, list(zip(types, ("ptr", "ints", "begin", "end", "params"), strict=True)))

    def iterations(self) -> AbstractContextManager[str]:
        return _over_grid(self.function, "x", "%begin", "%end")

    def _prefetch(self, s: loop_ir.Prefetch) -> None:
        """Other threads run while one waits for memory."""
