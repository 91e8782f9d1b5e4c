"""Attention against NumPy in float64: values, gradients, masks, layouts, sizes, special values, errors, threads."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.codegen.target import host_level
from flambeau.nn import functional as F

RANDOM = np.random.default_rng(3)
DTYPES = {"float64": np.float64, "float32": np.float32}
TOLERANCE = {"float64": 1e-12, "float32": 3e-5, "float16": 4e-3, "bfloat16": 3e-2}


def assert_close(a, b):
    """Equal but for rounding."""
    tolerance = 1e-12 if a.dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def arrays(*shapes):
    return [RANDOM.standard_normal(s) for s in shapes]


def bias(mask, causal, queries, keys):
    """What is added to the scores, in float64."""
    total = np.zeros((queries, keys))
    if causal:
        total = np.where(np.tril(np.ones((queries, keys), bool)), total, -np.inf)
    if mask is not None:
        total = total + (np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask)
    return total


def reference(q, k, v, mask=None, causal=False, scale=None, g=None):
    """Output, and gradients for the output's gradient g, of float64 arrays with four dimensions."""
    group = q.shape[1] // k.shape[1]
    kk, vv = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = q @ kk.swapaxes(-1, -2) * scale + bias(mask, causal, q.shape[-2], k.shape[-2])
    top = scores.max(-1, keepdims=True)
    p = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = p.sum(-1, keepdims=True)
    p = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    out = p @ vv
    if g is None:
        return out
    dp = g @ vv.swapaxes(-1, -2)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * scale

    def gathered(x):
        return x.reshape(x.shape[0], k.shape[1], group, *x.shape[2:]).sum(2)

    return out, ds @ kk, gathered(ds.swapaxes(-1, -2) @ q), gathered(p.swapaxes(-1, -2) @ g)


def tensor(array, dtype="float64", layout="heads first"):
    """A leaf whose dimensions (batch, heads, rows, columns) lie in memory in one of several orders."""
    x = torch.from_numpy(array).to(getattr(torch, dtype))
    if layout == "rows first":  # (batch, rows, heads, columns), as projections give it
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    elif layout == "packed":  # a slice of something wider
        x = torch.cat([x, x, x], -1).transpose(1, 2).contiguous().transpose(1, 2)[..., x.size(-1) : 2 * x.size(-1)]
    elif layout == "columns apart":
        x = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    return x.detach().requires_grad_()


def masks(kind, batch, queries, keys):
    if kind == "bool":
        return RANDOM.random((queries, keys)) > 0.3
    if kind == "padding":
        return RANDOM.random((batch, 1, 1, keys)) > 0.3
    if kind == "float":
        return RANDOM.standard_normal((batch, 1, queries, keys))
    return None


