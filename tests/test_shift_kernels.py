"""Kernels of depthwise convolutions of narrow images, one by one, against NumPy in float64.

Every operand ends, then starts, at a protected page.
"""

import itertools

import numpy as np
import pytest

import kernels
from flambeau.codegen import shifts
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.lanes import ELEMENT_BYTES
from flambeau.codegen.link import Code
from flambeau.codegen.target import LEVELS, Target

NUMPY, TOLERANCE = {"f32": np.float32, "f64": np.float64}, {"f32": 2e-5, "f64": 1e-13}
BIAS, RELU = 4, 8
CASES = list(itertools.product(shifts.SIZES, shifts.PARTS, shifts.ROWS))


@pytest.fixture(scope="module", params=["f32", "f64"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    if not target.masks:
        pytest.skip("planes go by rows where vectors have no lane masks")
    return target, where, request.param, compile_code(shifts.module(target, request.param))


def lane_masks(width: int, height: int, size: int, parts: int, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanes of rows' parts, and those whose neighbour at a distance is of the same part."""
    rows, half, part = -(-height // parts), size // 2, lanes // parts
    inside = [
        ((1 << width) - 1) << p * part if 0 <= y + p * rows < height else 0
        for y in range(-half, rows + half)
        for p in range(parts)
    ]
    edges = [sum(1 << i for i in range(lanes) if 0 <= i % part + d < part) for d in range(-half, half + 1)]
    return np.array(inside, np.uint16), np.array(edges, np.uint16)


def reference(x: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    height, width = x.shape[1:]
    padded = np.pad(x.astype(np.float64), ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    return sum(
        weights[:, i * size + j, None, None] * padded[:, i : i + height, j : j + width]
        for i in range(size)
        for j in range(size)
    )


class Case:
    """Some planes of images, and what the kernels are told of them."""

    def __init__(self, machine, family, shape: tuple[int, int], size: int, stride: int, flags: int) -> None:
        self.dtype, self.machine, self.flags = family[2], machine, flags
        kind, rng, planes = NUMPY[self.dtype], np.random.default_rng(shape[0]), 3
        x, weights, bias = (
            rng.standard_normal(n).astype(kind) for n in ((planes, *shape), (planes, size * size), (planes,))
        )
        wanted = reference(x, weights, size)[:, ::stride, ::stride] + (bias[:, None, None] if flags & BIAS else 0)
        self.wanted = np.maximum(wanted, 0) if flags & RELU else wanted
        self.y = np.zeros(wanted.shape, kind)
        self.at_y = machine.place(self.y)
        self.fields = {
            "weights": machine.place(weights), "weights_plane": weights.strides[0], "x": machine.place(x),
            "x_plane": x.strides[0], "x_row": x.strides[1], "y": self.at_y, "y_plane": self.y.strides[0],
            "y_row": self.y.strides[1], "planes": planes, "bias": machine.place(bias), "flags": flags,
        }  # fmt: skip

    def check(self, name: str, **fields: int) -> None:
        values = [{**self.fields, **fields}.get(field, 0) for field in shifts.FIELDS]
        self.machine.call(name, self.machine.place(np.array(values, np.int64)))
        got, tolerance = self.machine.fetch(self.at_y, self.y), TOLERANCE[self.dtype]
        np.testing.assert_allclose(got, self.wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("size", "parts", "rows"), CASES)
def test_narrow_images(family, machine, size: int, parts: int, rows: int) -> None:
    """As wide as their part of a vector, and narrower; blocks of rows that overlap, and parts of unequal height."""
    lanes = family[0].vector_bytes // ELEMENT_BYTES[family[2]]
    for number, (narrower, more) in enumerate(itertools.product((0, 1), (0, 1, rows + 1))):
        height, width = rows * parts + more, lanes // parts - narrower
        case = Case(machine, family, (height, width), size, 1, (0, BIAS, BIAS | RELU)[number % 3])
        masks, edges = (machine.place(m) for m in lane_masks(width, height, size, parts, lanes))
        case.check(shifts.kernel_name(size, parts, rows), rows=-(-height // parts), masks=masks, edges=edges)


@pytest.mark.parametrize(("size", "vectors"), list(itertools.product(shifts.HALVE_SIZES, shifts.HALVE_VECTORS)))
def test_strides_of_two(family, machine, size: int, vectors: int) -> None:
    """Odd and even sizes, all columns at once or beginning in the middle of a row; rows outside are read elsewhere."""
    target, _, dtype, _ = family
    lanes = target.vector_bytes // ELEMENT_BYTES[dtype]
    zeros = machine.place(np.zeros((2 * vectors + 2) * lanes, NUMPY[dtype])) + target.vector_bytes
    for number, (width, height) in enumerate(itertools.product((1, 2, 2 * lanes - 1, 2 * lanes), (7, 8, 13))):
        columns = 2 * lanes * (vectors - 1) + width
        for first in (0, 1):  # vectors of outputs in front of those computed
            case = Case(
                machine, family, (height, first * 2 * lanes + columns), size, 2, (0, BIAS, BIAS | RELU)[number % 3]
            )
            ends = [min(max(0, columns - i * lanes), lanes) for i in range(2 * vectors + 1)]
            bits = [(1 << n) - 1 for n in (first * lanes, *ends, (width + 1) // 2)]
            masks, outputs = machine.place(np.array(bits, np.uint16)), case.wanted.shape[1:]
            places = {
                "x": case.fields["x"] + first * 2 * target.vector_bytes,
                "y": case.at_y + first * target.vector_bytes,
            }
            case.wanted[:, :, : first * lanes] = 0
            case.check(f"halve_{size}_{vectors}", rows=outputs[0], masks=masks, height=height, zeros=zeros, **places)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_register_is_spilled(dtype: str) -> None:
    lines = compile_assembly(shifts.module(LEVELS["x86-64-v4"], dtype)).splitlines()
    products = [line for line in lines if "vfmadd" in line]
    assert len(products) >= sum(rows * size * size for size, _, rows in CASES)
    assert all("%zmm" in line for line in products)
    assert not kernels.spills(lines, "%zmm")
