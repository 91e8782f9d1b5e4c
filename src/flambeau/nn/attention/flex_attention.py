"""Attention whose scores a user's function may change, and whose mask is a user's function of positions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flambeau import functional_ns as o
from flambeau.nn.attention.block_mask import (
    DEFAULT_BLOCK,
    WHOLE,
    BlockMask,
    and_masks,
    create_block_mask,
    create_mask,
    noop_mask,
    or_masks,
    over_positions,
    positions,
    sliced_mask_mod,
)

_DEFAULT_SPARSE_BLOCK_SIZE = DEFAULT_BLOCK  # the name that libraries know

__all__ = [
    "AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention",
    "noop_mask", "or_masks",
]  # fmt: skip

Tensor = o.Tensor


class AuxRequest(NamedTuple):
    """What flex_attention gives beside its result."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for by an AuxRequest; None: it was not."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def _check(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool, block_mask: BlockMask | None) -> None:
    if not query.dtype == key.dtype == value.dtype:
        raise ValueError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype}, key.dtype: {key.dtype}, and value.dtype: {value.dtype} instead."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            "Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}."
        )
    if query.dim() != 4 or key.dim() != 4 or value.dim() != 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    heads, shared = query.shape[1], key.shape[1]
    if not enable_gqa and heads != shared:
        raise ValueError(
            "Expect query and key/value to have the same number of heads "
            f"but got Hq={heads} and Hkv={shared}. Try setting enable_gqa=True for GQA."
        )
    if heads % shared:
        raise ValueError(
            f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={heads} and Hkv={shared}."
        )
    if query.shape[0] != key.shape[0] and block_mask is None:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or non-none block_mask, "
            f"but got block_mask=None, Bq={query.shape[0]}, and Bkv={key.shape[0]}."
        )
    if block_mask is not None:
        _check_mask(query, key, block_mask)


def _check_mask(query: Tensor, key: Tensor, mask: BlockMask) -> None:
    if query.shape[0] != key.shape[0] and mask.kv_num_blocks.shape[0] != query.shape[0]:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or block_mask and query to have the same batch "
            f"size, but got Bq={query.shape[0]}, Bkv={key.shape[0]}, B_block_mask={mask.kv_num_blocks.shape[0]}."
        )
    if mask.mask_mod is sliced_mask_mod:
        raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")
    q, kv = query.shape[-2], key.shape[-2]
    if mask.BLOCK_SIZE != (WHOLE, WHOLE) and (q, kv) != tuple(mask.shape[-2:]):
        shorter = q > mask.shape[-2] or kv > mask.shape[-1]
        raise ValueError(
            f"block_mask was created for block_mask.shape={mask.shape} but got q_len={q} and kv_len={kv}. "
            f"As the block mask was created for a {'smaller' if shorter else 'larger'} length than you're using it "
            "for, you " + ("likely need to create a new block mask." if shorter else
            "can either 1. create a new block mask with the correct length, or 2. 'adjust' the existing block mask to "
            "the correct length by calling block_mask._adjust(q_len, kv_len). This essentially 'crops' the block mask "
            "to the upper left corner, which does not work for all mask_mods!")
        )  # fmt: skip
    if query.device != mask.kv_num_blocks.device:
        raise RuntimeError(
            "Expect q/k/v and block_mask to be on the same device "
            f"but got {query.device} and {mask.kv_num_blocks.device}."
        )


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Mapping[str, Any] | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    r"""Attention with a function of each score and a mask by blocks.

    softmax(score_mod(scale * query key^T)) value, over the keys that the mask shows. All scores are made, in float32
    for float16 and bfloat16. Gradients flow into query, key, value and what score_mod looks at.

    Args:
        query, key, value: what attention is made of.
        score_mod: `(score, batch, head, q_idx, kv_idx) -> score`, each a tensor of no dimensions.
        block_mask: which keys are looked at; see `create_block_mask`.
        scale: of the scores: 1/sqrt(E) where it is None.
        enable_gqa: whether several heads of queries may share one of keys and values.
        return_lse: whether the logarithms of the sums of the exponentials are given as well.
        kernel_options: of PyTorch's kernels; there is nothing here that they change.
        return_aux: what is given as well.

    Shape:
        query (B, Hq, L, E); key (B, Hkv, S, E); value (B, Hkv, S, Ev); the result (B, Hq, L, Ev). A query to which
        every key is hidden gives 0.

    Returns:
        The result; with return_lse a pair; with return_aux a pair of it and an AuxOutput.

    Raises:
        ValueError: lengths, heads or batches that do not fit together.

    Example:
        >>> from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        >>> x = torch.arange(8.0).reshape(1, 1, 4, 2)
        >>> mask = create_block_mask(lambda b, h, q, kv: q == kv, None, None, 4, 4)
        >>> torch.equal(flex_attention(x, x, x, block_mask=mask), x)
        True
    """
    _check(query, key, value, enable_gqa, block_mask)
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. "
            "return_lse is deprecated, please use return_aux=AuxRequest(lse=True) instead."
        )
    if return_lse:
        warnings.warn(
            "return_lse is deprecated and will be removed in v2.10. "
            "Please use return_aux=AuxRequest(lse=True) instead.",
            FutureWarning,
            stacklevel=2,
        )
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores, shown = _scores(query, key, score_mod, block_mask, scale)
    # A row without keys: its scores are finite here, so that no nan reaches a gradient, and nothing of it is kept.
    empty = None if shown is None else ~shown.any(-1, True)
    if shown is not None:
        scores = o.where(shown | empty, scores, -math.inf)
    weights = o.softmax(scores, -1)
    if empty is not None:
        weights = o.where(empty, 0.0, weights)
    out = o.matmul(weights.to(query.dtype), value)
    wants = return_aux or AuxRequest(lse=return_lse)
    lse = _of_rows(o.logsumexp(scores, -1), empty) if wants.lse else None
    most = _of_rows(o.amax(scores, -1), empty) if wants.max_scores else None
    if return_aux is not None:
        return out, AuxOutput(lse, most)
    return (out, lse) if return_lse else out


def _of_rows(values: Tensor, empty: Tensor | None) -> Tensor:
    return values if empty is None else o.where(empty[..., 0], -math.inf, values)


def _scores(
    query: Tensor, key: Tensor, score_mod: Callable | None, block_mask: BlockMask | None, scale: float | None
) -> tuple[Tensor, Tensor | None]:
    """The scores, changed by the user's function, and where the mask shows them."""
    wide = query.dtype if query.dtype in (o.float32, o.float64) else o.float32
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = o.matmul(query.to(wide), key.transpose(-2, -1).to(wide)) * factor
    if score_mod is not None:
        scores = over_positions(score_mod, True)(scores, *positions(scores.shape, scores.device))
    shown = None
    if block_mask is not None and not (block_mask.mask_mod is noop_mask and block_mask.BLOCK_SIZE == (WHOLE, WHOLE)):
        shown = block_mask.shown()
    return scores, shown
