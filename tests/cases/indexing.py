"""Positions: gather and scatter, index_*, masks, embeddings, order."""

import numpy as np

from cases.make import Case, Fixed, Maker, case


def _columns(s: Maker, rows: int, columns: int, n: int) -> np.ndarray:
    """Positions in a first dimension of n, no two alike in a column."""
    return np.stack([s.permutation(n)[:rows] for _ in range(columns)], 1)


def _scatter(s: Maker) -> list[Case]:
    return [
        case(s.x(3, 2), 0, _columns(s, 2, 2, 3), s.x(2, 2)), case(s.x(4), 0, s.permutation(4)[:2], s.x(2)),
        case(s.x(2, 3), -1, _columns(s, 2, 2, 3).T.copy(), s.x(2, 2)), case(s.x(), 0, s.integers(0, 1), s.x()),
    ]  # fmt: skip


def _scatter_reduced(s: Maker, reduce: str) -> list[Case]:
    distinct = s.distinct(16)
    return [
        case(distinct[:6].reshape(3, 2), 0, s.integers(0, 3, 4, 2), distinct[6:14].reshape(4, 2), reduce),
        case(distinct[:4], 0, s.integers(0, 4, 5), distinct[4:9], reduce, include_self=False),
    ]


def _reduced_by_index(s: Maker, reduce: str) -> list[Case]:
    distinct = s.distinct(16)
    return [
        case(distinct[:6].reshape(3, 2), 0, s.integers(0, 3, 4), distinct[6:14].reshape(4, 2), reduce),
        case(distinct[:4], 0, s.integers(0, 4, 5), distinct[4:9], reduce, include_self=False),
    ]


def _sorted(s: Maker) -> list[Case]:
    return [case(s.distinct(5)), case(s.distinct(2, 3), 0), case(s.distinct(2, 3), -1, True)] if s.real else []


def _chosen(s: Maker, *arguments) -> list[Case]:
    return [case(s.distinct(3, 4), *a) for a in arguments] if s.real else []


def _quantiles(s: Maker, *q) -> list[Case]:
    if not s.real:
        return []
    return [
        case(s.distinct(5), *q), case(s.distinct(2, 4), *q, 1), case(s.distinct(4, 2), *q, 0, True),
        case(s.distinct(5), *q, interpolation="lower"), case(s.distinct(5), *q, interpolation="midpoint"),
    ]


MASK = np.array([[True, False, True], [False, True, True]])

