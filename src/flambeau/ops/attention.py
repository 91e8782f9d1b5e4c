"""Attention: one native operator where its kernels serve, products and a softmax for the rest."""

import math

from .launch import expands, needs_grad
from .table import REAL_FLOATS, Composite, Native, op

# As PyTorch's sentences spell dtypes.
_SPELLED = {
    "float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "int64": "long int",
    "int32": "int", "int16": "short", "int8": "signed char", "uint8": "unsigned char", "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
}  # fmt: skip


def _spelled(dtype):
    name = str(dtype).rsplit(".", 1)[-1]
    return _SPELLED.get(name, name)


def _triples(query, key, value, what):
    return f"query.{what[0]}: {what[1](query)} key.{what[0]}: {what[1](key)} and value.{what[0]}: {what[1](value)}"


def _check(o, query, key, value, mask, dropout_p):
    """Raises where the operands do not belong together, with PyTorch's sentences."""
    tensors = (query, key, value)
    if len({t.dtype for t in tensors}) > 1:
        got = _triples(*tensors, ("dtype", lambda t: _spelled(t.dtype)))
        raise RuntimeError(f"Expected query, key, and value to have the same dtype, but got {got} instead.")
    if len({t.device for t in tensors}) > 1:
        got = _triples(*tensors, ("device", lambda t: t.device))
        raise RuntimeError(f"Expected query, key, and value to have the same device type, but got {got} instead.")
    if min(t.dim() for t in tensors) < 2:
        got = _triples(*tensors, ("dim", lambda t: t.dim()))
        raise RuntimeError(f"Expected query, key, and value to all be  at least 2 dimensional, but got {got} instead.")
    if not query.dtype.is_floating_point:
        raise RuntimeError(f"scaled_dot_product_attention: query must be floating point, not {_spelled(query.dtype)}")
    if mask is not None and mask.dtype not in (o.bool, o.float32, query.dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{_spelled(mask.dtype)} and  query.dtype: {_spelled(query.dtype)} instead."
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p:g}")


def _check_groups(query, key, value):
    heads = [t.size(-3) if t.dim() > 2 else 1 for t in (query, key, value)]
    if not heads[1] or not heads[2] or heads[0] % heads[1] or heads[0] % heads[2]:
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query, but got "
            f"{heads[0]}, {heads[1]} and {heads[2]}"
        )


def _is_fused(o, query, key, value, mask, dropout_p, grouped):
    """Whether the native operator takes this call; the composition takes all, or raises."""
    if dropout_p > 0.0 or not (query.dim() == key.dim() == value.dim()):
        return False
    if query.size(-1) != key.size(-1) or key.shape[:-1] != value.shape[:-1]:
        return False
    if key.shape[:-2] != query.shape[:-2] and not (grouped and key.shape[:-3] == query.shape[:-3]):
        return False
    if mask is not None:
        if needs_grad(o, mask):
            return False
        if not expands(mask.shape, (*query.shape[:-1], key.size(-2))):
            return False
    return all(t.numel() for t in (query, key, value))


def _attend(o, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False):
    _check(o, query, key, value, attn_mask, dropout_p)
    if enable_gqa:
        _check_groups(query, key, value)
    depth = query.size(-1)
    scale = (1 / math.sqrt(depth) if depth else 1.0) if scale is None else scale
    fused = _is_fused(o, query, key, value, attn_mask, dropout_p, enable_gqa)
    if is_causal and attn_mask is not None and not (fused and query.dim() == 4):
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if fused:
        return _fused(o, query, key, value, attn_mask, is_causal, scale)
    if enable_gqa:
        key, value = (_repeated(t, query.size(-3)) for t in (key, value))
    weights = _weights(o, query, key, attn_mask, is_causal, scale)
    if dropout_p > 0.0:
        weights = o.dropout(weights, dropout_p, True)
    return o.matmul(weights, value)


def _fused(o, query, key, value, mask, is_causal, scale):
    if mask is not None:
        if mask.dtype != o.bool:
            mask = mask.to(o.promote_types(query.dtype, o.float32))
        mask = mask.expand(*query.shape[:-1], key.size(-2))
    if query.dim() == 4:
        return o.attention(query, key, value, mask, is_causal, scale)[0]
    lead, dtype = query.shape[:-2], query.dtype
    if dtype.itemsize == 2 and needs_grad(o, query, key, value):
        query, key, value = (t.to(o.float32) for t in (query, key, value))
    query, key, value, mask = (None if t is None else _four(t) for t in (query, key, value, mask))
    out = o.attention(query, key, value, mask, is_causal, scale)[0]
    return out.reshape(*lead, *out.shape[-2:]).to(dtype)


def _four(t):
    """A tensor with four dimensions: batch, heads, rows, columns."""
    if t.dim() > 4:
        return t.flatten(0, -4)
    return t[(None,) * (4 - t.dim())]


