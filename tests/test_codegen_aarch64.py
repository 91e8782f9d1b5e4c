"""aarch64 kernels, emulated, give the interpreter's bits. Runs where the emulator `unicorn` is installed."""

import struct

import numpy as np
import pytest

import kernels
from flambeau.codegen.resolve import compile_program
from flambeau.codegen.target import LEVELS
from flambeau.ir import types as t
from flambeau.ir.interp import numpy_dtype, run
from flambeau.ir.program import In, trace
from test_codegen_elementwise import COMPLEX_BODIES, FLOAT_BODIES, INT_BODIES, values

unicorn = pytest.importorskip("unicorn")

CODE, DATA, TABLES, STACK, RETURN = 0x10000000, 0x20000000, 0x30000000, 0x40000000, 0x10080000


def call(code, arrays) -> None:
    """Runs a kernel over contiguous arrays in an emulated machine."""
    from unicorn import arm64_const as reg

    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.reg_write(reg.UC_ARM64_REG_CPACR_EL1, machine.reg_read(reg.UC_ARM64_REG_CPACR_EL1) | 0x300000)
    for base, size in ((CODE, 1 << 20), (DATA, 1 << 20), (TABLES, 1 << 16), (STACK, 1 << 20)):
        machine.mem_map(base, size)
    machine.mem_write(CODE, code.blob)
    addresses, at = [], DATA
    for a in arrays:
        addresses.append(at)
        machine.mem_write(at, a.tobytes())
        at += (a.nbytes + 127) // 64 * 64
    strides = [a.itemsize for a in arrays] + [0] * len(arrays)
    machine.mem_write(TABLES, struct.pack(f"<{len(arrays)}Q", *addresses))
    machine.mem_write(TABLES + 0x1000, struct.pack(f"<{len(strides)}q", *strides))
    arguments = (TABLES, TABLES + 0x1000, arrays[0].size, 1, TABLES + 0x2000)
    for k, value in enumerate(arguments):
        machine.reg_write(reg.UC_ARM64_REG_X0 + k, value)
    machine.reg_write(reg.UC_ARM64_REG_SP, STACK + 0xF0000)
    machine.reg_write(reg.UC_ARM64_REG_X30, RETURN)
    machine.emu_start(CODE + code.symbols["k"], RETURN)
    for a, address in zip(arrays, addresses, strict=True):
        a[...] = np.frombuffer(bytes(machine.mem_read(address, a.nbytes)), a.dtype)


def check(body, dtypes, outputs=None) -> None:
    program = trace(body, [In(d) for d in dtypes], outputs=outputs)
    inputs = [values(d) for d in dtypes]
    arrays = [np.zeros(len(inputs[0]), numpy_dtype(d)) for d in program.outputs] + [a.copy() for a in inputs]
    call(compile_program(program, LEVELS["aarch64"], "c" * len(arrays)), arrays)
    for got, want in zip(arrays, run(program, inputs), strict=False):
        assert kernels.same_bits(got, want), program.text()


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_float_bodies(dtype):
    for body in FLOAT_BODIES:
        check(body, [dtype] * body.__code__.co_argcount)


@pytest.mark.parametrize("dtype", ["i8", "i32", "u64"])
def test_integer_bodies(dtype):
    for body in INT_BODIES:
        check(body, [dtype, dtype])


@pytest.mark.parametrize("source", [d for d in t.DTYPES if not t.is_complex(d)])
def test_casts(source):
    for target in t.DTYPES:
        check(lambda x: x, [source], outputs=[target])


def test_complex_bodies():
    for body in COMPLEX_BODIES:
        check(body, ["c64", "c64"])
