"""Resampling of images as a composition of operators. `nn.functional` gives it out."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from typing import Any

from flambeau import functional_ns as o
from flambeau.ops.layout import in_layout_of

Tensor = o.Tensor
Row = list[tuple[int, float]]  # what an output element is made of: places and their weights

_DIMS_OF_MODE = {"linear": 3, "bilinear": 4, "trilinear": 5}

_ANY_DIMS = ("nearest", "nearest-exact", "area")

_WRITTEN_OUT = 16  # taps that a kernel has one after the other in place of a loop


def _float32(x: float) -> float:
    """Rounded to float32, in which positions are computed."""
    return struct.unpack("f", struct.pack("f", x))[0]


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Makes images, signals or volumes larger or smaller.

    Args:
        size: the new spatial sizes.
        scale_factor: what the spatial sizes are multiplied by, in place of `size`.
        mode: "nearest", "nearest-exact", "linear" (3D input), "bilinear", "bicubic" or "lanczos" (4D), "trilinear"
            (5D), "area".
        align_corners: centres of the corner elements stay where they are; otherwise outer edges do.
        recompute_scale_factor: resample by the ratio of the sizes instead of by `scale_factor`.
        antialias: average where the image becomes smaller; for bilinear, bicubic and lanczos.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
    elif align_corners is None:
        align_corners = False
    sizes, scales = _output(input, size, scale_factor, recompute_scale_factor)
    _check_mode(input, mode, bool(align_corners), antialias)
    if mode == "area":
        pools = {3: o.adaptive_avg_pool1d, 4: o.adaptive_avg_pool2d, 5: o.adaptive_avg_pool3d}
        return pools[input.dim()](input, sizes)
    _check_sizes(list(input.shape[2:]), sizes)

    def resampled(x: Tensor, places: list[int]) -> Tensor:
        result = x
        for dim in _order([x.shape[place] for place in places[2:]], sizes, mode):
            result = _resampled(result, places[dim + 2], sizes[dim], scales[dim], mode, bool(align_corners), antialias)
        return result.clone() if result is x else result

    return in_layout_of(o, input, resampled)


def _output(input: Tensor, size: Any, scale_factor: Any, recompute: bool | None) -> tuple[list[int], list[Any]]:
    """The spatial sizes to make, and for each the scale to resample by (None: the ratio of the sizes)."""
    dims = input.dim() - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if size is not None:
        sizes = [size] * dims if isinstance(size, int) else list(size)
        if len(sizes) != dims:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and output size of {size}. Please provide input tensor in (N, "
                "C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
            )
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return sizes, [None] * dims
    factors = list(scale_factor) if isinstance(scale_factor, (list, tuple)) else [scale_factor] * dims
    if len(factors) != dims:
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(input.shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
            "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
        )
    sizes = [math.floor(float(n) * factor) for n, factor in zip(input.shape[2:], factors, strict=True)]
    return sizes, [None] * dims if recompute else factors


def _check_sizes(have: list[int], want: list[int]) -> None:
    if min(*have, *want) < 1:
        axes = "DHW"[-len(have) :]
        given, made = (", ".join(f"{a}: {n}" for a, n in zip(axes, sizes, strict=True)) for sizes in (have, want))
        between = " and" if len(have) == 1 else ""  # PyTorch says it so
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({given}){between} output ({made})"
        )


def _check_mode(input: Tensor, mode: str, align_corners: bool, antialias: bool) -> None:
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    if mode == "lanczos" and align_corners:
        raise ValueError("Lanczos mode does not support align_corners=True")
    dims = input.dim()
    if mode in _DIMS_OF_MODE and dims in (3, 4, 5):
        if dims != _DIMS_OF_MODE[mode]:
            raise NotImplementedError(f"Got {dims}D input, but {mode} mode needs {_DIMS_OF_MODE[mode]}D input")
    elif dims not in (3, 4, 5) or mode not in (_ANY_DIMS if dims != 4 else (*_ANY_DIMS, "bicubic", "lanczos")):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {dims}D) for the modes: nearest | linear | "
            f"bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )


def _order(have: list[int], want: list[int], mode: str) -> list[int]:
    """Dimensions as they are resampled: the last first, so that the others are resampled by whole rows. Copying as the
    nearest modes do, the result is the same in any order: what gets smaller goes first, as long as rows are whole."""
    dims = list(reversed(range(len(want))))
    if mode not in ("nearest", "nearest-exact"):
        return dims
    smaller = [d for d in range(len(want)) if want[d] < have[d]]
    return smaller + [d for d in dims if d not in smaller]


def _resampled(
    x: Tensor, dim: int, out: int, scale_factor: float | None, mode: str, align_corners: bool, antialias: bool
) -> Tensor:
    """The tensor with one dimension resampled; all modes are separable."""
    size = x.size(dim)
    if size == out and _copies(x, mode, antialias):
        return x
    if mode in ("nearest", "nearest-exact"):
        places = _nearest(size, out, scale_factor, mode == "nearest-exact")
        return x if places is None else x.index_select(dim, places)
    if not x.is_floating_point() and x.dtype != o.uint8:
        wide = _resampled(x.to(o.float32), dim, out, scale_factor, mode, align_corners, antialias)
        return (wide + 0.5).floor().to(x.dtype)  # as PyTorch rounds
    kernel = {"bicubic": "cubic", "lanczos": "lanczos"}.get(mode, "linear")
    dtype = o.float64 if x.dtype == o.float64 else o.float32
    taps = _tap_tensors(size, out, scale_factor, align_corners, kernel, antialias, dtype)
    return o.resample(x, dim, *taps)


def _copies(x: Tensor, mode: str, antialias: bool) -> bool:
    """Whether a dimension that keeps its size stays as it is, whatever the scale: in these modes, as in PyTorch."""
    return mode != "nearest-exact" and (mode != "bicubic" or antialias or x.dtype == o.uint8)


@lru_cache(maxsize=256)
def _tap_tensors(
    size: int, out: int, scale_factor: float | None, align_corners: bool, kernel: str, antialias: bool, dtype: Any
) -> tuple:
    """Taps as `resample` takes them, and those of its gradient."""
    make = _smooth_taps if antialias else _taps
    rows = make(size, out, scale_factor, align_corners, kernel)
    back: list[Row] = [[] for _ in range(size)]
    for i, row in enumerate(rows):
        for place, weight in row:
            if weight != 0.0:
                back[place].append((i, weight))
    return (*_flat(rows, dtype), *_flat(back, dtype))


def _flat(rows: list[Row], dtype: Any) -> tuple:
    counts = [len(row) for row in rows]
    starts = list(accumulate(counts, initial=0))
    least, most = min(counts), max(counts)
    up_to = -4 * ((most + 3) // 4) if least and most <= _WRITTEN_OUT else 0  # by fours: each makes a kernel of its own
    even = most if least == most <= 4 else up_to
    places = o.tensor([place for row in rows for place, _ in row], dtype=o.int64)
    weights = o.tensor([weight for row in rows for _, weight in row], dtype=dtype)
    return even, o.tensor(starts), places, weights


@lru_cache(maxsize=256)
def _nearest(size: int, out: int, scale_factor: float | None, exact: bool) -> Tensor | None:
    """The place each output element is read from; None: its own."""
    scale = _float32(1.0 / scale_factor if scale_factor else size / out)
    offset = 0.5 if exact else 0.0
    places = [min(math.floor(_float32((i + offset) * scale)), size - 1) for i in range(out)]
    return None if places == list(range(size)) else o.tensor(places)


def _scale(size: int, out: int, scale_factor: float | None, align_corners: bool) -> float:
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / scale_factor if scale_factor else size / out


def _linear_weights(t: float) -> list[float]:
    return [1 - t, t]


def _cubic(x: float, a: float) -> float:
    """Keys' cubic kernel."""
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def _cubic_weights(t: float) -> list[float]:
    return [_cubic(x, -0.75) for x in (t + 1, t, 1 - t, 2 - t)]


