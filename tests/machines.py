"""Machines that run generated kernels one by one: this one, with operands against protected pages, and an emulator."""

import ctypes
import mmap

import numpy as np
import pytest

from flambeau.codegen.arena import Arena
from flambeau.codegen.link import Code
from flambeau.codegen.target import host_level

HOST_LEVELS = {"x86-64-v4": ["x86-64-v3", "x86-64-v4"], "x86-64-v3": ["x86-64-v3"], "aarch64": ["aarch64"]}
PAGE = mmap.PAGESIZE


class Native:
    """This machine. Operands lie against a protected page: behind them (`end`) or before them."""

    def __init__(self, code: Code, end: bool) -> None:
        self.base = Arena().load(code.blob)
        self.code, self.end = code, end
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.mmap.restype = ctypes.c_void_p
        self.libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self.libc.mprotect.argtypes = self.libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.blocks: list[tuple[int, int]] = []

    def place(self, array: np.ndarray) -> int:
        size = max(-(-array.nbytes // PAGE), 1) * PAGE
        block = self.libc.mmap(None, size + 2 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        self.libc.mprotect(block + PAGE, size, mmap.PROT_READ | mmap.PROT_WRITE)
        self.blocks.append((block, size + 2 * PAGE))
        address = block + PAGE + (size - array.nbytes if self.end else 0)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
        return address

    def fetch(self, address: int, like: np.ndarray) -> np.ndarray:
        result = np.empty_like(like)
        ctypes.memmove(result.ctypes.data, address, like.nbytes)
        return result

    def call(self, name: str, *arguments: int) -> None:
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))(self.base + self.code.symbols[name])
        function(*arguments)

    def close(self) -> None:
        for block, size in self.blocks:
            self.libc.munmap(block, size, 0)


class Emulated:
    """An aarch64 machine in software."""

    CODE, DATA, STACK, RETURN = 0x10000000, 0x20000000, 0x40000000, 0x10100000

    def __init__(self, code: Code) -> None:
        unicorn = pytest.importorskip("unicorn")
        from unicorn import arm64_const as registers

        self.registers, self.code, self.next = registers, code, self.DATA
        self.machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        enabled = self.machine.reg_read(registers.UC_ARM64_REG_CPACR_EL1) | 0x300000
        self.machine.reg_write(registers.UC_ARM64_REG_CPACR_EL1, enabled)
        for base, size in ((self.CODE, 2 << 20), (self.DATA, 4 << 20), (self.STACK, 1 << 20)):
            self.machine.mem_map(base, size)
        self.machine.mem_write(self.CODE, code.blob)

    def place(self, array: np.ndarray) -> int:
        address = self.next
        self.machine.mem_write(address, array.tobytes())
        self.next += -(-array.nbytes // 64) * 64 + 64
        return address

    def fetch(self, address: int, like: np.ndarray) -> np.ndarray:
        return np.frombuffer(self.machine.mem_read(address, like.nbytes), like.dtype).reshape(like.shape).copy()

    def call(self, name: str, *arguments: int) -> None:
        for i, value in enumerate(arguments):
            self.machine.reg_write(self.registers.UC_ARM64_REG_X0 + i, value & (1 << 64) - 1)
        self.machine.reg_write(self.registers.UC_ARM64_REG_SP, self.STACK + (1 << 19))
        self.machine.reg_write(self.registers.UC_ARM64_REG_LR, self.RETURN)
        self.machine.emu_start(self.CODE + self.code.symbols[name], self.RETURN)

    def close(self) -> None:
        pass


MACHINES = [
    *[(level, where) for level in HOST_LEVELS.get(host_level() or "", []) for where in ("end", "start")],
    ("aarch64", "emulated"),
]
