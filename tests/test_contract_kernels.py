"""Micro-kernels of contractions, one by one, against NumPy: every operand ends, then starts, at a protected page.

aarch64 kernels run in an emulator where `unicorn` is installed.
"""

import struct

import numpy as np
import pytest

import kernels
from flambeau.codegen import contract
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.lanes import ELEMENT_BYTES, RELU
from flambeau.codegen.link import Code
from flambeau.codegen.micro import MAX_VECTORS, kernel_name, max_height
from flambeau.codegen.target import LEVELS, Target
from kernels import expected_tile, run_tile

NUMPY = {"f32": np.float32, "f64": np.float64}


@pytest.fixture(scope="module", params=["f32", "f64"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(contract.module(target, request.param))


def cases(target: Target, dtype: str):
    """Every kernel with a whole last vector and with another, depths, tails, strides and flags that vary together."""
    lanes = target.vector_bytes // ELEMENT_BYTES[dtype]
    number = 0
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(1, max_height(target, vectors) + 1):
            for make in (False, True):
                for tail in {lanes, 1 + (vectors + height) % lanes}:
                    number += 1
                    yield vectors, height, make, 1 + 3 * (number % 7), tail, number % 16, number % 3 == 0


def test_every_kernel(family, machine) -> None:
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng = np.random.default_rng(0)
    for vectors, height, make, depth, tail, flags, transposed in cases(target, dtype):
        if make and not target.masks:
            tail = lanes  # such kernels read whole vectors
        width, tiles = (vectors - 1) * lanes + tail, 1 if make else 1 + height % 3
        rows = height * tiles
        a = rng.standard_normal((depth, rows) if transposed else (rows, depth)).astype(kind)
        b = rng.standard_normal((depth, width)).astype(kind)
        c = rng.standard_normal((rows, width)).astype(kind)
        column_bias, row_bias = rng.standard_normal(width).astype(kind), rng.standard_normal(rows).astype(kind)
        panel = np.zeros((depth, vectors * lanes), kind)
        panel[:, :width] = b
        # Panels are aligned, so a page boundary is exact only behind multiples of 64 bytes.
        room = np.zeros(-(-panel.nbytes // 64) * 64, np.uint8)
        if not make:
            room[: panel.nbytes] = panel.view(np.uint8).ravel()
        at = {"a": machine.place(a), "c": machine.place(c), "panel": machine.place(room)}
        fields = {"k": depth, "a": at["a"], "c": at["c"], "c_row": c.strides[0], "flags": flags, "tiles": tiles}
        fields["a_row"], fields["a_col"] = a.strides[::-1] if transposed else a.strides
        fields["mask"] = (1 << tail) - 1
        fields["column_bias"], fields["row_bias"] = machine.place(column_bias), machine.place(row_bias)
        if make:
            masks = [(1 << lanes) - 1] * (vectors - 1) + [(1 << tail) - 1] + [0] * (4 - vectors)
            taps = machine.place(np.frombuffer(struct.pack("<q4H", 0, *masks), np.uint8))
            fields |= {"b": machine.place(b), "taps": taps, "taps_end": taps + 16, "channel_step": b.strides[0]}
            fields["panel"] = at["panel"]
        else:
            fields["b"] = at["panel"]
        fields["panel_step"] = panel.strides[0]
        run_tile(machine, fields, kernel_name(vectors, height, make))
        wanted = expected_tile(a.T if transposed else a, b, c, column_bias, row_bias, flags)
        got = machine.fetch(at["c"], c)
        np.testing.assert_allclose(got, wanted, atol=1e-5 if dtype == "f32" else 1e-13)
        if make:
            stored = machine.fetch(at["panel"], room)[: panel.nbytes].view(kind).reshape(panel.shape)
            np.testing.assert_array_equal(stored, panel)


def test_relu_keeps_nan(family, machine) -> None:
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    b = np.zeros(64 // np.dtype(kind).itemsize, kind)
    b[:2] = np.nan, -1
    a, c = np.ones(1, kind), np.zeros(lanes, kind)
    fields = {"k": 1, "a": machine.place(a), "b": machine.place(b), "c": machine.place(c), "flags": RELU}
    run_tile(machine, {**fields, "mask": (1 << lanes) - 1}, kernel_name(1, 1, False))
    got = machine.fetch(fields["c"], c)
    assert np.isnan(got[0]) and (got[1:] == 0).all()


def test_taps_pack_a_convolution(family, machine) -> None:
    """A panel of pixels through three taps with padding: row (channel, tap) holds the shifted pixels, 0 outside."""
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    pixels, channels, shifts = lanes - 1 if lanes > 2 else lanes, 3, (-1, 0, 1)
    x = np.random.default_rng(1).standard_normal((channels, pixels)).astype(kind)
    panel = np.zeros((channels * 3, lanes), kind)
    table = b""
    for t, shift in enumerate(shifts):
        inside = [0 <= p + shift < pixels for p in range(pixels)]
        table += struct.pack("<q4H", shift * x.itemsize, sum(1 << p for p, i in enumerate(inside) if i), 0, 0, 0)
        for p in range(pixels):
            panel[t::3, p] = x[:, p + shift] if inside[p] else 0
    room = np.ones(-(-panel.nbytes // 64) * 64, np.uint8)
    taps, out = machine.place(np.frombuffer(table, np.uint8)), machine.place(room)
    fields = {"k": 3 * channels, "b": machine.place(x), "panel": out, "panel_step": panel.strides[0]}
    fields |= {"taps": taps, "taps_end": taps + len(table), "channel_step": x.strides[0]}
    run_tile(machine, fields, kernel_name(1, 0, True))
    got = machine.fetch(out, room)[: panel.nbytes].view(kind).reshape(panel.shape)
    np.testing.assert_array_equal(got, panel)


@pytest.mark.parametrize("name", ["pack_columns", "scatter_columns"])
def test_columns(family, machine, name: str) -> None:
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    vectors, depth, groups = 2, lanes + 1, 2
    source = np.random.default_rng(2).standard_normal((vectors * lanes, depth)).astype(kind)
    masks = machine.place(np.array([(1 << lanes) - 1, 1], np.uint16))
    rows = b"".join(struct.pack("<qQ", j * source.strides[0], masks) for j in range(vectors * lanes))
    written = lanes - 1 if name == "scatter_columns" else lanes
    out = np.full((groups * lanes, vectors * lanes), 7, kind)
    wanted = out.copy()
    wanted[:] = 0 if written == lanes else wanted
    for v in range(vectors):
        at = slice(v * lanes, v * lanes + written)
        wanted[:, at] = 0
        wanted[:depth, at] = source.T[:, at]
    table = machine.place(np.frombuffer(rows, np.uint8))
    to = machine.place(out)
    step, mask = out.strides[0], (1 << written) - 1
    machine.call(name, groups, machine.place(source), table, to, vectors, step, mask)
    np.testing.assert_array_equal(machine.fetch(to, out), wanted)


def test_dot(family, machine) -> None:
    target, _, dtype, _ = family
    lanes, kind = target.vector_bytes // ELEMENT_BYTES[dtype], NUMPY[dtype]
    rng = np.random.default_rng(3)
    for depth in (1, lanes, 2 * lanes, 3 * lanes + 1, 4 * lanes - 1):
        x, b = rng.standard_normal(depth).astype(kind), rng.standard_normal((4, depth)).astype(kind)
        pairs, rest = divmod(depth, 2 * lanes)
        masks = (1 << min(rest, lanes)) - 1 | ((1 << max(0, rest - lanes)) - 1) << 32
        at_x, at_b, out = machine.place(x), machine.place(b), machine.place(np.zeros(4, kind))
        machine.call("dot_4", pairs, at_x, at_b, b.strides[0], masks, out)
        four = machine.fetch(out, np.zeros(4, kind))
        np.testing.assert_allclose(four, b.astype(np.float64) @ x, atol=1e-5 if dtype == "f32" else 1e-13)
        for i in range(4):  # one row at a time gives the same bits
            machine.call("dot_1", pairs, at_x, at_b + i * b.strides[0], 0, masks, out + i * x.itemsize)
        np.testing.assert_array_equal(machine.fetch(out, np.zeros(4, kind)), four)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_compiles_for_every_cpu(level: str, dtype: str) -> None:
    """Code for machines that this one is not: it links without relocations, and nothing but our functions is called."""
    code = compile_code(contract.module(LEVELS[level], dtype))
    assert set(code.symbols) == set(contract.kernel_names(LEVELS[level]))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_no_register_is_spilled(dtype: str) -> None:
    """Tiles are as large as the registers allow, and not larger: the loops over depth and taps use whole registers and
    leave the stack alone."""
    for level, register in (("x86-64-v3", "%ymm"), ("x86-64-v4", "%zmm")):
        blocks = compile_assembly(contract.module(LEVELS[level], dtype)).split("\n.LBB")
        loops = [block for block in blocks if "vfmadd" in block]
        assert len(loops) >= 40
        lines = [line for block in loops for line in block.split("\tj")[0].splitlines()]
        assert not kernels.spills(lines, register)
        assert not [line for line in lines if "vfmadd" in line and register not in line]


def test_low_tiles_step_on_seldom() -> None:
    """Beside 12 multiply-adds, 6 broadcasts and 2 loads, a step of a tile of 6 x 16 has hardly any instruction: A by rows
    and by columns, the panel used and made (2 stores and what is fetched ahead)."""
    text = compile_assembly(contract.module(LEVELS["x86-64-v3"], "f32"))
    for make, most in ((False, 22), (True, 25)):
        body = text.split(f"\n{kernel_name(2, 6, make)}:\n")[1].split("\n.Lfunc_end")[0]
        blocks = [block.split("\tj")[0] for block in body.split("\n.LBB")]
        steps = [(block.count("\tvfmadd") // 12, block.count("\n\t")) for block in blocks]
        loops = [instructions / count for count, instructions in steps if count > 1]
        assert len(loops) == 2 and max(loops) < most


@pytest.mark.parametrize("whole", [0, 2])
def test_split_and_merge(family, machine, whole: int) -> None:
    """Rows dealt out to even and odd elements, and put together again; nothing else is written."""
    target, _, dtype, _ = family
    lanes, rows = target.vector_bytes // ELEMENT_BYTES[dtype], 3
    rng = np.random.default_rng(9)
    for rest in (0, 1, lanes, 2 * lanes - 1):
        count, width = whole * 2 * lanes + rest, (whole + 1) * lanes
        x = rng.standard_normal((rows, count)).astype(NUMPY[dtype])
        lanes_of = (min(rest, lanes), max(0, rest - lanes), (rest + 1) // 2, rest // 2)
        masks = [(1 << n) - 1 for n in lanes_of]
        bits = sum(mask << 16 * i for i, mask in enumerate(masks))
        bits -= (bits >> 63) << 64  # as a signed number
        halves = np.full((2, rows, width), 7, x.dtype)
        at = [machine.place(half) for half in halves]
        machine.call("split_2", rows, whole, machine.place(x), x.strides[0], *at, halves.strides[1], bits)
        for parity in (0, 1):
            wanted = halves[parity].copy()
            wanted[:, : len(range(parity, count, 2))] = x[:, parity::2]
            np.testing.assert_array_equal(machine.fetch(at[parity], halves[parity]), wanted)
        to = machine.place(np.zeros_like(x))
        machine.call("merge_2", rows, whole, *at, halves.strides[1], to, x.strides[0], bits & 0xFFFFFFFF)
        np.testing.assert_array_equal(machine.fetch(to, x), x)