def _taps(size: int, out: int, scale_factor: float | None, align_corners: bool, kernel: str) -> list[Row]:
    weights_of: Callable[[float], list[float]] = _cubic_weights if kernel == "cubic" else _linear_weights
    before = 1 if kernel == "cubic" else 0
    scale = _scale(size, out, scale_factor, align_corners)
    rows = []
    for i in range(out):
        at = i * scale if align_corners else (i + 0.5) * scale - 0.5
        at = max(at, 0.0) if kernel == "linear" else at
        first = math.floor(at)
        weights = enumerate(weights_of(at - first), first - before)
        rows.append([(min(max(place, 0), size - 1), weight) for place, weight in weights])
    return rows


def _lanczos(x: float) -> float:
    """sinc(x) sinc(x / 3) for |x| < 3."""
    if abs(x) >= 3.0:
        return 0.0
    t = math.pi * x
    return 1.0 if t == 0.0 else 3.0 * math.sin(t) * math.sin(t / 3.0) / (t * t)


# Half the width, and the weight at a distance, of the kernels that average.
_SMOOTH: dict[str, tuple[float, Callable[[float], float]]] = {
    "linear": (1.0, lambda x: max(0.0, 1.0 - abs(x))),
    "cubic": (2.0, lambda x: _cubic(x, -0.5)),
    "lanczos": (3.0, _lanczos),
}


def _smooth_taps(size: int, out: int, scale_factor: float | None, align_corners: bool, kernel: str) -> list[Row]:
    """Taps of a kernel that is as wide as an output element is in the input."""
    scale = _scale(size, out, scale_factor, align_corners)
    radius, weight_at = _SMOOTH[kernel]
    support = radius * max(scale, 1.0)
    narrow = 1.0 / max(scale, 1.0)
    rows = []
    for i in range(out):
        centre = scale * (i + 0.5)
        first = max(int(centre - support + 0.5), 0)
        end = min(int(centre + support + 0.5), size)
        weights = [weight_at((j - centre + 0.5) * narrow) for j in range(first, end)]
        total = sum(weights)
        rows.append([(first + k, w / total) for k, w in enumerate(weights)])
    return rows


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The old name of `interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode "nearest"."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode "bilinear" and aligned corners."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
