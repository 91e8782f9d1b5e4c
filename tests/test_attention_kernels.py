"""The kernels between the products of attention, one by one, against NumPy in float64.

aarch64 kernels run in an emulator where `unicorn` is installed.
"""

import struct

import numpy as np
import pytest

import kernels
from flambeau.codegen import attention
from flambeau.codegen.jit import compile_assembly, compile_code
from flambeau.codegen.link import Code
from flambeau.codegen.micro import MAX_VECTORS, max_height
from flambeau.codegen.target import LEVELS, Target

NUMPY = {"f32": np.float32, "f64": np.float64}
ULPS = {"f32": 4, "f64": 16}  # of an exponential of a rounded difference, and of sums of few


@pytest.fixture(scope="module", params=["f32", "f64"])
def family(request: pytest.FixtureRequest, target_and_where: tuple[Target, str]) -> tuple[Target, str, str, Code]:
    target, where = target_and_where
    return target, where, request.param, compile_code(attention.module(target, request.param))


class Block:
    """Arrays with queries as the last dimension, placed in a machine where they are aligned to 64 bytes."""

    def __init__(self, machine, dtype: str, **arrays: np.ndarray) -> None:
        self.machine = machine
        self.arrays = {
            name: np.ascontiguousarray(x, np.int64 if name == "limits" else NUMPY[dtype]) for name, x in arrays.items()
        }
        if dtype == "f32" and "limits" in arrays:
            self.arrays["limits"] = self.arrays["limits"].astype(np.int32)
        self.at = {name: machine.place(self._padded(x)) for name, x in self.arrays.items()}

    @staticmethod
    def _padded(x: np.ndarray) -> np.ndarray:
        room = np.zeros(-(-x.nbytes // 64) * 64, np.uint8)
        room[: x.nbytes] = x.view(np.uint8).ravel()
        return room

    def run(self, name: str, **numbers: int) -> None:
        fields = {**self.at, **numbers}
        assert set(fields) <= set(attention.FIELDS)
        values = [fields.get(field, 0) for field in attention.FIELDS]
        self.machine.call(name, self.machine.place(np.array(values, np.int64)))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.machine.fetch(self.at[name], self.arrays[name]).astype(np.float64)


def close(got, wanted, dtype) -> None:
    tolerance = ULPS[dtype] * np.finfo(NUMPY[dtype]).eps
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def sizes(target: Target, dtype: str):
    lanes = target.vector_bytes // np.dtype(NUMPY[dtype]).itemsize
    return [(vectors, vectors * lanes, 2 + 3 * vectors) for vectors in range(1, MAX_VECTORS + 1)]


def hidden(rows: int, first: int, limits: np.ndarray) -> np.ndarray:
    return first + np.arange(rows)[:, None] >= limits


def test_softmax(family, machine) -> None:
    """Two blocks of keys, the second with limits; one query sees nothing in either."""
    target, _, dtype, _ = family
    rng = np.random.default_rng(0)
    for vectors, queries, rows in sizes(target, dtype):
        scores = rng.standard_normal((2 * rows, queries)).astype(NUMPY[dtype]) * 3
        scores[:, 1] = -np.inf
        scores[0, 0] = 200  # the rest of this query vanishes beside it
        limits = rng.integers(rows + 1, 2 * rows + 1, queries)
        state = {"maximum": np.full(queries, -np.inf), "total": np.zeros(queries), "factors": np.zeros(queries)}
        block = Block(machine, dtype, scores=scores, limits=limits, lse=np.zeros(queries), **state)
        block.run(f"softmax_{vectors}", rows=rows, free=rows)
        first = block["scores"][:rows]
        block.run(f"softmax_{vectors}", scores=block.at["scores"] + rows * scores.strides[0], rows=rows, free=1,
                  first=rows)  # fmt: skip
        masked = np.where(hidden(2 * rows, 0, limits), -np.inf, scores.astype(np.float64))
        top = masked.max(0)
        maximum = block["maximum"]
        first_top = masked[:rows].max(0)
        np.testing.assert_array_equal(maximum, np.where(top > first_top + attention.SLACK, top, first_top))
        base = np.where(np.isinf(maximum), 0, maximum)
        close(first * block["factors"], np.exp(masked - base)[:rows], dtype)
        close(block["scores"][rows:], np.exp(masked - base)[rows:], dtype)
        total = np.exp(masked - base).sum(0)
        close(block["total"], total, dtype)
        block.run(f"finish_{vectors}")
        with np.errstate(divide="ignore"):
            close(block["factors"], np.where(total == 0, 0, 1 / total), dtype)
            close(block["lse"], np.where(total == 0, np.inf, base + np.log(total)), dtype)


def test_weigh(family, machine) -> None:
    """Two tiles of keys, which lie among others; one query's maximum so far is far above its scores."""
    target, _, dtype, _ = family
    rng, depth = np.random.default_rng(5), 5
    for vectors, queries, _ in sizes(target, dtype):
        rows = 2 * max_height(target, vectors)
        keys = rng.standard_normal((rows, depth + 3)).astype(NUMPY[dtype])
        panel = rng.standard_normal((depth, queries)).astype(NUMPY[dtype]) / 4
        maximum = np.linspace(0, 3, queries).astype(NUMPY[dtype])
        maximum[1] = 200
        scores, total = np.zeros((rows, queries)), np.ones(queries)
        block = Block(machine, dtype, keys=keys, other=panel, maximum=maximum, total=total, scores=scores)
        block.run(f"weigh_{vectors}", rows=2, key_row=keys.strides[0], depth=depth, step=panel.strides[0])
        weights = np.exp2(keys[:, :depth].astype(np.float64) @ panel) / np.exp(maximum.astype(np.float64))
        close(block["scores"], weights, dtype)
        close(block["total"] / (1 + weights.sum(0)), 1, dtype)


def test_weights_of_the_last_vectors(family, machine) -> None:
    """Rows of scores and of the panel are wider than the kernel: the vectors before stay as they are."""
    target, _, dtype, _ = family
    rng, depth, lanes = np.random.default_rng(6), 3, sizes(target, dtype)[0][1]
    rows = max_height(target, 1)
    keys = rng.standard_normal((rows, depth)).astype(NUMPY[dtype])
    panel = rng.standard_normal((depth, 2 * lanes)).astype(NUMPY[dtype])
    zeros = np.zeros(lanes)
    block = Block(machine, dtype, keys=keys, other=panel, maximum=zeros, total=zeros, scores=np.full((rows, 2 * lanes), 7))
    here = {name: block.at[name] + target.vector_bytes for name in ("scores", "other")}
    block.run("weigh_1", rows=1, key_row=keys.strides[0], depth=depth, step=panel.strides[0], **here)
    weights = np.exp2(keys.astype(np.float64) @ panel[:, lanes:])
    close(block["scores"][:, lanes:] / weights, 1, dtype)
    np.testing.assert_array_equal(block["scores"][:, :lanes], 7)


def test_hide(family, machine) -> None:
    """What is hidden may be no number at all."""
    target, _, dtype, _ = family
    rng, first = np.random.default_rng(7), 5
    for vectors, queries, rows in sizes(target, dtype):
        scores = rng.random((rows, queries)).astype(NUMPY[dtype])
        limits = rng.integers(first, first + rows, queries)
        scores[hidden(rows, first, limits)] = np.nan
        block = Block(machine, dtype, scores=scores, limits=limits, total=np.ones(queries))
        block.run(f"hide_{vectors}", rows=rows, first=first)
        seen = np.nan_to_num(scores)
        np.testing.assert_array_equal(block["scores"], seen)
        close(block["total"], 1 + seen.sum(0, dtype=np.float64), dtype)


def test_scale_rows(family, machine) -> None:
    target, _, dtype, _ = family
    rng, rows = np.random.default_rng(8), 5
    for vectors, columns, _ in sizes(target, dtype):
        scores = rng.standard_normal((rows, columns + 64)).astype(NUMPY[dtype])
        other, factors = np.zeros((rows, columns + 3)), rng.standard_normal(rows).astype(NUMPY[dtype])
        block = Block(machine, dtype, scores=scores, other=other, factors=factors)
        strides = {"step": scores.strides[0], "key_row": block.arrays["other"].strides[0]}
        block.run("scale_rows", rows=rows, depth=vectors, **strides)
        np.testing.assert_array_equal(block["other"][:, :columns], scores[:, :columns] * factors[:, None])
        np.testing.assert_array_equal(block["other"][:, columns:], 0)


def test_gradient(family, machine) -> None:
    target, _, dtype, _ = family
    rng, first, free = np.random.default_rng(1), 5, 2
    for vectors, queries, rows in sizes(target, dtype):
        scores, other = rng.standard_normal((2, rows, queries)).astype(NUMPY[dtype])
        lse, delta = rng.standard_normal((2, queries)).astype(NUMPY[dtype])
        lse[1] = np.inf  # a query that sees nothing
        limits = rng.integers(first + free, first + rows + 1, queries)
        values = {"scores": scores, "other": other, "lse": lse, "delta": delta, "scale": np.array([0.5])}
        block = Block(machine, dtype, limits=limits, **values)
        block.run(f"gradient_{vectors}", rows=rows, free=free, first=first)
        weights = np.where(hidden(rows, first, limits), 0, np.exp(scores.astype(np.float64) - lse))
        close(block["scores"], weights, dtype)
        close(block["other"], weights * 0.5 * (other.astype(np.float64) - delta), dtype)


def test_scale_and_products(family, machine) -> None:
    target, _, dtype, _ = family
    rng = np.random.default_rng(2)
    for vectors, queries, rows in sizes(target, dtype):
        scores, other = rng.standard_normal((2, rows, queries)).astype(NUMPY[dtype])
        factors = rng.standard_normal(queries).astype(NUMPY[dtype])
        block = Block(machine, dtype, scores=scores, other=other, factors=factors, delta=np.zeros(queries))
        block.run(f"products_{vectors}", rows=rows)
        close(block["delta"], (scores.astype(np.float64) * other).sum(0), dtype)
        block.run(f"scale_{vectors}", rows=rows)
        np.testing.assert_array_equal(block["scores"], scores * factors)


@pytest.mark.parametrize("kind", attention.MASKS)
def test_masks(family, machine, kind: str) -> None:
    """The last group of keys is not whole: nothing is read behind it."""
    target, _, dtype, _ = family
    element = NUMPY[dtype]
    lanes = target.vector_bytes // np.dtype(element).itemsize
    rng, vectors, keys = np.random.default_rng(3), 2, lanes + 1
    mask = rng.standard_normal((vectors * lanes, keys)).astype(element)
    if kind == "bool":
        mask = mask > 0
    masks = machine.place(np.array([(1 << lanes) - 1, 1], np.uint16))
    rows = b"".join(struct.pack("<qQ", j * mask.strides[0], masks) for j in range(vectors * lanes))
    scores = rng.standard_normal((2 * lanes, vectors * lanes)).astype(element)
    block = Block(machine, dtype, scores=scores)
    table = machine.place(np.frombuffer(rows, np.uint8))
    machine.call(f"mask_{kind}", 2, machine.place(mask), table, block.at["scores"], vectors, scores.strides[0])
    added = np.where(mask, 0, -np.inf).astype(element) if kind == "bool" else mask
    np.testing.assert_array_equal(block["scores"][:keys], scores[:keys] + added.T)


@pytest.mark.parametrize("length", [0, 1, 7, 16, 37])
def test_conversions(family, machine, length: int) -> None:
    _, _, dtype, _ = family
    if dtype != "f32":
        return  # the 16-bit types are computed in float32
    wide = np.random.default_rng(4).standard_normal(length + 1).astype(np.float32)
    wide[0] = np.nan
    for kind in attention.NARROW:
        out = np.full(length + 1, 7, np.uint16)
        at = machine.place(out)
        machine.call(f"write_{kind}", length, machine.place(wide), at)
        narrow = machine.fetch(at, out)
        assert narrow[length] == 7  # nothing behind the last one
        back = np.full(length + 1, 7, np.float32)
        to = machine.place(back)
        machine.call(f"read_{kind}", length, machine.place(narrow), to)
        got = machine.fetch(to, back)
        assert got[length] == 7
        np.testing.assert_allclose(got[:length], wide[:length], rtol=2.0 ** (-11 if kind == "f16" else -8), atol=1e-7)


@pytest.mark.parametrize("level", ["x86-64-v3", "x86-64-v4", "aarch64"])
def test_vectors_are_as_wide_as_the_machine(level: str) -> None:
    """The widest registers hold the exponentials of three vectors at a time; with AVX-512 nothing goes to the stack."""
    text = compile_assembly(attention.module(LEVELS[level], "f32"))
    register = {"x86-64-v3": "%ymm", "x86-64-v4": "%zmm", "aarch64": "v0.4s"}[level]
    for name in (f"{k}_{n}" for k in attention.KERNELS for n in range(1, MAX_VECTORS + 1)):
        body = text.split(f"\n{name}:")[1].split("\n.Lfunc_end")[0]
        assert register in body, name
        if level == "x86-64-v4":
            assert not kernels.spills(body.splitlines(), register), name
