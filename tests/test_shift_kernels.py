"""Kernels of depthwise convolutions of narrow images, one by one, against NumPy in float64.

Every operand ends, then starts, at a protected page.
"""

import itertools

import numpy as np
import pytest

import kernels
from flambeau.codegen import contract, shifts
from flambeau.codegen.jit import compile_assembly
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
    return target, where, request.param, shifts.compile_family(target, request.param)


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


@pytest.mark.parametrize(("size", "parts", "rows"), CASES)
def test_planes(family, machine, size: int, parts: int, rows: int) -> None:
    """Images as wide as their part of a vector, and narrower; blocks of rows that overlap, and parts of unequal height."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // contract.ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, planes = np.random.default_rng(size + parts), 3
    for number, (narrower, more) in enumerate(itertools.product((0, 1), (0, 1, rows + 1))):
        width, height = lanes // parts - narrower, rows * parts + more
        flags = (0, BIAS, BIAS | RELU)[number % 3]
        x, weights, bias = (
            rng.standard_normal(shape).astype(kind)
            for shape in ((planes, height, width), (planes, size * size), (planes,))
        )
        masks, edges = lane_masks(width, height, size, parts, lanes)
        at_y = machine.place(np.zeros_like(x))
        fields = {
            "weights": machine.place(weights), "weights_plane": weights.strides[0], "x": machine.place(x), "y": at_y,
            "x_plane": x.strides[0], "y_plane": x.strides[0], "row": x.strides[1], "planes": planes,
            "rows": -(-height // parts), "masks": machine.place(masks), "edges": machine.place(edges),
            "bias": machine.place(bias), "flags": flags,
        }  # fmt: skip
        values = np.array([fields[name] for name in shifts.FIELDS], np.int64)
        machine.call(shifts.kernel_name(size, parts, rows), machine.place(values))
        wanted = reference(x, weights, size) + (bias[:, None, None] if flags & BIAS else 0)
        wanted = np.maximum(wanted, 0) if flags & RELU else wanted
        np.testing.assert_allclose(machine.fetch(at_y, x), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_register_is_spilled(dtype: str) -> None:
    lines = compile_assembly(shifts.module(LEVELS["x86-64-v4"], dtype)).splitlines()
    products = [line for line in lines if "vfmadd" in line]
    assert len(products) >= sum(rows * size * size for size, _, rows in CASES)
    assert all("%zmm" in line for line in products)
    assert not kernels.spills(lines, "%zmm")
