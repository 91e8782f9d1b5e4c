"""nn.attention.flex_attention: values, gradients, masks by blocks, what is printed and what is refused."""

import math

import pytest

import flambeau as torch
from flambeau.nn.attention.flex_attention import (
    AuxRequest,
    BlockMask,
    and_masks,
    create_block_mask,
    create_mask,
    flex_attention,
    noop_mask,
    or_masks,
)  # fmt: skip

B, H, SHARED, L, S, E = 2, 4, 2, 7, 9, 8


def causal(b, h, q_idx, kv_idx):
    return q_idx >= kv_idx


def drawn(*sizes: int, requires_grad: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(*sizes, dtype=torch.float64, generator=generator).requires_grad_(requires_grad)


def attention(q, k, v, bias=0.0, shown=None, scale=None):
    """Softmax attention written out; rows without keys give 0."""
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    if shown is None:
        return torch.softmax(scores, -1) @ v, scores.logsumexp(-1)
    weights = torch.where(shown, (scores - scores.detach().amax()).exp(), 0.0)
    total = weights.sum(-1, keepdim=True)
    lse = torch.where(shown, scores, -math.inf).logsumexp(-1)
    return torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), 0.0) @ v, lse


def test_changed_scores_and_hidden_keys() -> None:
    q, k, v = drawn(B, H, L, E), drawn(B, SHARED, S, E), drawn(B, SHARED, S, E + 1)
    bias, slopes = drawn(H, L, S), drawn(H, requires_grad=False)
    documents, keys = torch.arange(B * L).reshape(B, L) % 3, torch.arange(B * S).reshape(B, S) % 4
    distance = (torch.arange(L)[:, None] - torch.arange(S)).abs()
    mask = create_block_mask(lambda b, h, i, j: documents[b][i] == keys[b, j], B, None, L, S, BLOCK_SIZE=(4, 2))

    def score_mod(score, b, h, q_idx, kv_idx):
        return score + bias[h, q_idx, kv_idx] - slopes[h] * (q_idx - kv_idx).abs()

    out, aux = flex_attention(
        q, k, v, score_mod=score_mod, block_mask=mask, enable_gqa=True, return_aux=AuxRequest(lse=True, max_scores=True)
    )
    shown = documents[:, None, :, None] == keys[:, None, None, :]
    want, lse = attention(q, k, v, bias - slopes[:, None, None] * distance, shown)
    assert torch.allclose(out, want, atol=1e-12) and torch.allclose(aux.lse, lse, atol=1e-12)
    assert bool((aux.max_scores <= aux.lse).all())
    g = drawn(*out.shape, requires_grad=False)
    for a, b in zip(*(torch.autograd.grad(o, (q, k, v, bias), g) for o in (out, want)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_rows_without_keys() -> None:
    q, k, v = drawn(1, 2, 4, E), drawn(1, 2, 5, E), drawn(1, 2, 5, E)
    mask = create_block_mask(lambda b, h, i, j: (j > 2) & (i > 1), None, None, 4, 5)
    with pytest.warns(FutureWarning, match="return_lse is deprecated"):
        out, lse = flex_attention(q, k, v, block_mask=mask, return_lse=True)
    assert not out[:, :, :2].any() and bool(out[:, :, 2:].all())
    assert bool((lse[..., :2] == -math.inf).all()) and bool(lse[..., 2:].isfinite().all())
    out.sum().backward()
    assert not q.grad[:, :, :2].any() and not k.grad.isnan().any() and not v.grad[:, :, :3].any()


def test_derivatives() -> None:
    q, k, v, bias = drawn(1, 2, 3, 4), drawn(1, 1, 3, 4), drawn(1, 1, 3, 4), drawn(3, 3)
    mask = create_block_mask(causal, None, None, 3, 3)

    def run(q, k, v, bias):
        def capped(score, b, h, i, j):
            return torch.tanh(score / 2) * 2 + bias[i, j]

        return flex_attention(q, k, v, score_mod=capped, block_mask=mask, enable_gqa=True, scale=0.7)

    assert torch.autograd.gradcheck(run, (q, k, v, bias))
    assert torch.autograd.gradgradcheck(run, (q, k, v, bias))


def test_as_scaled_dot_product_attention() -> None:
    q, k, v = (drawn(2, 3, 40, 16, requires_grad=False).float() + i for i in range(3))
    mask = create_block_mask(causal, None, None, 40, 40, BLOCK_SIZE=16)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(flex_attention(q, k, v, block_mask=mask), want, atol=1e-5)
    low = flex_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), block_mask=mask)
    assert low.dtype is torch.bfloat16 and torch.allclose(low.float(), want, rtol=0.02, atol=0.02)
    assert torch.allclose(flex_attention(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v), atol=1e-5)
    assert torch.equal(
        torch.compile(flex_attention)(q, k, v, block_mask=mask), flex_attention(q, k, v, block_mask=mask)
    )


