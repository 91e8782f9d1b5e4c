"""Sparse tensors: made of dense ones here, and given back dense."""

import numpy as np

import flambeau as torch
from cases.make import Fixed, case

PLACES = Fixed(np.array([[0, 1, 1], [2, 0, 2]]))


def _dense(f, *args, **options):
    return f(*args, **options).to_dense()


def _as_dense(t):
    return t.to_dense() if t.is_sparse else t


def _of_sparse(f, x, *rest, **options):
    """The first argument made sparse."""
    made = f(x.to_sparse(), *rest, **options)
    return _as_dense(made)


def _built(f, values, *, then=None):
    made = f(torch.tensor(PLACES.array), values, (2, 3))
    return made.to_dense()


def _second_sparse(f, m, a, b, **options):
    return _as_dense(f(m, a.to_sparse(), b, **options))


def _compressed(f, values):
    return f(torch.tensor([0, 1, 3]), torch.tensor([2, 0, 2]), values).to_dense()


def _masked_like(f, x, mask):
    return f(x, mask.to_sparse()).to_dense()


CASES = {
    "sparse_coo_tensor": lambda s: [case(s.x(3), call=_built), case(s.x(3, 2), call=_hybrid)],
    "to_sparse": lambda s: [case(s.away(2, 3), call=_dense), case(s.away(2, 3), 1, call=_dense)],
    "to_sparse_coo": lambda s: [case(s.away(2, 3), call=_dense)],
    "to_dense": lambda s: [case(s.away(2, 3), call=_of_sparse), case(s.x(2, 3))],
    "sparse_mask": lambda s: [case(s.x(2, 3), Fixed(np.array([[1.0, 0, 2], [0, 3, 0]])), call=_masked_like)],
    "coalesce": lambda s: [case(s.away(2, 3), call=_of_sparse)],
    **dict.fromkeys(("to_sparse_csr", "to_sparse_csc"), lambda s: [case(s.away(2, 3), call=_dense)]),
    **dict.fromkeys(("sparse_csr_tensor", "sparse_csc_tensor"), lambda s: [case(s.x(3), call=_compressed)]),
    **dict.fromkeys(("spmm", "dsmm", "hsmm"), lambda s: [case(s.away(2, 3), s.x(3, 2), call=_of_sparse)]),
    "values": lambda s: [case(s.away(2, 3), call=_values)],
    "sparse_mm": lambda s: [case(s.away(2, 3), s.x(3, 2), call=_of_sparse)],
    "sparse_addmm": lambda s: [case(s.x(2, 2), s.away(2, 3), s.x(3, 2), call=_second_sparse)],
    "sparse_sum": lambda s: [case(s.away(2, 3), call=_of_sparse), case(s.away(2, 3), 0, call=_of_sparse)],
}  # fmt: skip


def _values(_, x):
    return x.to_sparse().coalesce().values()


def _hybrid(f, values):
    return f(torch.tensor(PLACES.array[:1]), values, (2, 2)).to_dense()
