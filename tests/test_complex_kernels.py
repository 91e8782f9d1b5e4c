"""Micro-kernels of complex products, one by one, against NumPy: every operand ends, then starts, at a protected page."""

import struct

import numpy as np
import pytest

import kernels
from flambeau.codegen import complex_tiles
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.lanes import ACCUMULATE, COLUMN_BIAS, ROW_BIAS
from flambeau.codegen.link import Code
from flambeau.codegen.micro import MAX_VECTORS, kernel_name
from flambeau.codegen.target import LEVELS, Target
from kernels import expected_tile, run_tile

NUMPY = {"c64": np.complex64, "c128": np.complex128}


@pytest.fixture(scope="module", params=["c64", "c128"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(complex_tiles.module(target, request.param))


def numbers(rng: np.random.Generator, shape: tuple[int, ...] | int, kind: type) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)


def test_every_kernel(family, machine) -> None:
    target, _, dtype, _ = family
    (lanes, *heights, _), kind = complex_tiles.layout(target, dtype), NUMPY[dtype]
    rng = np.random.default_rng(0)
    kinds = [(v, h, make) for v in range(1, MAX_VECTORS + 1) for h in range(1, heights[v - 1] + 1) for make in (0, 1)]
    for number, (vectors, height, make) in enumerate(kinds):
        depth, transposed, flags = 1 + 3 * (number % 7), number % 3 == 0, number % 8
        tail = lanes if make else 1 + number % lanes  # kernels in mode make read whole vectors
        width, tiles = (vectors - 1) * lanes + tail, 1 if make else 1 + height % 3
        rows = height * tiles
        a = numbers(rng, (depth, rows) if transposed else (rows, depth), kind)
        b, c = numbers(rng, (depth, width), kind), numbers(rng, (rows, width), kind)
        column_bias, row_bias = numbers(rng, width, kind), numbers(rng, rows, kind)
        panel = np.zeros((depth, vectors * lanes), kind)
        panel[:, :width] = b
        room = np.zeros(-(-panel.nbytes // 64) * 64, np.uint8)
        if not make:
            room[: panel.nbytes] = panel.view(np.uint8).ravel()
        at = {"a": machine.place(a), "c": machine.place(c), "panel": machine.place(room)}
        fields = {"k": depth, "a": at["a"], "c": at["c"], "c_row": c.strides[0], "flags": flags, "tiles": tiles}
        fields["a_row"], fields["a_col"] = a.strides[::-1] if transposed else a.strides
        fields["column_bias"], fields["row_bias"] = machine.place(column_bias), machine.place(row_bias)
        fields |= {"mask": (1 << tail) - 1, "panel_step": panel.strides[0], "b": at["panel"]}
        if make:
            taps = machine.place(np.zeros(16, np.uint8))
            fields |= {"b": machine.place(b), "taps": taps, "taps_end": taps + 16, "channel_step": b.strides[0]}
            fields["panel"] = at["panel"]
        run_tile(machine, fields, kernel_name(vectors, height, bool(make)))
        used = flags & (ACCUMULATE | COLUMN_BIAS | ROW_BIAS)
        wanted = expected_tile(a.T if transposed else a, b, c, column_bias, row_bias, used)
        np.testing.assert_allclose(machine.fetch(at["c"], c), wanted, atol=1e-5 if dtype == "c64" else 1e-13)
        if make:
            stored = machine.fetch(at["panel"], room)[: panel.nbytes].view(kind).reshape(panel.shape)
            np.testing.assert_array_equal(stored, panel)


def test_a_panel_is_packed_with_masks(family, machine) -> None:
    target, _, dtype, _ = family
    lanes, kind = complex_tiles.layout(target, dtype)[0], NUMPY[dtype]
    for tail in {1, lanes - 1 or 1, lanes}:
        b = numbers(np.random.default_rng(1), (5, lanes + tail), kind)
        panel = np.zeros((5, 2 * lanes), kind)
        panel[:, : lanes + tail] = b
        table = np.frombuffer(struct.pack("<q4H", 0, (1 << lanes) - 1, (1 << tail) - 1, 0, 0), np.uint8)
        taps, out = machine.place(table), machine.place(np.ones_like(panel))
        fields = {"k": 5, "b": machine.place(b), "panel": out, "panel_step": panel.strides[0]}
        fields |= {"taps": taps, "taps_end": taps + 16, "channel_step": b.strides[0]}
        run_tile(machine, fields, kernel_name(2, 0, True))
        np.testing.assert_array_equal(machine.fetch(out, panel), panel)


@pytest.mark.parametrize("name", ["pack_columns", "scatter_columns"])
def test_columns(family, machine, name: str) -> None:
    target, _, dtype, _ = family
    lanes, kind = complex_tiles.layout(target, dtype)[0], NUMPY[dtype]
    vectors, depth, groups = 2, lanes + 1, 2
    source = numbers(np.random.default_rng(2), (vectors * lanes, depth), kind)
    masks = machine.place(np.array([(1 << lanes) - 1, 1], np.uint16))
    rows = b"".join(struct.pack("<qQ", j * source.strides[0], masks) for j in range(vectors * lanes))
    written = max(lanes - 1, 1) if name == "scatter_columns" else lanes
    out = np.full((groups * lanes, vectors * lanes), 7, kind)
    wanted = out.copy()
    for v in range(vectors):
        at = slice(v * lanes, v * lanes + written)
        wanted[:, at] = 0
        wanted[:depth, at] = source.T[:, at]
    to = machine.place(out)
    table, step = machine.place(np.frombuffer(rows, np.uint8)), out.strides[0]
    machine.call(name, groups, machine.place(source), table, to, vectors, step, (1 << written) - 1)
    np.testing.assert_array_equal(machine.fetch(to, out), wanted)


@pytest.mark.parametrize("dtype", ["c64", "c128"])
def test_no_register_is_spilled(dtype: str) -> None:
    """The loops over the depth use whole registers and leave the stack alone; code for any machine calls nothing."""
    for level, register, count in (("x86-64-v3", "%ymm", 20), ("x86-64-v4", "%zmm", 40)):
        blocks = compile_assembly(complex_tiles.module(LEVELS[level], dtype)).split("\n.LBB")
        loops = [block for block in blocks if "vfmadd" in block]
        assert len(loops) >= count
        lines = [line for block in loops for line in block.split("\tj")[0].splitlines()]
        assert not kernels.spills(lines, register)
        assert not [line for line in lines if "vfmadd" in line and register not in line]
    for level in ("x86-64-v3", "x86-64-v4", "aarch64"):
        code = compile_code(complex_tiles.module(LEVELS[level], dtype))
        assert set(code.symbols) == set(complex_tiles.kernel_names(LEVELS[level]))