def test_blocks_of_a_mask() -> None:
    mask = create_block_mask(causal, 1, 1, 300, 300)
    assert mask.kv_num_blocks.tolist() == [[[1, 1, 3]]] and mask.full_kv_num_blocks.tolist() == [[[0, 1, 0]]]
    assert mask.kv_indices.tolist() == [[[[0, 1, 2], [1, 0, 2], [0, 1, 2]]]]
    assert mask.q_indices.tolist() == [[[[0, 2, 1], [1, 2, 0], [2, 0, 1]]]] and mask.q_num_blocks.tolist() == [
        [[2, 2, 1]]
    ]
    assert mask.kv_indices.dtype is mask.kv_num_blocks.dtype is torch.int32
    assert mask.to_dense().tolist() == [[[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]]
    assert (mask.shape, mask.numel()) == ((1, 1, 300, 300), 90000)
    assert str(mask) == "BlockMask(shape=(1, 1, 300, 300), sparsity=-9.23%, \n(0, 0)\n██    \n████  \n██████\n)"
    assert repr(mask).splitlines()[1] == "    kv_num_blocks=torch.Size([1, 1, 3]),"
    assert repr(mask).endswith("    sparsity=-9.23%,\n    mask_mod=causal\n)")
    joined = create_block_mask(causal, None, None, 8, 8, BLOCK_SIZE=4, separate_full_blocks=False)
    assert joined.full_kv_indices is None and joined.kv_num_blocks.tolist() == [[[1, 2]]]
    assert len(mask.as_tuple()) == 13 and mask.as_tuple(flatten=False)[0] == (300, 300)
    assert mask.to("cpu").mask_mod is causal
    assert create_block_mask(causal, 3, 2, 8, 8, BLOCK_SIZE=4).to_string(limit=1).count("(0, 0)") == 1


def test_parts_of_a_mask() -> None:
    mask = create_block_mask(lambda b, h, i, j: i >= j + b, 2, 3, 16, 16, BLOCK_SIZE=4)
    assert mask[0].kv_indices.shape == (1, 3, 4, 4) and mask[-1, 1].shape == (1, 1, 16, 16)
    assert torch.equal(mask[1].to_dense(), mask.to_dense()[1:])
    cropped = mask._adjust(8, 12)
    assert cropped.shape == (2, 3, 8, 12) and torch.equal(cropped.to_dense(), mask.to_dense()[:, :, :2, :3])
    q = torch.ones(1, 3, 16, 4)
    with pytest.raises(RuntimeError, match="Cannot use mask_mod from a sliced BlockMask"):
        flex_attention(q, q, q, block_mask=mask[0])


def test_blocks_given() -> None:
    counts, columns = torch.tensor([[[1, 1]]], dtype=torch.int32), torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.int32)
    mask = BlockMask.from_kv_blocks(counts, columns, BLOCK_SIZE=4)
    assert mask.mask_mod is noop_mask and mask.seq_lengths == (8, 8) and mask.sparsity() == 50
    q, k, v = (drawn(1, 2, 8, E, requires_grad=False) + i for i in range(3))
    blocks = torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)).bool()
    assert torch.allclose(flex_attention(q, k, v, block_mask=mask), attention(q, k, v, shown=blocks)[0])
    full = BlockMask.from_kv_blocks(0 * counts, columns, counts, columns, BLOCK_SIZE=4, mask_mod=causal)
    assert torch.allclose(flex_attention(q, k, v, block_mask=full), attention(q, k, v, shown=blocks)[0])
    with pytest.raises(AssertionError, match="must be both provided or omitted"):
        BlockMask.from_kv_blocks(counts, columns, counts)
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        BlockMask.from_kv_blocks(counts[0, 0], columns[0, 0, 0])


