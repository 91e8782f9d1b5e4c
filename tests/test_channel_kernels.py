"""Kernels of depthwise convolutions whose lanes are channels, one by one, against NumPy in float64.

Every operand ends, then starts, at a protected page; aarch64 kernels run in an emulator where `unicorn` is installed.
"""

import itertools

import numpy as np
import pytest

import kernels
from flambeau.codegen import channels
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.lanes import ELEMENT_BYTES
from flambeau.codegen.link import Code
from flambeau.codegen.planes import plane_sums
from flambeau.codegen.target import LEVELS, Target

NUMPY, TOLERANCE = {"f32": np.float32, "f64": np.float64}, {"f32": 2e-5, "f64": 1e-13}
BIAS, RELU, STREAM = 4, 8, 32
TAPS = [(0, 0), (0, 2), (1, 1), (2, 0)]


@pytest.fixture(scope="module", params=["f32", "f64"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(channels.module(target, request.param))


class Case:
    """An image of some rows and pixels of outputs, two input pixels apart, and all that the kernels are told of it."""

    def __init__(self, machine, family, rows: int, pixels: int, count: int, taps: list[tuple[int, int]]) -> None:
        target, _, dtype, _ = family
        self.lanes, self.kind, self.machine = (
            target.vector_bytes // ELEMENT_BYTES[dtype],
            NUMPY[dtype],
            machine,
        )
        self.rng, self.tolerance, self.count = np.random.default_rng(count), TOLERANCE[dtype], count
        self.vectors, self.rows, self.pixels, self.taps = -(-count // self.lanes), rows, pixels, taps
        self.x, self.y = self.normal(rows + 2, 2 * pixels + 1, count), self.normal(rows, pixels, count)
        self.at_y = machine.place(self.y)
        width = self.lanes * self.x.itemsize
        table = [(a * self.x.strides[0] + b * self.x.strides[1], t * width) for t, (a, b) in enumerate(taps)]
        self.fields = {
            "taps": machine.place(np.array(table, np.int64)), "count": len(taps), "weights_vector": len(taps) * width,
            "x": machine.place(self.x), "x_pixel": 2 * self.x.strides[1], "x_row": self.x.strides[0],
            "y": self.at_y, "y_pixel": self.y.strides[1], "y_row": self.y.strides[0], "rows": rows,
            "vectors": self.vectors, "mask": (1 << count - (self.vectors - 1) * self.lanes) - 1,
        }  # fmt: skip

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.kind)

    def table(self) -> tuple[np.ndarray, int]:
        """Random weights as the kernels want them, [vector][tap][lane], and where they stand, aligned."""
        values = self.normal(self.vectors, len(self.taps), self.lanes)
        room = np.zeros(-(-values.nbytes // 64) * 64, np.uint8)
        room[: values.nbytes] = values.view(np.uint8).ravel()
        return values, self.machine.place(room)

    def read(self, tap: tuple[int, int]) -> np.ndarray:
        """What one tap reads for every output."""
        a, b = tap
        return self.x[a : a + self.rows, b : b + 2 * self.pixels - 1 : 2].astype(np.float64)

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """[tap][channel]"""
        return (
            values.transpose(1, 0, 2)
            .reshape(len(self.taps), self.vectors * self.lanes)[:, : self.count]
            .astype(np.float64)
        )

    def call(self, name: str, **fields: int) -> None:
        values = [{**self.fields, **fields}.get(field, 0) for field in channels.FIELDS]
        self.machine.call(name, self.machine.place(np.array(values, np.int64)))

    def check(self, got: np.ndarray, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(got, wanted, rtol=self.tolerance, atol=self.tolerance)


def test_taps(family, machine) -> None:
    lanes = family[0].vector_bytes // ELEMENT_BYTES[family[2]]
    counts = (lanes, 2 * lanes + 1, 3)
    for number, (pixels, count) in enumerate(itertools.product(channels.PIXELS, counts)):
        flags = (0 if count % lanes else STREAM, BIAS, BIAS | RELU)[number % 3]
        case = Case(machine, family, 2, 2 * pixels, count, TAPS[: number % len(TAPS) + 1] if number else [])
        weights, at = case.table()
        bias = case.normal(count)
        case.call(f"taps_{pixels}", weights=at, pixels=2, bias=machine.place(bias), flags=flags)
        wanted = np.zeros(case.y.shape)
        for tap, weight in zip(case.taps, case.by_channel(weights), strict=True):
            wanted += case.read(tap) * weight
        wanted = wanted + bias if flags & BIAS else wanted
        case.check(machine.fetch(case.at_y, case.y), np.maximum(wanted, 0) if flags & RELU else wanted)


def test_sums(family, machine) -> None:
    """They are added to what is there."""
    lanes = family[0].vector_bytes // ELEMENT_BYTES[family[2]]
    for count in range(1, plane_sums(family[0]) + 1):
        taps = [(t // 3, t % 3) for t in range(count)]
        case = Case(machine, family, 2, 5, (lanes, lanes + 3, 2)[count % 3], taps)
        sums, at = case.table()
        case.call(f"sums_{count}", weights=at, pixels=case.pixels)
        added = case.by_channel(machine.fetch(at, sums)) - case.by_channel(sums)
        wanted = [(case.read(tap) * case.y).sum((0, 1)) for tap in taps]
        np.testing.assert_allclose(added, wanted, atol=20 * case.tolerance)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_compiles_for_every_cpu(level: str, dtype: str) -> None:
    code = compile_code(channels.module(LEVELS[level], dtype))
    assert set(code.symbols) == set(channels.kernel_names(LEVELS[level]))


def test_no_register_is_spilled() -> None:
    for level, register in (("x86-64-v3", "%ymm"), ("x86-64-v4", "%zmm")):
        lines = compile_assembly(channels.module(LEVELS[level], "f32")).splitlines()
        assert sum("vfmadd" in line for line in lines) >= 40
        assert not kernels.spills(lines, register)