def check(sizes, dtype="float64", mask=None, causal=False, layout="heads first", scale=None):
    batch, heads, key_heads, queries, keys, depth, value_depth = sizes
    shapes = [(batch, heads, queries, depth), (batch, key_heads, keys, depth), (batch, key_heads, keys, value_depth)]
    exact = [np.asarray(a, DTYPES.get(dtype, np.float32)) for a in arrays(*shapes, (*shapes[0][:3], value_depth))]
    q, k, v, g = (tensor(a, dtype, layout) for a in exact)
    m = masks(mask, batch, queries, keys)
    want = reference(*(t.detach().double().numpy() for t in (q, k, v)), m, causal, scale, g.detach().double().numpy())
    given = None if m is None else torch.from_numpy(m)
    if m is not None and m.dtype != bool:
        given = given.to(torch.float32 if dtype != "float64" else torch.float64)
    out = F.scaled_dot_product_attention(q, k, v, given, is_causal=causal, scale=scale, enable_gqa=heads != key_heads)
    got = [out, *torch.autograd.grad(out, (q, k, v), g.detach())]
    for name, ours, theirs in zip(("out", "dq", "dk", "dv"), got, want, strict=True):
        assert ours.dtype == q.dtype
        tolerance = TOLERANCE[dtype] * max(1.0, np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(ours.detach().double().numpy(), theirs, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float", "padding"])
def test_values_and_gradients(mask, causal):
    for dtype in DTYPES:
        check((2, 3, 3, 70, 70, 64, 64), dtype, mask, causal, "rows first")
        check((1, 2, 2, 40, 300, 33, 33), dtype, mask, causal)  # several blocks of keys
        check((1, 1, 1, 131, 20, 5, 7), dtype, mask, causal and mask is None)  # more queries than keys
        check((2, 6, 2, 7, 50, 16, 16), dtype, mask, causal)  # heads that share keys, in one block
        check((1, 4, 2, 60, 50, 24, 24), dtype, mask, causal)
        check((1, 1, 1, 400, 390, 8, 8), dtype, mask, causal)  # a head in parts
        check((1, 1, 1, 800, 900, 8, 8), dtype, mask, causal)  # several deep blocks of keys


@pytest.mark.parametrize("depth", [1, 2, 31, 32, 48, 80, 100, 128, 257])
def test_head_sizes(depth):
    check((1, 2, 2, 19, 37, depth, depth), "float32", causal=True, layout="rows first")
    check((1, 2, 1, 19, 37, depth, 3), "float64")


@pytest.mark.parametrize("layout", ["rows first", "packed", "columns apart"])
def test_layouts(layout):
    for dtype in ("float32", "bfloat16"):
        check((2, 2, 2, 33, 50, 16, 16), dtype, "bool", True, layout)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sizes", [(2, 3, 8), (20, 8), (2, 1, 2, 9, 16)])
def test_gradients_of_other_than_four_dimensions_do_not_come_from_the_rounded_output(dtype, sizes):
    """Weights near one: what a gradient is the difference of, rounding the output would leave nothing of."""
    for seed in range(5):
        arrays = np.random.default_rng(seed).standard_normal((4, *sizes)) * 3
        narrow = [torch.tensor(x).to(getattr(torch, dtype)) for x in arrays]
        results = []
        for operands in (narrow, [x.double() for x in narrow]):
            q, k, v = (x.clone().requires_grad_() for x in operands[:3])
            out = F.scaled_dot_product_attention(q, k, v)
            assert out.dtype == q.dtype and out.shape == q.shape
            results.append(torch.autograd.grad(out, (q, k, v), operands[3]))
        for ours, exact in zip(*results, strict=True):
            assert (ours.double() - exact).abs().max() <= torch.finfo(ours.dtype).eps * exact.abs().max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(dtype):
    check((1, 4, 2, 60, 150, 32, 32), dtype, causal=True)
    check((1, 2, 2, 60, 40, 20, 20), dtype, "float")


def test_one_of_everything():
    check((1, 1, 1, 1, 1, 1, 1))
    check((1, 1, 1, 1, 300, 8, 8), "float32")
    check((1, 8, 1, 1, 300, 8, 8), "float32", "padding")
    check((3, 1, 1, 50, 1, 4, 4), causal=True)


def test_few_queries():
    """As when a text is continued: lanes are keys."""
    for mask in (None, "bool", "float", "padding"):
        for dtype in ("float32", "float64", "bfloat16"):
            check((2, 4, 2, 1, 300, 20, 33), dtype, mask, layout="packed")
            check((1, 2, 1, 2, 50, 64, 64), dtype, mask, causal=True)
    check((1, 1, 1, 4, 3, 2, 2), causal=True)
    mask = torch.zeros(1, 7, dtype=torch.bool)
    q, k, v = (torch.from_numpy(a) for a in arrays((1, 1, 4), (1, 7, 4), (1, 7, 4)))
    assert torch.equal(F.scaled_dot_product_attention(q, k, v, mask), torch.zeros(1, 1, 4, dtype=torch.float64))
    k[0, 3, 0] = math.nan
    assert F.scaled_dot_product_attention(q, k, v).isnan().all()
    assert F.scaled_dot_product_attention(q, k, v, torch.arange(7) < 3).isfinite().all()


def test_scale():
    for scale in (0.0, -0.7, 2.5):
        check((1, 2, 2, 9, 20, 8, 8), scale=scale)


def test_dimensions():
    q, k, v = arrays((2, 3, 5, 7, 4), (2, 3, 5, 9, 4), (2, 3, 5, 9, 6))
    mask = torch.from_numpy(RANDOM.random((7, 9)) > 0.3)
    whole = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), mask)
    assert whole.shape == (2, 3, 5, 7, 6)
    part = F.scaled_dot_product_attention(*(torch.from_numpy(x[1, 2, 3]) for x in (q, k, v)), mask)
    assert torch.equal(part, whole[1, 2, 3])
    part = F.scaled_dot_product_attention(*(torch.from_numpy(x[1, 2]) for x in (q, k, v)), mask)
    assert torch.equal(part, whole[1, 2])
    # Operands that broadcast take the composition.
    wide = F.scaled_dot_product_attention(torch.from_numpy(q), torch.from_numpy(k[:1]), torch.from_numpy(v[0]), mask)
    assert_close(wide[0], whole[0])


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)])
def test_without_elements(shape):
    x = torch.zeros(*shape, requires_grad=True)
    out = F.scaled_dot_product_attention(x, x, x)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape


