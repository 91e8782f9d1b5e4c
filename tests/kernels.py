"""Running generated kernels from tests, by their address alone."""

import ctypes

import numpy as np

from flambeau.codegen import target
from flambeau.codegen.arena import Arena
from flambeau.codegen.lanes import ACCUMULATE, COLUMN_BIAS, RELU, ROW_BIAS
from flambeau.codegen.micro import FIELDS
from flambeau.codegen.resolve import compile_program
from flambeau.ir.interp import numpy_dtype

_arena = None


def host_levels() -> list[str]:
    """CPU levels that this machine runs."""
    best = target.host_level()
    return {"x86-64-v4": ["x86-64-v4", "x86-64-v3"], None: []}.get(best, [best])


def load(program, classes: str, level: str):
    """The kernel as a ctypes function."""
    global _arena
    _arena = _arena or Arena()
    code = compile_program(program, target.by_level(level), classes)
    address = _arena.load(code.blob) + code.symbols["k"]
    pointer = ctypes.c_void_p
    return ctypes.CFUNCTYPE(None, pointer, pointer, ctypes.c_int64, ctypes.c_int64, pointer)(address)


def spills(lines, register: str) -> list[str]:
    """Lines of assembly that move a register to or from the stack."""
    return [line for line in lines if register in line and "(%rsp)" in line]


def innermost(lines: list[str]) -> list[str]:
    """Lines of assembly in loops that have no loop inside."""
    labels = {line.split(":")[0]: k for k, line in enumerate(lines) if line.startswith(".L") and ":" in line}
    jumps = [(labels.get(line.split()[1], len(lines)), k) for k, line in enumerate(lines) if line.startswith("\tj")]
    loops = [(low, high) for low, high in jumps if low < high]
    inside = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [line for low, high in inside for line in lines[low : high + 1]]


def pack_params(dtypes, values):
    """16-byte slots."""
    slots = np.zeros((max(len(values), 1), 2), np.float64)
    for slot, dtype, value in zip(slots, dtypes, values):  # noqa: B905 (there is at least one slot)
        if dtype in ("c64", "c128"):
            slot[:] = complex(value).real, complex(value).imag
        elif dtype in ("f32", "f64"):
            slot[0] = value
        else:
            slot.view(np.int64)[0] = value
    return slots


def call(kernel, arrays, params=None) -> None:
    """Runs a kernel over arrays of two dimensions (outputs first), with their own strides."""
    rows, columns = arrays[0].shape
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    strides = [a.strides[1] for a in arrays] + [a.strides[0] for a in arrays]
    params = np.zeros((1, 2)) if params is None else params
    kernel(pointers, (ctypes.c_int64 * len(strides))(*strides), columns, rows, params.ctypes.data)


def run(program, inputs, params=(), level=None, classes=None):
    """Results of the generated kernel for inputs of one shape."""
    shape = np.shape(inputs[0]) if inputs else (1, 1)
    outputs = [np.zeros(shape, numpy_dtype(d)) for d in program.outputs]
    arrays = [a.reshape(1, -1) if a.ndim != 2 else a for a in [*outputs, *(np.ascontiguousarray(a) for a in inputs)]]
    kernel = load(program, classes or "c" * len(arrays), level or host_levels()[0])
    call(kernel, arrays, pack_params(program.params, params))
    return outputs


def same_bits(a, b) -> bool:
    """Equal bit by bit, any nan being equal to any."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real) and same_bits(a.imag, b.imag)
    if a.dtype.kind != "f":
        return a.dtype == b.dtype and np.array_equal(a, b)
    unsigned = f"u{a.dtype.itemsize}"
    equal = np.ascontiguousarray(a).view(unsigned) == np.ascontiguousarray(b).view(unsigned)
    return a.dtype == b.dtype and bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


def run_tile(machine, fields: dict[str, int], name: str) -> None:
    """Calls a micro-kernel; fields that are not given are 0."""
    assert set(fields) <= set(FIELDS)
    values = [fields.get(field, 0) for field in FIELDS]
    machine.call(name, machine.place(np.array(values, np.int64)))


def expected_tile(a, b, c, column_bias, row_bias, flags) -> np.ndarray:
    """In the kernels' order: products are summed by fused multiply-adds, which float64 stands in for."""
    wide = np.result_type(a, np.float64)
    result = a.astype(wide) @ b.astype(wide)
    if flags & ACCUMULATE:
        result = result + c
    if flags & COLUMN_BIAS:
        result = result + column_bias
    if flags & ROW_BIAS:
        result = result + row_bias[:, None]
    return np.maximum(result, 0) if flags & RELU else result
