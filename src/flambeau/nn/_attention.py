"""Attention of several heads, projections included. `nn.functional` gives it out."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor


def _canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: Any,
    other_name: str,
    target_type: Any,
    check_other: bool = True,
) -> Tensor | None:
    """A mask to add to scores; of a boolean one, True becomes minus infinity."""
    if mask is None:
        return None
    if mask.dtype != o.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if mask.dtype == o.bool:
        return o.zeros_like(mask, dtype=target_type).masked_fill_(mask, -math.inf)
    return mask


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None, heads: int
) -> bool:
    """Raises where the inputs do not fit each other. Returns whether there is a batch dimension."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    words = "batched" if batched else "unbatched"
    if key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError(
            f"For {words} (3-D) `query`, expected `key` and `value` to be 3-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
            if batched
            else "For unbatched (2-D) `query`, expected `key` and `value` to be 2-D but found "
            f"{key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    wanted = 2 if batched else 1
    if key_padding_mask is not None and key_padding_mask.dim() != wanted:
        raise AssertionError(
            f"For {words} ({query.dim()}-D) `query`, expected `key_padding_mask` to be `None` or {wanted}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {words} ({query.dim()}-D) `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{attn_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() == 3 and not batched:
        shape = (heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != shape:
            raise AssertionError(f"Expected `attn_mask` shape to be {shape} but got {attn_mask.shape}")
    return batched


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three projections whose weights stand in one tensor; as few products as there are different inputs."""
    size = query.size(-1)
    if key is value:
        if query is key:
            q, k, v = o.linear(query, weight, bias).chunk(3, -1)
            return q, k, v
        w_q, w_kv = weight.split([size, 2 * size])
        b_q, b_kv = (None, None) if bias is None else bias.split([size, 2 * size])
        k, v = o.linear(key, w_kv, b_kv).chunk(2, -1)
        return o.linear(query, w_q, b_q), k, v
    weights = weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (o.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    return q, k, v


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes; see there.

    Shape:
        (L, N, E), (S, N, Ek), (S, N, Ev) -> (L, N, E), and weights (N, L, S) or (N, heads, L, S)
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = (key is query, value is key)
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    targets, n, width = query.shape
    sources = key.shape[0]
    head = width // num_heads
    key_padding_mask = _canonical_mask(key_padding_mask, "key_padding_mask", None, "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # the hint says all that the mask says
    else:
        attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        is_causal = False if key_padding_mask is not None else is_causal
    _check_projection(width, embed_dim_to_check, head, num_heads, key, value, use_separate_proj_weight)
    if use_separate_proj_weight:
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        for name, weight in zip("qkv", weights, strict=True):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        q, k, v = (o.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    else:
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    attn_mask = _checked_mask(attn_mask, targets, sources, n * num_heads)
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k, v = (o.cat([x, bias.repeat(1, n, 1)]) for x, bias in ((k, bias_k), (v, bias_v)))
        attn_mask, key_padding_mask = _with_column(attn_mask), _with_column(key_padding_mask)
    q = q.reshape(targets, n * num_heads, head).transpose(0, 1)
    k = k.reshape(k.shape[0], n * num_heads, head).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(v.shape[0], n * num_heads, head).transpose(0, 1) if static_v is None else static_v
    if add_zero_attn:
        zeros = o.zeros((n * num_heads, 1, head), dtype=k.dtype, device=k.device)
        k, v = o.cat([k, zeros], 1), o.cat([v, zeros], 1)
        attn_mask, key_padding_mask = _with_column(attn_mask), _with_column(key_padding_mask)
    attn_mask = _merged(attn_mask, key_padding_mask, n, num_heads, k.size(1))
    dropout_p = dropout_p if training else 0.0
    q, k, v = (x.reshape(n, num_heads, -1, head) for x in (q, k, v))
    weights = None
    if need_weights:
        scores = o.matmul(q * math.sqrt(1.0 / head), k.transpose(-2, -1))
        weights = o.softmax(scores if attn_mask is None else scores + attn_mask, -1)
        weights = o.dropout(weights, dropout_p, True) if dropout_p > 0.0 else weights
        out = o.matmul(weights, v)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        out = o.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    out = out.permute(2, 0, 1, 3).reshape(targets * n, width)
    out = o.linear(out, out_proj_weight, out_proj_bias).view(targets, n, -1)
    if batched:
        return out, weights
    return out.squeeze(1), None if weights is None else weights.squeeze(0)


def _check_projection(
    width: int, expected: int, head: int, heads: int, key: Tensor, value: Tensor, separate: bool
) -> None:
    if width != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {width}")
    if head * heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _checked_mask(mask: Tensor | None, targets: int, sources: int, heads: int) -> Tensor | None:
    """The mask with a dimension in front for heads of all samples."""
    if mask is None:
        return None
    if mask.dim() == 2:
        if tuple(mask.shape) != (targets, sources):
            raise RuntimeError(f"The shape of the 2D attn_mask is {mask.shape}, but should be {(targets, sources)}.")
        return mask.unsqueeze(0)
    if tuple(mask.shape) != (heads, targets, sources):
        raise RuntimeError(f"The shape of the 3D attn_mask is {mask.shape}, but should be {(heads, targets, sources)}.")
    return mask


def _with_column(mask: Tensor | None) -> Tensor | None:
    """A mask for one more source, which may be looked at."""
    if mask is None:
        return None
    return o.cat([mask, o.zeros((*mask.shape[:-1], 1), dtype=mask.dtype, device=mask.device)], -1)


def _merged(mask: Tensor | None, key_padding_mask: Tensor | None, n: int, heads: int, sources: int) -> Tensor | None:
    """What is added to the scores, with four dimensions; no larger than the masks need."""
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.size(0) == 1 else mask.view(n, heads, -1, sources)
    if key_padding_mask is None:
        return mask
    for d, (size, got) in enumerate(zip((n, sources), key_padding_mask.shape, strict=True)):
        if got != size:
            raise AssertionError(f"Expected key_padded_mask.shape[{d}] to be {size}, but got {got}")
    padding = key_padding_mask.view(n, 1, 1, sources)
    return padding if mask is None else mask + padding