def test_without_keys():
    out = F.scaled_dot_product_attention(torch.ones(2, 3, 4), torch.ones(2, 0, 4), torch.ones(2, 0, 4))
    assert torch.equal(out, torch.zeros(2, 3, 4))


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_query_that_sees_nothing(kind):
    """It gives zeros, and no gradient: in the kernels and in the composition (which the mask's gradient asks for)."""
    q, k, v = (torch.from_numpy(a).requires_grad_() for a in arrays((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)))
    seen = torch.ones(3, 5, dtype=torch.bool)
    seen[1] = False
    mask = seen if kind == "bool" else torch.where(seen, 0.0, -math.inf).double()
    out = F.scaled_dot_product_attention(q, k, v, mask)
    assert torch.equal(out[:, :, 1], torch.zeros(1, 2, 4, dtype=torch.float64))
    grads = torch.autograd.grad(out.sum(), (q, k, v))
    assert torch.equal(grads[0][:, :, 1], torch.zeros(1, 2, 4, dtype=torch.float64))
    assert all(g.isfinite().all() for g in grads)
    if kind == "float":
        other = F.scaled_dot_product_attention(q, k, v, mask.requires_grad_())
        assert_close(other, out)
        for a, b in zip(torch.autograd.grad(other.sum(), (q, k, v)), grads, strict=True):
            assert_close(a, b)


def test_special_values():
    q, k, v = (torch.from_numpy(a) for a in arrays((1, 1, 2, 4), (1, 1, 3, 4), (1, 1, 3, 4)))
    k[0, 0, 2, 0] = math.nan
    assert F.scaled_dot_product_attention(q, k, v).isnan().all()
    assert F.scaled_dot_product_attention(q, k, v, is_causal=True).isfinite().all()  # nobody looks at key 2
    k[0, 0, 2, 0] = math.inf
    q[..., 0] = torch.tensor([-1.0, 1.0])
    out = F.scaled_dot_product_attention(q, k, v)
    assert out[0, 0, 0].isfinite().all() and out[0, 0, 1].isnan().all()
    big = torch.full((1, 1, 2, 4), 1e4)  # scores far outside of what exp can hold
    values = torch.arange(8.0).view(1, 1, 2, 4)
    assert torch.equal(
        F.scaled_dot_product_attention(big, big, values), values.mean(2, keepdim=True).expand(1, 1, 2, 4)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [3.0, 40.0, 300.0, 2e6])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [5, 32])
