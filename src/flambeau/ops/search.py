"""Looking up elements among sorted ones, and counting: searchsorted, bucketize, isin, bincount, histc."""

from ..ir.fn import cast, minimum, where
from .launch import Launch
from .sort import check_implemented
from .table import Composite, Loop, Native, Scalar, op

_TOGETHER = 8  # values that are looked up side by side: none waits for what another one reads


# ints: length of a sequence, elements looked up in each, steps of the search, number of values
def _search_program(b, right: bool, by_sorter: bool, one_sequence: bool):
    """Buffers: positions, values, sequences, and the order that sorts them. One iteration: some neighbouring values."""
    from ..ir.fn import cast, const, logical_not, minimum, where

    n, zero = b.int(0), const(0, "i64")

    def step(search) -> None:
        low, high, start, x = search
        first, last = low.value, high.value
        middle = (first + last) >> 1
        at = start + minimum(middle, n - 1)
        y = b.load(2, start + b.load(3, at) if by_sorter else at)
        later = logical_not(y > x if right else y >= x)  # nan stands behind all
        open_ = first < last
        low.value = where(open_, where(later, middle + 1, first), first)
        high.value = where(open_, where(later, last, middle), last)

    with b.parallel() as group:
        places = [minimum(group * _TOGETHER + k, b.int(3) - 1) for k in range(_TOGETHER)]
        searches = [
            (b.variable(zero, "i64"), b.variable(n, "i64"), zero if one_sequence else i // b.int(1) * n, b.load(1, i))
            for i in places
        ]
        with b.loop(0, b.int(2), simd=False):
            for search in searches:
                step(search)
        for i, (low, *_) in zip(places, searches, strict=True):
            b.store(0, i, cast(low.value, b.compute_dtype(0)))


def _search_plan(o, sequence, values, sorter, right, out_int32):
    sequence, values = sequence.contiguous(), values.contiguous()
    n = sequence.shape[-1]
    each = values.shape[-1] if sequence.dim() > 1 else values.numel()
    out = o.empty(tuple(values.shape), dtype=o.int32 if out_int32 else o.int64, device=values.device)
    ints = [n, max(each, 1), n.bit_length(), values.numel()]
    buffers = (out, values, sequence) + (() if sorter is None else (sorter.contiguous(),))
    attrs = (bool(right), sorter is not None, sequence.numel() == n)
    groups = -(-values.numel() // _TOGETHER)
    return Launch((out,), buffers, ints, groups, 2 * _TOGETHER * n.bit_length(), _search_program, attrs)


op(
    "search_positions(Tensor sequence, Tensor values, Tensor? sorter, bool right, bool out_int32) -> Tensor",
    names=(),
    body=Loop(_search_plan, pure=True),
    differentiable=False,
    doc="Where values stand among sorted sequences: checked operands of one dtype.",
)


def _check_side(side, right: bool) -> bool:
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    return right or side == "right"


def _check_sorter(o, sequence, sorter) -> None:
    if sorter is None:
        return
    if sorter.shape != sequence.shape:
        raise RuntimeError(
            "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
            f"{list(sequence.shape)}and got sorter tensor {list(sorter.shape)}"
        )
    if sorter.dtype is not o.int64:
        raise RuntimeError(
            f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.dtype.title}"
        )
    if o.first_outside(sorter, sequence.shape[-1]) is not None:
        raise RuntimeError("torch.searchsorted(): sorter index out of range")


def _check_sequence(sequence, values) -> None:
    if not sequence.dim():
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if not values.dim() and sequence.dim() != 1:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({sequence.dim()}) and input value's dim(0) numel(1)"
        )
    if sequence.dim() != 1 and (sequence.dim() != values.dim() or sequence.shape[:-1] != values.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(sequence.shape)} and input "
            f"value tensor {list(values.shape)}"
        )


def _searchsorted(o, sorted_sequence, self, *, out_int32=False, right=False, side=None, sorter=None):
    values = self if isinstance(self, o.Tensor) else o.scalar_tensor(self, dtype=_dtype_of(o, self, sorted_sequence))
    right = _check_side(side, right)
    _check_sequence(sorted_sequence, values)
    _check_sorter(o, sorted_sequence, sorter)
    dtype = o.result_type(sorted_sequence, values)
    check_implemented(sorted_sequence.to(dtype), "searchsorted_out_cpu", ("b1", "c64", "c128"))
    sequence, values = sorted_sequence.detach().to(dtype), values.detach().to(dtype)
    return o.search_positions(sequence, values, sorter, right, out_int32)


def _dtype_of(o, number, beside):
    """The dtype in which a number is compared with a tensor."""
    return o.result_type(beside, number)


_SEARCH = "*, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None"
op(
    f"searchsorted.Tensor(Tensor sorted_sequence, Tensor self, {_SEARCH}) -> Tensor",
    names=("searchsorted",),
    body=Composite(_searchsorted),
    differentiable=False,
    ref=lambda np, a, x: np.searchsorted(a, x),
    doc="Where elements would be inserted in the sorted last dimension so that it stays sorted.",
)
op(
    f"searchsorted.Scalar(Tensor sorted_sequence, Scalar self, {_SEARCH}) -> Tensor",
    names=("searchsorted",),
    body=Composite(_searchsorted),
    differentiable=False,
    doc="Where a number would be inserted in a sorted sequence.",
)


def _bucketize(o, self, boundaries, *, out_int32=False, right=False):
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return _searchsorted(o, boundaries, self, out_int32=out_int32, right=right)


