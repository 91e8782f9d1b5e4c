"""Kernels that only convolutions take, one by one, against NumPy: every operand ends, then starts, at a protected page.

aarch64 kernels run in an emulator where `unicorn` is installed.
"""

import itertools
import struct

import numpy as np
import pytest

import kernels
from flambeau.codegen import conv
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.lanes import ELEMENT_BYTES, RELU, ROW_BIAS
from flambeau.codegen.link import Code
from flambeau.codegen.micro import TAPS_VECTORS, taps_heights, taps_kernel_name
from flambeau.codegen.planes import COLUMN_HEIGHTS, COLUMN_VECTORS, FLAT_PLANES, PLANE_FIELDS, PLANE_ROWS, plane_sums
from flambeau.codegen.target import LEVELS, Target
from kernels import expected_tile, run_tile

NUMPY = {"f32": np.float32, "f64": np.float64}


@pytest.fixture(scope="module", params=["f32", "f64"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(conv.module(target, request.param))


def test_taps_read_pixels(family, machine) -> None:
    """Pixels at a distance of two, of every channel through some of the taps; the others' rows of the panel are nan."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, channels, shifts, used = np.random.default_rng(9), 3, (0, 1, 4, 5), (1, 2)
    assert len(taps_heights(target)) == (14 if target.registers >= 32 else 0)
    for height in taps_heights(target):
        tail = lanes - height % lanes
        width, flags = (TAPS_VECTORS - 1) * lanes + tail, height % 16 & ~ROW_BIAS
        x = rng.standard_normal((channels, 2 * height - 1 + shifts[used[-1]])).astype(kind)
        panel = np.full((channels, len(shifts), TAPS_VECTORS * lanes), np.nan, kind)
        panel[:, used] = rng.standard_normal((channels, len(used), panel.shape[2]))
        bias, c = rng.standard_normal(width).astype(kind), rng.standard_normal((height, width)).astype(kind)
        table = b"".join(struct.pack("<qq", shifts[t] * x.itemsize, t * panel.strides[1]) for t in used)
        room = np.zeros(-(-panel.nbytes // 64) * 64, np.uint8)
        room[: panel.nbytes] = panel.view(np.uint8).ravel()
        at_c, taps = machine.place(c), machine.place(np.frombuffer(table, np.uint8))
        fields = {"k": channels * len(used), "a": machine.place(x), "a_row": 2 * x.itemsize, "b": machine.place(room)}
        fields |= {"taps": taps, "taps_end": taps + len(table), "channel_step": x.strides[0], "c": at_c}
        fields |= {"panel_step": panel.strides[0], "c_row": c.strides[0], "mask": (1 << tail) - 1, "flags": flags}
        run_tile(machine, fields | {"column_bias": machine.place(bias)}, taps_kernel_name(height))
        columns = [x[:, shifts[t] : shifts[t] + 2 * height - 1 : 2] for t in used]
        a, b = np.stack(columns, 1).reshape(-1, height).T, panel[:, used, :width].reshape(-1, width)
        wanted = expected_tile(a, b, c, bias, np.zeros(height), flags)
        np.testing.assert_allclose(machine.fetch(at_c, c), wanted, atol=1e-5 if dtype == "f32" else 1e-13)


def plane_fields(machine, fields: dict[str, int]) -> int:
    values = [fields.get(name, 0) for name in PLANE_FIELDS]
    return machine.place(np.frombuffer(struct.pack(f"<{len(values)}q", *values), np.uint8))


def plane_taps(machine, x: np.ndarray, taps: list[tuple[int, int]]) -> int:
    return machine.place(np.array([y * x.strides[0] + right * x.itemsize for y, right in taps], np.int64))


def test_planes(family, machine) -> None:
    """Rows of outputs from a padded plane, two rows apart: whole vectors are read, columns of outputs only written."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, taps, blocks = np.random.default_rng(4), [(0, 0), (0, 2), (1, 1), (2, 0)], 2
    for number, (vectors, rows) in enumerate((v, r) for v in (1, 2, 3) for r in PLANE_ROWS):
        columns, height = vectors * lanes - number % 2, rows * blocks
        x = rng.standard_normal((2 * height + 1, vectors * lanes + 2)).astype(kind)
        weights, bias = rng.standard_normal(len(taps)).astype(kind), rng.standard_normal(1).astype(kind)
        y = np.zeros((height, columns), kind)
        wanted = sum(
            w * x[a : a + 2 * height - 1 : 2, b : b + columns].astype(np.float64)
            for w, (a, b) in zip(weights, taps, strict=True)
        )
        at_y, flags = machine.place(y), (0, ROW_BIAS, ROW_BIAS | RELU)[number % 3]
        fields = {"taps": plane_taps(machine, x, taps), "count": len(taps), "weights": machine.place(weights)}
        fields |= {"x": machine.place(x), "x_row": 2 * x.strides[0], "y": at_y, "y_row": y.strides[0]}
        fields |= {"blocks": blocks, "mask": (1 << lanes - number % 2) - 1, "flags": flags}
        machine.call(f"plane_{vectors}_{rows}", plane_fields(machine, fields | {"bias": machine.place(bias)}))
        wanted = wanted + bias if flags & ROW_BIAS else wanted
        wanted = np.maximum(wanted, 0) if flags & RELU else wanted
        np.testing.assert_allclose(machine.fetch(at_y, y), wanted, atol=1e-5 if dtype == "f32" else 1e-13)


def test_plane_columns(family, machine) -> None:
    """Columns of taps: the weights of a kernel row by row, a vector of the plane read once."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, blocks, right = np.random.default_rng(6), 2, 2
    for vectors in COLUMN_VECTORS:
        for height in COLUMN_HEIGHTS:
            rows, columns = PLANE_ROWS[-1] * blocks, vectors * lanes - 1
            x = rng.standard_normal((rows + height - 1, vectors * lanes + right - 1)).astype(kind)
            weights, y = rng.standard_normal((height, right)).astype(kind), np.zeros((rows, columns), kind)
            wide, at_y = x.astype(np.float64), machine.place(y)
            wanted = sum(
                weights[a, b] * wide[a : a + rows, b : b + columns] for a in range(height) for b in range(right)
            )
            fields = {"taps": plane_taps(machine, x, [(0, b) for b in range(right)]), "count": right}
            fields |= {"weights": machine.place(weights), "weights_row": weights.strides[0], "blocks": blocks}
            fields |= {"x": machine.place(x), "x_row": x.strides[0], "y": at_y, "y_row": y.strides[0]}
            machine.call(
                f"plane_column_{vectors}_{height}", plane_fields(machine, fields | {"mask": (1 << lanes - 1) - 1})
            )
            np.testing.assert_allclose(machine.fetch(at_y, y), wanted, atol=1e-5 if dtype == "f32" else 1e-13)


def test_plane_sums(family, machine) -> None:
    """Sums a tap are added to what is there; an infinity behind the last column counts for nothing."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, height = np.random.default_rng(5), 3
    for count in range(1, plane_sums(target) + 1):
        vectors = 1 + count % 3
        columns = vectors * lanes - 1
        x = rng.standard_normal((height + 2, vectors * lanes + 2)).astype(kind)
        y = rng.standard_normal((height, columns)).astype(kind)
        x[:, columns + 2 :] = np.inf
        taps = [(t // 3, t % 3) for t in range(count)]
        sums = rng.standard_normal((count, lanes)).astype(kind)
        at = machine.place(sums)
        fields = {"taps": plane_taps(machine, x, taps), "weights": at, "x": machine.place(x), "x_row": x.strides[0]}
        fields |= {"y": machine.place(y), "y_row": y.strides[0], "blocks": height, "vectors": vectors}
        machine.call(f"plane_sums_{count}", plane_fields(machine, fields | {"mask": (1 << lanes - 1) - 1}))
        wide = x.astype(np.float64)
        wanted = [(wide[a : a + height, b : b + columns] * y).sum() for a, b in taps]
        got = machine.fetch(at, sums).astype(np.float64).sum(1) - sums.astype(np.float64).sum(1)
        np.testing.assert_allclose(got, wanted, atol=1e-4 if dtype == "f32" else 1e-12)


def flat_case(machine, family, planes: int, taps: int, columns: int) -> tuple:
    """Whole planes of some columns and a tail: input, taps by vector, and the fields that say so."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng, vectors = np.random.default_rng(8), -(-columns // lanes)
    x = rng.standard_normal((planes, columns)).astype(kind)
    offsets = rng.integers(-columns + 1, columns, taps)
    inside = np.zeros((taps, vectors * lanes), bool)
    read = np.zeros((planes, taps, columns))
    for t, d in enumerate(offsets):
        lane = np.arange(max(0, -d), min(columns, columns - d))
        inside[t, lane], read[:, t, lane] = True, x[:, lane + d]
    bits = (inside.reshape(taps, vectors, lanes) << np.arange(lanes)).sum(-1).T.astype(np.uint16)
    fields = {"taps": machine.place(offsets * x.itemsize), "count": taps, "vectors": vectors}
    fields |= {"masks": machine.place(np.ascontiguousarray(bits)), "masks_row": 2 * taps, "x": machine.place(x)}
    fields |= {"x_row": x.strides[0], "y_row": x.strides[0], "mask": (1 << columns - (vectors - 1) * lanes) - 1}
    return rng, x, read, fields


def test_flat_planes(family, machine) -> None:
    """Planes without rows: every tap has a lane mask a vector, every plane weights of its own."""
    target, _, dtype, _ = family
    if not target.masks:
        pytest.skip("planes go by rows where vectors have no lane masks")
    for planes, flags in itertools.product(FLAT_PLANES, (0, ROW_BIAS, ROW_BIAS | RELU)):
        rng, x, read, fields = flat_case(machine, family, 2 * planes, 5, 37)
        weights, bias = (rng.standard_normal(shape).astype(x.dtype) for shape in ((2 * planes, 5), (2 * planes,)))
        at_y = machine.place(np.zeros_like(x))
        fields |= {"y": at_y, "weights": machine.place(weights), "weights_row": weights.strides[0]}
        fields |= {"bias": machine.place(bias), "flags": flags, "blocks": 2}
        machine.call(f"plane_flat_{planes}", plane_fields(machine, fields))
        wanted = np.einsum("pt,ptc->pc", weights, read) + (bias[:, None] if flags & ROW_BIAS else 0)
        wanted = np.maximum(wanted, 0) if flags & RELU else wanted
        np.testing.assert_allclose(machine.fetch(at_y, x), wanted, atol=1e-5 if dtype == "f32" else 1e-13)


def test_flat_sums(family, machine) -> None:
    target, _, dtype, _ = family
    if not target.masks:
        pytest.skip("planes go by rows where vectors have no lane masks")
    for count in range(1, plane_sums(target) + 1):
        rng, x, read, fields = flat_case(machine, family, 3, count, 20 + count)
        y = rng.standard_normal(x.shape).astype(x.dtype)
        sums = rng.standard_normal((count, target.vector_bytes // x.itemsize)).astype(x.dtype)
        at = machine.place(sums)
        fields |= {"y": machine.place(y), "weights": at, "blocks": 3}
        machine.call(f"flat_sums_{count}", plane_fields(machine, fields))
        got = machine.fetch(at, sums).astype(np.float64).sum(1) - sums.astype(np.float64).sum(1)
        wanted = np.einsum("pc,ptc->t", y.astype(np.float64), read)
        np.testing.assert_allclose(got, wanted, atol=1e-4 if dtype == "f32" else 1e-12)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_compiles_for_every_cpu(level: str, dtype: str) -> None:
    """Code for machines that this one is not: it links without relocations, and nothing but our functions is called."""
    code = compile_code(conv.module(LEVELS[level], dtype))
    assert set(code.symbols) == set(conv.kernel_names(LEVELS[level]))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_register_is_spilled(dtype: str) -> None:
    """The loops over taps use whole registers and leave the stack alone."""
    for level, register in (("x86-64-v3", "%ymm"), ("x86-64-v4", "%zmm")):
        blocks = compile_assembly(conv.module(LEVELS[level], dtype)).split("\n.LBB")
        loops = [block for block in blocks if "vfmadd" in block]
        assert len(loops) >= 20
        lines = [line for block in loops for line in block.split("\tj")[0].splitlines()]
        assert not kernels.spills(lines, register)
        assert not [line for line in lines if "vfmadd" in line and register not in line]
