"""What operators say of an `out=` of another dtype than the result, where the kind of body does not tell.

Elementwise operators and composites cast to it, others refuse it; the operators below do as PyTorch's.
"""

__all__ = ["OUT_ERRORS"]

_EXACT = """addmm addmv aminmax baddbmm cross index_reduce inverse isin linalg_cross linalg_det linalg_inv linalg_inv_ex
linalg_lu linalg_lu_factor linalg_lu_factor_ex linalg_qr linalg_slogdet linalg_solve linalg_solve_ex linalg_svdvals
linalg_vector_norm msort qr renorm scatter_reduce slice_scatter slogdet sort take_along_dim topk triangular_solve tril
triu"""
_FOUND = """abs bitwise_not ceil clamp clamp_max clamp_min conj_physical floor frac gelu hardshrink lerp neg round sgn sign
softplus softshrink trunc"""

#: By base name. "exact": refused with the common sentence; "cast": cast to where numbers can be; "cast <sentence>": the
#: same with another sentence; anything else: refused with this sentence.
OUT_ERRORS: dict[str, str] = {
    **dict.fromkeys(_EXACT.split(), "exact"),
    **dict.fromkeys(_FOUND.split(), "Found dtype {got} but expected {want}"),
    **dict.fromkeys(
        ["cat", "column_stack", "dstack", "hstack", "stack", "vstack"],
        "cast TypeError: torch.cat(): input types can't be cast to the desired output type {got}",
    ),
    **dict.fromkeys(["std", "var"], "cast"),
    **{n: f"{n} does not support non-boolean outputs." for n in ("isneginf", "isposinf", "signbit")},
    "nonzero_static": "nonzero_static: Expected out tensor to have scalar type Long but got scalar type{got}",
}