def test_functions_of_positions() -> None:
    near = and_masks(causal, lambda b, h, i, j: i - j < 2)
    assert create_mask(near, None, None, 3, 3)[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
    ]
    either = or_masks(lambda b, h, i, j: i == j, lambda b, h, i, j: j == h)
    assert create_mask(either, 1, 2, 2, 2).tolist() == [[[[True, False], [True, True]], [[True, True], [False, True]]]]
    scored = create_mask(lambda s, b, h, i, j: torch.where(i >= j, s, -math.inf), 1, 1, 2, 2)
    assert scored.tolist() == [[[[True, False], [True, True]]]]
    for join in (and_masks, or_masks):
        with pytest.raises(RuntimeError, match="All inputs should be callable mask_mods"):
            join(3)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda q, k, v: (q, k[:, :1], v[:, :1], {}), ValueError, "got Hq=4 and Hkv=1. Try setting enable_gqa=True"),
        (lambda q, k, v: (q, k[:, :3], v[:, :3], {"enable_gqa": True}), ValueError, "multiple of kv heads for GQA but got Hq=4"),
        (lambda q, k, v: (q[0], k[0], v[0], {}), NotImplementedError, "query, key, and value must be 4D tensors"),
        (lambda q, k, v: (q, k[..., :4], v, {}), ValueError, "same embedding dimension but got E=8 and E=4"),
        (lambda q, k, v: (q, k.float(), v, {}), ValueError, "to have the same dtype"),
        (lambda q, k, v: (q, k[:1], v[:1], {}), ValueError, "block_mask=None, Bq=2, and Bkv=1"),
        (lambda q, k, v: (q, k, v, {"block_mask": create_block_mask(causal, 1, 1, 4, 9)}), ValueError, "for a smaller length"),
        (lambda q, k, v: (q, k, v, {"block_mask": create_block_mask(causal, 1, 1, 9, 9)}), ValueError, "'adjust' the existing"),
        (lambda q, k, v: (q, k, v, {"return_lse": True, "return_aux": AuxRequest()}), ValueError, "Cannot specify both"),
    ],
)  # fmt: skip
def test_refusals(change, error, sentence: str) -> None:
    q, k, v, options = change(drawn(B, H, L, E), drawn(B, H, S, E), drawn(B, H, S, E))
    with pytest.raises(error, match=sentence):
        flex_attention(q, k, v, **options)


def test_refused_masks() -> None:
    with pytest.raises(TypeError, match="3 is not a callable object"):
        create_block_mask(3, 1, 1, 4, 4)
    with pytest.raises(AssertionError, match="Expected 4 or 5 positional args, got 2"):
        create_block_mask(lambda b, h: b, 1, 1, 4, 4)
    with pytest.raises(AssertionError, match="requires a mask_mod function"):
        create_block_mask(lambda s, b, h, i, j: s, 1, 1, 4, 4)
    # One mask for a batch of queries beside one sequence of keys.
    q, k = drawn(B, H, L, E, requires_grad=False), drawn(1, H, S, E, requires_grad=False)
    out = flex_attention(q, k, k, block_mask=create_block_mask(causal, B, None, L, S))
    assert torch.allclose(out, attention(q, k, k, shown=torch.ones(L, S).tril().bool())[0])
