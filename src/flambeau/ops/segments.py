"""Reductions over segments: pieces of a dimension that follow each other, given by their lengths or their bounds."""

from .launch import wrap_dim
from .table import Composite, op

_KINDS = {"sum": "sum", "mean": "sum", "max": "amax", "min": "amin", "prod": "prod"}
_NEUTRAL = {"sum": 0.0, "mean": 0.0, "max": float("-inf"), "min": float("inf"), "prod": 1.0}


def _check_lengths(o, lengths, size: int, unsafe: bool) -> None:
    if unsafe or not lengths.numel():
        return
    if int(o.amin(lengths)) < 0:
        raise RuntimeError("lengths contains negative value!")
    if not bool(o.all(o.sum(lengths, -1) == size)):
        raise RuntimeError(
            "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe."
        )


def _bounds(o, data, lengths, offsets, axis: int, unsafe: bool):
    """Where each segment begins, and where the last ends: rows over the dimensions before the axis."""
    name, given = ("offsets", offsets) if offsets is not None else ("lengths", lengths)
    if given.dtype not in (o.int32, o.int64):
        raise NotImplementedError(
            f"\"_segment_reduce_{name}_cpu_kernel1\" not implemented for '{given.dtype.title}'"
        )
    if axis != given.dim() - 1:
        raise RuntimeError(f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis}.")
    if offsets is None:
        _check_lengths(o, lengths, data.shape[axis], unsafe)
        offsets = o.pad(o.cumsum(lengths, -1), [1, 0])
    return offsets.to(o.int64).contiguous()


def _segment_reduce(o, data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    axis = wrap_dim(axis, data.dim())
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if reduce not in _KINDS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    bounds = _bounds(o, data, lengths, offsets, axis, unsafe)
    if not data.is_floating_point():
        raise NotImplementedError(f"\"segment_reduce_cpu\" not implemented for '{data.dtype.title}'")
    n = bounds.shape[-1] - 1
    places = o.arange(data.shape[axis], device=data.device).expand(*data.shape[: axis + 1]).contiguous()
    segment = o.searchsorted(bounds, places, right=True) - 1  # -1 and n: in none
    segment = o.masked_fill(segment, segment < 0, n)
    behind = data.dim() - axis - 1
    index = segment.reshape([*segment.shape, *[1] * behind]).expand(data.shape)
    shape = [*data.shape[:axis], n + 1, *data.shape[axis + 1 :]]
    start = o.full(shape, _NEUTRAL[reduce] if initial is None else initial, dtype=data.dtype, device=data.device)
    found = o.scatter_reduce(start, axis, index, data, _KINDS[reduce]).narrow(axis, 0, n)
    if reduce != "mean":
        return found
    counts = o.diff(bounds).reshape([*bounds.shape[:-1], n, *[1] * behind]).to(data.dtype)
    return found / (counts if initial is None else o.clamp(counts, 1))


op(
    "segment_reduce(Tensor data, str reduce, *, Tensor? lengths=None, Tensor? indices=None, Tensor? offsets=None, "
    "int axis=0, bool unsafe=False, Scalar? initial=None) -> Tensor",
    names=("segment_reduce",),
    body=Composite(_segment_reduce),
    doc="""The sum, mean, max, min or prod of each segment of a dimension.

    Args:
        lengths: of the segments; over the dimensions before `axis` too, where there are some.
        offsets: where each segment begins and the last one ends, instead.
        axis: the dimension: the last one of lengths or offsets.
        unsafe: lengths are not checked.
        initial: what each segment starts with: the value of one without elements, which is otherwise 0, nan, -inf, inf
            or 1.

    Example:
        >>> torch.segment_reduce(torch.tensor([1.0, 2.0, 3.0]), "sum", lengths=torch.tensor([1, 2]))
        tensor([1., 5.])""",
)