def test_scores_far_above_and_below_those_so_far(dtype, step, causal, width):
    """Queries of either sign see scores that rise or fall by `step` with every seventh key: small numbers are exact."""
    queries, keys = 800, 900
    slopes = np.where(np.arange(queries) % 2, 1.0, -1.0)[None, None, :, None]
    places = (np.arange(keys) // 7)[None, None, :, None] * step
    values = RANDOM.standard_normal((1, 1, keys, width))
    operands = [x.astype(dtype).astype(np.float64) for x in (slopes, places, values)]
    ours = F.scaled_dot_product_attention(*(tensor(x, dtype) for x in operands), is_causal=causal, scale=1.0)
    theirs = reference(*operands, causal=causal, scale=1.0)
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs, rtol=0, atol=TOLERANCE[dtype])


def test_the_lowest_number_in_a_mask_is_finite():
    """A query all of whose keys have it looks at all of them alike."""
    q, k, v = (torch.from_numpy(a).float() for a in arrays((1, 1, 8, 4), (1, 1, 20, 4), (1, 1, 20, 4)))
    mask = torch.full((8, 20), torch.finfo(torch.float32).min)
    out = F.scaled_dot_product_attention(q, k, v, mask)
    assert_close(out, v.mean(2, keepdim=True).expand(1, 1, 8, 4))
    few = F.scaled_dot_product_attention(q[:, :, :1], k, v, mask[:1])
    assert_close(few, out[:, :, :1])


def test_first_and_second_gradients():
    shapes = (1, 4, 3, 2), (1, 2, 5, 2), (1, 2, 5, 3)
    mask = torch.from_numpy(RANDOM.random((3, 5)) > 0.3)
    bias = torch.from_numpy(RANDOM.standard_normal((1, 1, 3, 5)))
    for options in ({}, {"attn_mask": mask}, {"is_causal": True, "scale": 0.3}, {"attn_mask": bias}):

        def attend(q, k, v, options=options):
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **options)

        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays(*shapes)]
        assert gradcheck(attend, leaves)
        assert gradgradcheck(attend, leaves)


def test_gradient_of_a_mask():
    q, k, v, bias = (torch.from_numpy(a).requires_grad_() for a in arrays((2, 3, 4), (2, 5, 4), (2, 5, 4), (3, 5)))
    assert gradcheck(lambda q, k, v, bias: F.scaled_dot_product_attention(q, k, v, bias), (q, k, v, bias))


def test_only_what_is_wanted():
    q, k, v = (torch.from_numpy(a) for a in arrays((1, 2, 6, 4), (1, 2, 6, 4), (1, 2, 6, 4)))
    k.requires_grad_()
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    out.sum().backward()
    assert q.grad is None and v.grad is None and k.grad.shape == k.shape
    with torch.no_grad():
        assert not F.scaled_dot_product_attention(q, k, v).requires_grad


@pytest.mark.parametrize("sizes", [(1, 1, 1, 700, 700, 32, 32), (2, 4, 2, 150, 400, 20, 20)])
def test_any_number_of_threads_gives_the_same_bits(sizes):
    batch, heads, key_heads, queries, keys, depth, value_depth = sizes
    shapes = (batch, heads, queries, depth), (batch, key_heads, keys, depth), (batch, key_heads, keys, value_depth)
    q, k, v = (torch.from_numpy(a.astype(np.float32)).requires_grad_() for a in arrays(*shapes))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            results.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v))])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_layout_of_the_result():
    x = torch.zeros(2, 5, 3, 4).transpose(1, 2)
    assert F.scaled_dot_product_attention(x, x, x).stride() == x.stride()
    assert F.scaled_dot_product_attention(x.contiguous(), x, x).is_contiguous()
    meta = x.to("meta")
    out = F.scaled_dot_product_attention(meta, meta, meta, is_causal=True)
    assert out.device.type == "meta" and out.shape == x.shape and out.stride() == x.stride()


