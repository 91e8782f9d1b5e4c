"""Distances, similarities and norms as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

from flambeau import functional_ns as o
from flambeau.ops.launch import check_operands

Tensor = o.Tensor


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x1 - x2 + eps|_p over the last dimension."""
    check_operands("pairwise_distance", x1=x1, x2=x2)
    return o.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along a dimension."""
    check_operands("cosine_similarity", x1=x1, x2=x2)
    x1, x2 = o.broadcast_tensors(x1, x2)
    common = o.result_type(x1, x2)
    if not (common.is_floating_point or common.is_complex):
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common.title}")
    norms = [o.linalg.vector_norm(x, 2, dim, True) for x in (x1, x2)]
    units = [x / norm.clamp_min(eps) for x, norm in zip((x1, x2), norms, strict=True)]
    return (units[0] * units[1]).sum(dim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x / max(|x|_p, eps) along a dimension."""
    length = o.linalg.vector_norm(input, p, dim, True).clamp_min(eps).expand_as(input)
    return input / length if out is None else o.div(input, length, out=out)