CASES = {
    "gather": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 4, 2)), case(s.x(2, 3), -1, s.integers(0, 3, 2, 2)),
        case(s.x(), 0, s.integers(0, 1)), case(s.x(3), 0, s.integers(0, 3, 0)),
    ],
    "scatter.src": _scatter,
    "scatter.value": lambda s: [case(s.x(3, 2), 0, _columns(s, 2, 2, 3), 1.5), case(s.x(4), 0, s.integers(0, 4, 3), 2.0)],
    "scatter.reduce": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 4, 2), s.x(4, 2), reduce="add"),
        case(s.away(3, 2), 0, _columns(s, 2, 2, 3), s.away(2, 2), reduce="multiply"),
    ],
    "scatter.value_reduce": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 4, 2), 1.5, reduce="add"),
        case(s.x(3, 2), 0, s.integers(0, 3, 4, 2), 1.5, reduce="multiply"),
    ],
    "scatter_add": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 4, 2), s.x(4, 2)), case(s.x(2, 3), 1, s.integers(0, 3, 2, 4), s.x(2, 4)),
        case(s.x(), 0, s.integers(0, 1), s.x()),
    ],
    "scatter_reduce.two": lambda s: [
        c for r in ("sum", "prod", "mean", "amax", "amin") for c in _scatter_reduced(s, r)
    ] if s.real else [],
    "index_reduce": lambda s: [
        c for r in ("prod", "mean", "amax", "amin") for c in _reduced_by_index(s, r)
    ] if s.real else [],
    "segment_reduce": lambda s: [
        case(s.x(6, 2), r, lengths=Fixed(np.array([1, 3, 2]))) for r in ("sum", "mean", "max", "min", "prod")
    ] if s.real else [],
    "take_along_dim": lambda s: [
        case(s.x(3, 2), s.integers(0, 3, 4, 2), 0), case(s.x(3, 2), s.integers(0, 6, 5)),
        case(s.x(3, 2), s.integers(0, 2, 1, 2), 1),
    ],
    "index.Tensor": lambda s: [
        case(s.x(3, 4), [s.integers(0, 3, 5)]), case(s.x(3, 4), [s.integers(0, 3, 2), s.integers(0, 4, 2)]),
        case(s.x(3, 4), [None, s.integers(0, 4, 2, 2)]), case(s.x(2, 3, 2), [s.integers(0, 2, 2), None, s.integers(0, 2, 2)]),
    ],
    "index_put": lambda s: [
        case(s.x(3, 4), [s.permutation(3)[:2]], s.x(2, 4)), case(s.x(3, 4), [s.integers(0, 3, 5)], s.x(4), True),
        case(s.x(3, 4), [None, s.permutation(4)[:2]], s.x(3, 2)),
    ],
    "masked_select": lambda s: [case(s.x(2, 3), Fixed(MASK)), case(s.x(3), Fixed(MASK))],
    "masked_scatter": lambda s: [case(s.x(2, 3), Fixed(MASK), s.x(6)), case(s.x(2, 3), Fixed(MASK[0]), s.x(7))],
    "masked_fill": lambda s: [case(s.x(2, 3), s.mask(2, 3), s.x()), case(s.x(2, 3), s.mask(3), 1.5)],
    "take": lambda s: [case(s.x(2, 3), s.integers(0, 6, 4)), case(s.x(4), s.integers(-4, 4, 2, 2))],
    "put": lambda s: [case(s.x(2, 3), s.permutation(6)[:4], s.x(4)), case(s.x(4), s.integers(0, 4, 6), s.x(6), True)],
    "index_select": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 5)), case(s.x(2, 3), -1, s.integers(0, 3, 2)), case(s.x(), 0, s.integers(0, 1, 1)),
    ],
    "index_add": lambda s: [
        case(s.x(3, 2), 0, s.integers(0, 3, 5), s.x(5, 2)), case(s.x(2, 3), 1, s.integers(0, 3, 2), s.x(2, 2), alpha=1.5),
        case(s.x(4), 0, s.integers(0, 4, 3), s.x(3)),
    ],
    "index_copy": lambda s: [
        case(s.x(3, 2), 0, s.permutation(3)[:2], s.x(2, 2)), case(s.x(2, 3), 1, s.permutation(3), s.x(2, 3)),
    ],
    "index_fill.Scalar": lambda s: [case(s.x(3, 2), 0, s.integers(0, 3, 2), 1.5), case(s.x(2, 3), 1, s.integers(0, 3, 1), 0.0)],
    "index_fill.Tensor": lambda s: [case(s.x(3, 2), 0, s.integers(0, 3, 2), s.x()), case(s.x(2, 3), 1, s.permutation(3)[:1], s.x())],
    "embedding": lambda s: [
        case(s.x(4, 2), s.integers(0, 4, 3)), case(s.x(4, 2), 2 * s.integers(0, 2, 2, 3), 1),
        case(s.x(4, 2), s.permutation(4), -1, True),
    ] if s.real else [],
    "sort": _sorted,
    "sort.stable": lambda s: [case(s.distinct(2, 3), stable=True), case(s.distinct(4), stable=True, descending=True)] if s.real else [],
    "msort": lambda s: [case(s.distinct(3, 2))] if s.real else [],
    "topk": lambda s: _chosen(s, (2,), (2, 0), (3, 1, False), (2, 1, True, False)),
    "kthvalue": lambda s: _chosen(s, (2,), (1, 0), (3, 1, True)),
    "median": lambda s: _chosen(s, ()),
    "nanmedian": lambda s: _chosen(s, ()),
    "median.dim": lambda s: _chosen(s, (1,), (0, True)),
    "nanmedian.dim": lambda s: _chosen(s, (1,), (0, True)),
    "mode": lambda s: _chosen(s, (), (0,), (1, True)),
    "quantile": lambda s: _quantiles(s, Fixed(np.array([0.2, 0.63]))),
    "quantile.scalar": lambda s: _quantiles(s, 0.37),
    "nanquantile": lambda s: _quantiles(s, Fixed(np.array([0.2, 0.63]))),
    "nanquantile.scalar": lambda s: _quantiles(s, 0.37),
    "where": lambda s: [case(s.mask(2, 3), s.x(2, 3), s.x(2, 3)), case(s.mask(3), s.x(2, 1), s.x())],
    "where.method": lambda s: [case(s.x(2, 3), s.mask(2, 3), s.x(3))],
}  # fmt: skip