for _overload, _operand in (("Tensor", "Tensor self"), ("Scalar", "Scalar self")):
    op(
        f"bucketize.{_overload}({_operand}, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
        names=("bucketize",),
        body=Composite(_bucketize),
        differentiable=False,
        doc="The interval between sorted boundaries that each element lies in.",
    )

_FEW = 16  # elements that are compared one by one
_MANY = 65536  # elements that are counted before their range is known


def _isin(o, elements, test_elements, *, assume_unique=False, invert=False):
    elements, tests = (
        v if isinstance(v, o.Tensor) else o.scalar_tensor(v, dtype=_dtype_of(o, v, other))
        for v, other in ((elements, test_elements), (test_elements, elements))
    )
    for t in (elements, tests):
        if t.dtype.code in ("b1", "c64", "c128"):
            raise RuntimeError(f"Unsupported input type encountered for isin(): {t.dtype.title}")
    dtype = o.result_type(elements, tests)
    x, tests = elements.detach().to(dtype), tests.detach().to(dtype).reshape(-1)
    n = tests.numel()
    if n <= _FEW:
        found = o.any(x.unsqueeze(-1) == tests, -1)
    else:
        ranked = o.sort(tests)[0]
        at = o.clamp(o.search_positions(ranked, x, None, False, False), max=n - 1)
        found = o.index_select(ranked, 0, at.reshape(-1)).reshape(x.shape) == x
    return ~found if invert else found


for _overload, _operands in (
    ("Tensor_Tensor", "Tensor elements, Tensor test_elements"),
    ("Tensor_Scalar", "Tensor elements, Scalar test_element"),
    ("Scalar_Tensor", "Scalar element, Tensor test_elements"),
):
    op(
        f"isin.{_overload}({_operands}, *, bool assume_unique=False, bool invert=False) -> Tensor",
        names=("isin",),
        body=Composite(_isin),
        differentiable=False,
        doc="Whether each element is among the test elements.",
    )


op(
    "count_positions(Tensor index, int size) -> Tensor",
    names=(),
    body=Native("count_positions"),
    differentiable=False,
    doc="How often each of 0 .. size - 1 stands among checked int64 positions.",
)


op(
    "count_few(Tensor index) -> Any",
    names=(),
    body=Native("count_few"),
    differentiable=False,
    doc="How often each of 0 .. 1023 stands among int64 numbers; None where another one does.",
)


def _counts(o, x, minlength):
    """The counts of a vector of integers, which is read once where all are small; None where they need another way."""
    if x.dtype is not o.int64 or x.dim() != 1 or x.numel() < _MANY or x.is_meta:
        return None
    counts = o.count_few(x)
    if counts is None:
        return None
    size = max(minlength, int(o.nonzero(counts)[-1]) + 1)
    return counts[:size].clone() if size <= counts.numel() else o.constant_pad_nd(counts, [0, size - counts.numel()])


def _bincount(o, self, weights=None, minlength=0):
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    check_implemented(self, "bincount_cpu", ("b1", "f16", "bf16", "f32", "f64", "c64", "c128"))
    if self.dim() == 1 and not self.numel():
        return o.zeros((minlength,), dtype=o.int64, device=self.device)
    if weights is None and (counts := _counts(o, self, minlength)) is not None:
        return counts
    low, high = (int(v) for v in o.aminmax(self)) if self.numel() else (0, -1)
    if self.dim() != 1 or low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and (weights.dim() != 1 or weights.numel() != self.numel()):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = max(minlength, high + 1)
    if weights is None:
        return o.count_positions(self.to(o.int64), size)
    if weights.dtype is not o.float32:
        weights = weights.to(o.float64)
    out = o.zeros((size,), dtype=weights.dtype, device=self.device)
    return o.index_add(out, 0, self.to(o.int64), weights.detach())


op(
    "bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor",
    body=Composite(_bincount),
    differentiable=False,
    ref=lambda np, x: np.bincount(x),
    doc="How often each non-negative integer occurs, or the sum of the weights at its positions.",
)


def _bin(x, low, high, bins):
    at = cast((x - low) * cast(bins, x.dtype) / (high - low), "i64")
    return where((x >= low) & (x <= high), minimum(at, bins - 1), bins)


op(
    "bin_positions(Tensor self, Scalar low, Scalar high, int bins) -> Tensor",
    names=(),
    body=Scalar(_bin),
    result="int64",
    differentiable=False,
    doc="In which of `bins` equal intervals from low to high each element lies; `bins` where it lies in none.",
)


def _histc(o, self, bins=100, min=0, max=0):
    check_implemented(self, "histogram_cpu", ("b1", "u8", "i8", "i16", "i32", "i64"))
    check_implemented(self, "histogram_cpu" if min != max else "aminmax_cpu")
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    x, low, high = self.detach().reshape(-1), float(min), float(max)
    if low == high and x.numel():
        low, high = (v.item() for v in o.aminmax(x))
    if low == high:
        low, high = low - 1, high + 1
    if not abs(high - low) < float("inf"):
        raise RuntimeError(f"torch.histc: range of [{low:g}, {high:g}] is not finite")
    if high <= low:
        raise RuntimeError("torch.histc: max must be larger than min")
    if x.dtype.itemsize >= 4:
        at = o.bin_positions(x, low, high, bins)
    else:  # PyTorch rounds after each operation
        at = o.clamp(((x - low) * bins / (high - low)).to(o.int64), max=bins - 1)
        at = o.masked_fill(at, (x < low) | (x > high) | o.isnan(x), bins)
    return o.count_positions(at, bins + 1).narrow(0, 0, bins).to(self.dtype)


op(
    "histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor",
    body=Composite(_histc),
    differentiable=False,
    doc="How many elements fall into each of `bins` equal intervals from min to max (by default those of the data).",
)