def _repeated(t, heads):
    return t if t.size(-3) == heads else t.repeat_interleave(heads // t.size(-3), -3)


def _weights(o, query, key, mask, is_causal, scale):
    """softmax(scale q k^T + mask); a row that may look nowhere gives zeros."""
    scores = o.matmul(query, key.transpose(-2, -1)) * scale
    if is_causal:
        seen = o.ones((query.size(-2), key.size(-2)), dtype=o.bool, device=query.device).tril()
        scores = o.where(seen, scores, -math.inf)
    if mask is None:
        return o.softmax(scores, -1)
    scores = o.where(mask, scores, -math.inf) if mask.dtype == o.bool else (scores + mask).to(scores.dtype)
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return o.where(blind, 0.0, o.softmax(o.where(blind, 0.0, scores), -1))


op(
    "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, "
    "bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
    names=("nn.functional.scaled_dot_product_attention",),
    dtypes=REAL_FLOATS,
    body=Composite(_attend),
    doc="""softmax(scale query key^T + attn_mask) value.

    Formula:
        out[i] = sum over j of w[i, j] value[j],  w[i, j] = exp(s[i, j]) / sum over j of exp(s[i, j]),
        s[i, j] = scale * sum over e of query[i, e] key[j, e] + attn_mask[i, j]

    Args:
        query, key, value: of one floating-point dtype.
        attn_mask: added to the scores; a boolean one says where to look (True). Broadcast to (N, ..., L, S).
        dropout_p: share of the weights that are set to zero, the others growing to keep the mean.
        is_causal: query i looks at the keys up to i.
        scale: 1 / sqrt(E) where it is left out.
        enable_gqa: heads of key and value are fewer: neighbouring heads of query share one.

    Shape:
        (N, ..., L, E), (N, ..., S, E), (N, ..., S, Ev) -> (N, ..., L, Ev); the dimension before the last two is that of
        the heads.

    Returns:
        The weighted values, laid out like query. A query that may look nowhere gives zeros.

    Raises:
        RuntimeError: operands of different dtypes, of fewer than two dimensions, or that do not broadcast; a mask of
            another dtype than bool, float32 and query's; a mask beside is_causal where there are not four dimensions.

    Example:
        >>> q = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> v = torch.tensor([[[[1.0], [3.0]]]])
        >>> torch.nn.functional.scaled_dot_product_attention(q, q, v, is_causal=True).flatten()
        tensor([1.0000, 2.3395])

    Numerics:
        One pass over blocks of keys with a running maximum: no matrix of scores stands in memory, and blocks that a
        causal mask hides are skipped. float16 and bfloat16 are computed in float32 and rounded once. Where there are four
        dimensions their gradients are computed from the rounded output, as in PyTorch: where one key has nearly all the
        weight, few digits are left. Otherwise they are not rounded before the end. With dropout, a mask that wants a
        gradient, or operands that are broadcast, the scores are computed as a matrix.""",
)


def _attention_grad(o, g, query, key, value, mask, causal, scale):
    out, lse = o.saved.output(0), o.saved.output(1)
    return (*_three(o.attention_backward(g[0], query, key, value, mask, out, lse, causal, scale)), None)


def _three(tensors):
    return tensors[0], tensors[1], tensors[2]


op(
    "attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, float scale) -> (Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Native("attention"),
    grad=_attention_grad,
    saves=("o0", "o1"),
    doc="Attention of four-dimensional operands, and the logarithm of the sum of every query's exponentials.",
)


def _backward(o, grad, query, key, value, mask, out, lse, causal, scale):
    """dq, dk and dv: from the kernels, or as formulas where somebody differentiates them."""
    if not needs_grad(o, grad, query, key, value):
        return o.attention_gradients(grad, query, key, value, mask, out, lse, causal, scale)
    heads, key_heads = query.size(1), key.size(1)
    k, v = _repeated(key, heads), _repeated(value, heads)
    weights = _weights(o, query, k, mask, causal, scale)
    slopes = o.matmul(grad, v.transpose(-2, -1))
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdim=True)) * scale
    dk, dv = o.matmul(slopes.transpose(-2, -1), query), o.matmul(weights.transpose(-2, -1), grad)
    if heads != key_heads:
        dk, dv = (t.unflatten(1, (key_heads, heads // key_heads)).sum(2) for t in (dk, dv))
    return o.matmul(slopes, k), dk, dv


_GRADIENT = "Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? mask, Tensor out, Tensor logsumexp"

op(
    f"attention_backward({_GRADIENT}, bool causal, float scale) -> (Tensor, Tensor, Tensor)",
    names=(),
    body=Composite(_backward),
    doc="Gradients of attention with respect to query, key and value, differentiable again.",
)
op(
    f"attention_gradients({_GRADIENT}, bool causal, float scale) -> (Tensor, Tensor, Tensor)",
    names=(),
    body=Native("attention_gradients"),
    differentiable=False,
    doc="The gradients from the kernels: scores are computed again, block by block.",
)
