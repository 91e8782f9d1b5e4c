"""Distinct elements: of all, of slices along a dimension, or of neighbours only."""

from ..ir.fn import const, eq, maximum, minimum, ne
from .launch import Launch, product, wrap_dim
from .sort import check_implemented
from .table import Composite, Loop, op

_BLOCK = 16384  # elements of one task


def _key(x):
    """Integers with the order of x's elements: equal values (and all nan) have one key."""
    import numpy as np

    if x.dtype.code in ("f16", "bf16"):
        x = x.float()
    a = x.numpy()
    if a.dtype.kind == "b":
        return a.view(np.uint8)
    if a.dtype == np.uint64:
        return (a ^ np.uint64(1 << 63)).view(np.int64)
    if a.dtype.kind != "f":
        return a
    width = np.dtype(f"i{a.dtype.itemsize}")
    bits = (a + 0.0).view(width)
    largest = np.iinfo(width).max
    return np.where(a != a, largest, bits ^ ((bits >> (8 * width.itemsize - 1)) & largest))


def _sorted_rows(rows):
    """Positions that sort rows by their first element, then by the second, and so on."""
    import numpy as np

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


def _close_integers(o, flat, return_counts: bool):
    """Values, and counts, of integers that lie close together, which are counted; None where they do not."""
    low, high = (int(v) for v in o.aminmax(flat))
    if high - low >= flat.numel():
        return None
    counts = o.count_positions(flat.to(o.int64) - low, high - low + 1)
    places = o.nonzero(counts).squeeze(1)
    values = (places + low).to(flat.dtype)
    return (values, o.index_select(counts, 0, places)) if return_counts else values


def _run_begins_program(b):
    """Buffers: which begin a run, elements. ints: elements. One iteration: a block."""
    with b.parallel() as i:
        first = i * _BLOCK
        with b.when(eq(i, 0)):
            b.store(0, 0, const(True, "b1"))
        with b.loop(maximum(first, 1), minimum(first + _BLOCK, b.int(0)), independent=True) as k:
            b.store(0, k, ne(b.load(1, k), b.load(1, k - 1)))


def _run_begins_plan(o, self):
    n = self.numel()
    out = o.empty((n,), dtype=o.bool, device=self.device)
    return Launch((out,), (out, self.contiguous()), [n], -(-n // _BLOCK), _BLOCK, _run_begins_program)


op(
    "run_begins(Tensor self) -> Tensor",
    names=(),
    body=Loop(_run_begins_plan, pure=True),
    differentiable=False,
    doc="Which elements of a vector differ from the one before.",
)

_SIGNED = {"u16": "int16", "u32": "int32", "u64": "int64"}


def _unique_elements(o, x, return_inverse: bool, return_counts: bool, ordered: bool):
    n = x.numel()
    if ordered and not return_inverse and n and x.dtype in (o.bool, o.uint8, o.int8, o.int16, o.int32, o.int64):
        found = _close_integers(o, x, return_counts)
        if found is not None:
            return found
    order = o.order_rows(x, 0, False, n) if ordered else None
    ranked = o.index_select(x, 0, order) if ordered else x
    seen = ranked.view(getattr(o, _SIGNED[x.dtype.code])) if x.dtype.code in _SIGNED else ranked
    begins = o.run_begins(seen)
    results = [o.masked_select(ranked, begins)]
    if return_inverse:
        number = o.cumsum(begins, 0) - 1
        inverse = o.scatter(number, 0, order, number) if ordered else number
        results.append(inverse)
    if return_counts:
        first = o.nonzero(begins).squeeze(1)
        results.append(o.diff(o.cat([first, o.full((1,), n, dtype=o.int64, device=x.device)])))
    return tuple(results) if len(results) > 1 else results[0]


def _unique_slices(o, self, dim: int, return_inverse: bool, return_counts: bool, ordered: bool):
    import numpy as np

    moved = np.moveaxis(_key(self.detach()), dim, 0)
    rows = np.ascontiguousarray(moved).reshape(moved.shape[0], product(moved.shape[1:]))
    order = _sorted_rows(rows) if ordered else np.arange(len(rows))
    begins = _begins(rows[order], self.dtype.is_floating_point)
    first = np.nonzero(begins)[0]
    results = [o.index_select(self.detach(), dim, o.from_numpy(order[first]))]
    if return_inverse:
        inverse = np.empty(len(rows), np.int64)
        inverse[order] = np.cumsum(begins) - 1
        results.append(o.from_numpy(inverse))
    if return_counts:
        results.append(o.from_numpy(np.diff(np.append(first, len(rows)))))
    return tuple(results) if len(results) > 1 else results[0]


def _unique(o, self, dim, return_inverse: bool, return_counts: bool, ordered: bool):
    check_implemented(self, "unique" if ordered else "unique_consecutive")
    if dim is not None:
        if not self.dim():
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        dim = wrap_dim(dim, self.dim())
        if not self.shape[dim] and self.numel() == 0 and self.dim() == 1:
            dim = None
        elif any(not s for d, s in enumerate(self.shape) if d != dim):
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    if dim is None:
        found = _unique_elements(o, self.detach().reshape(-1), return_inverse, return_counts, ordered)
        if return_inverse:
            return (found[0], found[1].reshape(self.shape), *found[2:])
        return found
    return _unique_slices(o, self, dim, return_inverse, return_counts, ordered)


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
