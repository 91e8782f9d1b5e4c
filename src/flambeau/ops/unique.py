"""Distinct elements: of all, of slices along a dimension, or of neighbours only."""

from .launch import wrap_dim
from .sort import _key, _order, check_implemented
from .table import Composite, op


def _slices(self, dim):
    """Keys as rows [slices, elements of a slice], and the sizes of a slice."""
    import numpy as np

    key = _key(self.detach())
    if dim is None:
        return key.reshape(-1, 1), ()
    moved = np.moveaxis(key, dim, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1), moved.shape[1:]


def _sorted_rows(rows):
    """Positions that sort rows by their first element, then by the second, and so on."""
    import numpy as np

    if rows.shape[1] == 1:
        return _order(rows[:, 0])
    if not rows.shape[1]:
        return np.arange(rows.shape[0])
    lifted = rows.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    text = np.ascontiguousarray(lifted.astype(">u8")).view(np.dtype((np.void, 8 * rows.shape[1])))
    return np.argsort(text[:, 0], kind="stable")


def _begins(rows, floating: bool):
    """Which rows differ from the row before; a row with a nan differs from every other."""
    import numpy as np

    begins = np.ones(rows.shape[0], bool)
    differ = rows[1:] != rows[:-1]
    if floating:
        differ |= rows[1:] == np.iinfo(rows.dtype).max
    begins[1:] = differ.any(axis=1)
    return begins


def _distinct_integers(o, self, return_counts: bool):
    """Values, and counts, without the order of the elements: these are counted where they lie close, else sorted."""
    import numpy as np

    flat = self.detach().reshape(-1)
    low, high = (int(o.min(flat)), int(o.max(flat))) if flat.numel() else (0, 0)
    if high - low < flat.numel():
        counts = o.bincount(flat.to(o.int64) - low)
        places = o.nonzero(counts).squeeze(1)
        values, counts = (places + low).to(self.dtype), o.index_select(counts, 0, places)
        return (values, counts) if return_counts else values
    ranked = np.sort(flat.numpy())
    first = np.nonzero(_begins(ranked.reshape(-1, 1), False))[0]
    values = o.from_numpy(ranked[first])
    return (values, o.from_numpy(np.diff(np.append(first, ranked.size)))) if return_counts else values


def _unique(o, self, dim, return_inverse: bool, return_counts: bool, ordered: bool):
    import numpy as np

    name = "unique" if ordered else "unique_consecutive"
    check_implemented(self, name)
    if dim is not None:
        dim = wrap_dim(dim, self.dim())
        if self.dim() and not self.shape[dim] and self.numel() == 0 and self.dim() == 1:
            dim = None
        elif any(not s for d, s in enumerate(self.shape) if d != dim):
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    integral = self.dtype in (o.uint8, o.int8, o.int16, o.int32, o.int64)
    if ordered and integral and dim is None and not return_inverse:
        return _distinct_integers(o, self, return_counts)
    rows, _ = _slices(self, dim if self.dim() else None)
    order = _sorted_rows(rows) if ordered else np.arange(len(rows))
    begins = _begins(rows[order], self.dtype.is_floating_point)
    first = np.nonzero(begins)[0]
    source = self.detach().reshape(-1) if dim is None or not self.dim() else self.detach()
    values = o.index_select(source, dim or 0, o.from_numpy(order[first]))
    results = [values]
    if return_inverse:
        inverse = np.empty(len(rows), np.int64)
        inverse[order] = np.cumsum(begins) - 1
        results.append(o.from_numpy(inverse.reshape(self.shape if dim is None else (-1,))))
    if return_counts:
        results.append(o.from_numpy(np.diff(np.append(first, len(rows)))))
    return tuple(results) if len(results) > 1 else values


def _unique_body(o, self, sorted=True, return_inverse=False, return_counts=False, dim=None):
    return _unique(o, self, dim, return_inverse, return_counts, True)


def _consecutive_body(o, self, return_inverse=False, return_counts=False, dim=None):
    return _unique(o, self, dim, return_inverse, return_counts, False)


op(
    "unique(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Any",
    body=Composite(_unique_body),
    differentiable=False,
    doc="Distinct elements (or slices along a dimension) in order; where each element went, and how often it occurs.",
)
op(
    "unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Any",
    body=Composite(_consecutive_body),
    differentiable=False,
    doc="Elements (or slices along a dimension) that differ from the one before.",
)
