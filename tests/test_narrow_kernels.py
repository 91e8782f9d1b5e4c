"""Kernels of products of 16-bit floating point, one by one, against NumPy; operands lie against protected pages."""

import struct
from dataclasses import replace

import numpy as np
import pytest

import kernels
from flambeau.codegen import narrow, paired
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.link import Code
from flambeau.codegen.micro import FIELDS, MAX_VECTORS, TAPS_VECTORS, kernel_name, max_height, taps_kernel_name
from flambeau.codegen.target import LEVELS, Target, cpu_flags, host_level
from machines import MACHINES, Native

ACCUMULATE, COLUMN_BIAS, ROW_BIAS, RELU, NARROW = 1, 2, 4, 8, 16
PAIRS = replace(LEVELS["x86-64-v4"], bfloat16=True)
HAS_PAIRS = host_level() == "x86-64-v4" and "avx512_bf16" in cpu_flags()


def wide(bits: np.ndarray, dtype: str) -> np.ndarray:
    """16-bit elements as float32."""
    if dtype == "f16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """The bits of float32 values rounded to nearest even; nan is quiet."""
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).view(np.uint16)
    bits = x.view(np.uint32).astype(np.uint64)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), bits >> 16 | 0x40, near).astype(np.uint16)


@pytest.fixture(scope="module", params=[*MACHINES, ("pairs", "end"), ("pairs", "start")], ids=lambda p: "-".join(p))
def target_and_where(request: pytest.FixtureRequest) -> tuple[Target, str]:
    level, where = request.param
    if level == "pairs" and not HAS_PAIRS:
        pytest.skip("this machine has no dot products of bfloat16")
    return PAIRS if level == "pairs" else LEVELS[level], where


@pytest.fixture(scope="module", params=["f16", "bf16"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(narrow.module(target, request.param))


def test_rows(family, machine) -> None:
    _, _, dtype, _ = family
    rng = np.random.default_rng(0)
    drawn = [tuple(int(n) for n in pair) for pair in rng.integers(1, 70, (3, 2))]
    for rows, count in ((0, 5), (2, 0), (1, 1), (3, 7), (2, 16), (2, 17), (1, 100), *drawn):
        x = (rng.standard_normal((rows, count)) * 10.0 ** rng.integers(-3, 4, (rows, count))).astype(np.float32)
        x.flat[:1] = (np.nan, np.inf, -0.0, 1e30, 1 + 2**-8)[rows * count % 5]
        bits = rounded(x, dtype)
        out = machine.place(np.zeros_like(bits))
        machine.call("narrow", rows, count, machine.place(x), x.strides[0], out, bits.strides[0])
        got = machine.fetch(out, bits)
        np.testing.assert_array_equal(wide(got, dtype), wide(bits, dtype))
        back = machine.place(np.zeros_like(x))
        machine.call("widen", rows, count, machine.place(bits), bits.strides[0], back, x.strides[0])
        np.testing.assert_array_equal(machine.fetch(back, x), wide(bits, dtype))


def test_dot(family, machine) -> None:
    target, _, dtype, _ = family
    lanes, rng = narrow.layout(target, dtype)[0], np.random.default_rng(1)
    for depth in (1, lanes, 2 * lanes, 3 * lanes + 1, 4 * lanes - 1):
        x = rounded(rng.standard_normal(depth).astype(np.float32), dtype)
        b = rounded(rng.standard_normal((4, depth)).astype(np.float32), dtype)
        pairs, rest = divmod(depth, 2 * lanes)
        masks = (1 << min(rest, lanes)) - 1 | ((1 << max(0, rest - lanes)) - 1) << 32
        at_x, at_b, out = machine.place(x), machine.place(b), machine.place(np.zeros(4, np.float32))
        machine.call("dot_4", pairs, at_x, at_b, b.strides[0], masks, out)
        four = machine.fetch(out, np.zeros(4, np.float32))
        wanted = wide(b, dtype).astype(np.float64) @ wide(x, dtype)
        np.testing.assert_allclose(four, wanted, atol=1e-5)
        for i in range(4):  # one row at a time gives the same bits
            machine.call("dot_1", pairs, at_x, at_b + i * b.strides[0], 0, masks, out + 4 * i)
        np.testing.assert_array_equal(machine.fetch(out, np.zeros(4, np.float32)), four)


def interleaved(b: np.ndarray, lanes: int) -> np.ndarray:
    """A panel: rows of pairs, whole vectors."""
    depth, width = b.shape
    panel = np.zeros((depth // 2, -(-width // lanes) * lanes, 2), np.uint16)
    panel[:, :width, 0], panel[:, :width, 1] = b[::2], b[1::2]
    return panel


def pair_cases():
    """Every kernel once, with depths, tails and flags that vary together."""
    number = 0
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(1, max_height(PAIRS, vectors) + 1):
            for make in (False, True):
                number += 1
                yield vectors, height, make, 2 + 2 * (number % 7), 16 - number % 16, number % 32


@pytest.mark.skipif(not HAS_PAIRS, reason="this machine has no dot products of bfloat16")
@pytest.mark.parametrize("end", [True, False])
def test_pairs(end: bool) -> None:
    machine, rng = Native(compile_code(narrow.module(PAIRS, "bf16")), end), np.random.default_rng(2)
    for vectors, height, make, depth, tail, flags in pair_cases():
        width = 16 * (vectors - 1) + tail
        a, b = (rounded(rng.standard_normal(s).astype(np.float32), "bf16") for s in ((height, depth), (depth, width)))
        column_bias, row_bias = (rng.standard_normal(n).astype(np.float32) for n in (width, height))
        c = rng.standard_normal((height, width)).astype(np.float32)
        if flags & NARROW:
            flags &= ~ACCUMULATE
            c = c.astype(np.float16).view(np.uint16)
        wanted = wide(a, "bf16").astype(np.float64) @ wide(b, "bf16")
        wanted += c if flags & ACCUMULATE else 0
        wanted += column_bias if flags & COLUMN_BIAS else 0
        wanted += row_bias[:, None] if flags & ROW_BIAS else 0
        wanted = np.maximum(wanted, 0) if flags & RELU else wanted
        panel = interleaved(b, 16)
        at_panel, at_c = machine.place(np.zeros_like(panel) if make else panel), machine.place(c)
        fields = {"k": depth // 2, "a": machine.place(a), "a_row": a.strides[0], "a_col": 4, "c": at_c}
        fields |= {"c_row": c.strides[0], "mask": (1 << tail) - 1, "flags": flags, "b": at_panel}
        fields |= {"column_bias": machine.place(column_bias), "row_bias": machine.place(row_bias)}
        if make:
            masks = [0xFFFF] * (vectors - 1) + [(1 << tail) - 1] + [0] * (4 - vectors)
            taps = machine.place(np.frombuffer(struct.pack("<q4H", 0, *masks), np.uint8))
            fields |= {"b": machine.place(b), "taps": taps, "taps_end": taps + 16, "pair_step": b.strides[0]}
            fields |= {"channel_step": 2 * b.strides[0], "panel": at_panel}
        fields["panel_step"] = panel.strides[0]
        values = np.array([fields.get(field, 0) for field in FIELDS], np.int64)
        machine.call(kernel_name(vectors, height, make), machine.place(values))
        got = machine.fetch(at_c, c)
        if flags & NARROW:
            np.testing.assert_allclose(wide(got, "bf16"), wanted, rtol=2**-8, atol=1e-5)
        else:
            np.testing.assert_allclose(got, wanted, atol=1e-5)
        if make:
            np.testing.assert_array_equal(machine.fetch(at_panel, panel), panel)
    machine.close()


@pytest.mark.skipif(not HAS_PAIRS, reason="this machine has no dot products of bfloat16")
def test_operands_of_pairs() -> None:
    """Mode `make` of a B that consists of pairs, and a sum over two taps."""
    machine, rng = Native(compile_code(paired.module(PAIRS, "bf16")), True), np.random.default_rng(3)
    for vectors, height, _, depth, tail, _ in pair_cases():
        width = 16 * (vectors - 1) + tail
        a, b = (rounded(rng.standard_normal(s).astype(np.float32), "bf16") for s in ((height, depth), (depth, width)))
        wanted = wide(a, "bf16").astype(np.float64) @ wide(b, "bf16")
        panel = interleaved(b, 16)
        pairs = np.ascontiguousarray(panel.reshape(depth // 2, -1)[:, : 2 * width])
        at_panel, at_c = machine.place(np.zeros_like(panel)), machine.place(np.zeros((height, width), np.float32))
        masks = [0xFFFF] * (vectors - 1) + [(1 << tail) - 1] + [0] * (4 - vectors)
        taps = machine.place(np.frombuffer(struct.pack("<q4H", 0, *masks), np.uint8))
        fields = {"k": depth // 2, "a": machine.place(a), "a_row": a.strides[0], "a_col": 4, "c": at_c}
        fields |= {"c_row": 4 * width, "mask": (1 << tail) - 1, "b": machine.place(pairs), "taps": taps}
        fields |= {"taps_end": taps + 16, "channel_step": pairs.strides[0], "panel": at_panel}
        fields |= {"panel_step": panel.strides[0]}
        values = np.array([fields.get(field, 0) for field in FIELDS], np.int64)
        machine.call(paired.paired_name(vectors, height), machine.place(values))
        np.testing.assert_allclose(machine.fetch(at_c, np.zeros((height, width), np.float32)), wanted, atol=1e-5)
        np.testing.assert_array_equal(machine.fetch(at_panel, panel), panel)
        if vectors != TAPS_VECTORS:
            continue
        # Two taps a channel: the pixels stand next to each other, the rows of the panel one behind the other.
        taps = machine.place(np.frombuffer(struct.pack("<4q", 0, 0, 4, panel.strides[0]), np.uint8))
        fields |= {"k": depth // 4 * 2, "taps": taps, "taps_end": taps + 32, "channel_step": 8, "b": at_panel}
        fields |= {"panel_step": 2 * panel.strides[0]}
        if depth % 4:
            continue
        values = np.array([fields.get(field, 0) for field in FIELDS], np.int64)
        machine.call(taps_kernel_name(height), machine.place(values))
        np.testing.assert_allclose(machine.fetch(at_c, np.zeros((height, width), np.float32)), wanted, atol=1e-5)
    machine.close()


@pytest.mark.parametrize("target", [*(LEVELS[n] for n in ("x86-64-v3", "x86-64-v4", "aarch64")), PAIRS])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_compiles_for_every_cpu(target: Target, dtype: str) -> None:
    code = compile_code(narrow.module(target, dtype))
    assert set(code.symbols) == set(narrow.kernel_names(target, dtype))
    if narrow.has_pairs(target, dtype):
        assert set(compile_code(paired.module(target, dtype)).symbols) == set(paired.kernel_names(target))


def test_no_register_is_spilled() -> None:
    """The loops over the depth use the instruction meant for them and leave the stack alone."""
    modules = (narrow.module(PAIRS, "bf16"), paired.module(PAIRS, "bf16"))
    blocks = [block for m in modules for block in compile_assembly(m).split("\n.LBB")]
    loops = [block for block in blocks if "vdpbf16ps" in block]
    assert len(loops) >= 40
    lines = [line for block in loops for line in block.split("\tj")[0].splitlines()]
    assert not kernels.spills(lines, "%zmm")
    assert not [line for line in lines if "vdpbf16ps" in line and "%zmm" not in line]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_vectors_are_as_wide_as_the_machine(dtype: str) -> None:
    """Products of widened elements fill registers, and with AVX-512 nothing goes to the stack."""
    for level, register in (("x86-64-v3", "%ymm"), ("x86-64-v4", "%zmm")):
        lines = compile_assembly(narrow.module(LEVELS[level], dtype)).splitlines()
        products = [line for line in lines if "vfmadd" in line]
        assert products and all(register in line for line in products)
        if level == "x86-64-v4":
            assert not kernels.spills(lines, register)