def test_dropout():
    q = torch.ones(1, 2, 3, 4)
    torch.manual_seed(0)
    out = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    torch.manual_seed(0)
    kept = F.dropout(torch.full((1, 2, 3, 3), 1 / 3), 0.5)
    assert_close(out, kept @ q)
    assert torch.equal(F.scaled_dot_product_attention(q, q, q, dropout_p=1.0), torch.zeros_like(q))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda q, k: F.scaled_dot_product_attention(q[0, 0, 0], k, k), "at least 2 dimensional, but got query.dim: 1"),
        (lambda q, k: F.scaled_dot_product_attention(q, k.double(), k), "to have the same dtype.*key.dtype: double"),
        (lambda q, k: F.scaled_dot_product_attention(q, k.to("meta"), k), "to have the same device type"),
        (lambda q, k: F.scaled_dot_product_attention(q.long(), k.long(), k.long()), "must be floating point"),
        (
            lambda q, k: F.scaled_dot_product_attention(q, k, k, torch.ones(3, 5).long()),
            "Expected attn_mask dtype to be bool or float or to match query dtype.*long int",
        ),
        (
            lambda q, k: F.scaled_dot_product_attention(q, k, k, torch.ones(3, 4)),
            r"The size of tensor a \(5\) must match the size of tensor b \(4\) at non-singleton dimension 3",
        ),
        (
            lambda q, k: F.scaled_dot_product_attention(q[0], k[0], k[0], torch.ones(3, 5), is_causal=True),
            "Explicit attn_mask should not be set when is_causal=True",
        ),
        (lambda q, k: F.scaled_dot_product_attention(q, k, k, dropout_p=1.5), "has to be between 0 and 1, but got 1.5"),
        (
            lambda q, k: F.scaled_dot_product_attention(q, k[:, :1].expand(2, 3, 5, 4), k, enable_gqa=True),
            "Number of heads in key and value must divide the number of heads in",
        ),
        (lambda q, k: F.scaled_dot_product_attention(q, k[..., :3], k), "Expected size for first two dimensions"),
        (lambda q, k: F.scaled_dot_product_attention(q, k, k[:, :, :4]), "Expected size for first two dimensions"),
    ],
)
def test_errors(call, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        call(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 5, 4))


def test_heads_of_modules():
    """MultiheadAttention gives the same with and without its weights, whatever the masks."""
    torch.manual_seed(1)
    module = nn.MultiheadAttention(12, 3, batch_first=True).double()
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    later = torch.ones(7, 7, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    for options in ({}, {"attn_mask": later}, {"key_padding_mask": padding},
                    {"attn_mask": later, "key_padding_mask": padding}):  # fmt: skip
        with_weights = module(x, x, x, need_weights=True, **options)[0]
        without = module(x, x, x, need_weights=False, **options)[0]
        assert_close(with_weights, without)


def test_loops_serve_where_no_kernels_can_be_had():
    program = """
import flambeau.codegen.attention as kernels
kernels.provide = lambda dtype: None
import test_attention as t
for dtype in ("float32", "float64", "bfloat16"):
    t.check((2, 4, 2, 9, 20, 8, 5), dtype, "bool", True, "packed")
    t.check((1, 2, 2, 9, 5, 8, 8), dtype, "float", layout="columns apart")
t.test_a_query_that_sees_nothing("bool")
t.test_special_values()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("environment", [{"FLAMBEAU_GUARD": "end"}, {"FLAMBEAU_GUARD": "start"},
                                         {"FLAMBEAU_TARGET": "x86-64-v3", "FLAMBEAU_GUARD": "1"}])  # fmt: skip
def test_nothing_outside_the_operands_is_touched(environment):
    """Guard mode puts every block against a protected page; the AVX2 description has no masked loads."""
    if "FLAMBEAU_TARGET" in environment and host_level() != "x86-64-v4":
        pytest.skip("the description of a lesser machine than this one")
    program = """
import test_attention as t
for mask in (None, "bool", "float", "padding"):
    t.check((1, 2, 2, 50, 140, 33, 20), "float32", mask, True, "packed")
    t.check((2, 4, 2, 1, 35, 16, 16), "float32", mask)
    t.check((1, 2, 1, 21, 19, 9, 9), "bfloat16", mask, layout="rows first")
t.check((1, 1, 1, 40, 64, 64, 64), "float64", "bool", layout="rows first")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent,
                          env={**os.environ, **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
