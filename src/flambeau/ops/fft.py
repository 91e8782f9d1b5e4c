"""Discrete Fourier transforms, through NumPy's pocketfft.

Three operators do the work, along any dimensions: complex to complex (`fft_c2c`), real to complex (`fft_r2c`), and the
real signal of half a spectrum (`fft_c2r`). A transform writes its result once, in place along further dimensions, and
scales it in the same pass. Results lie in memory as PyTorch's do: transformed dimensions last.
"""

import math
from functools import cache, partial
from threading import Thread

from flambeau._core import get_num_threads

from .creation import OPTIONS
from .launch import needs_grad, wrap_dim
from .linalg.library import GIVEN
from .table import Composite, op

# What a transform is divided by -> NumPy's `norm` forward and backward.
_FORWARD = {"none": "backward", "root": "ortho", "n": "forward"}
_INVERSE = {"none": "forward", "root": "ortho", "n": "backward"}


# ---- the three transforms


def _array(x):
    """x as NumPy sees it."""
    return x.detach().cpu().numpy()


_SHARED = 1 << 16  # elements from which on threads share a transform


@cache
def _takes_out() -> bool:
    """Whether NumPy's transforms write to a given array."""
    import numpy as np

    return np.lib.NumpyVersion(np.__version__) >= "2.0.0"


def _run(function: str, a, axis: int, norm: str, out, n: int) -> None:
    """One transform along an axis, written to `out`, which may be `a`. Threads take whole lines."""
    import numpy as np

    transform = partial(getattr(np.fft, function), n=n, axis=axis, norm=norm)

    def part(a, out) -> None:
        if _takes_out():
            transform(a, out=out)
        else:
            out[...] = transform(a)

    others = [d for d in range(a.ndim) if d != axis % a.ndim]
    threads = get_num_threads() if others and out.size >= _SHARED else 1
    if threads == 1:
        return part(a, out)
    split = max(others, key=lambda d: a.shape[d])
    pieces = zip(np.array_split(a, threads, split), np.array_split(out, threads, split), strict=True)
    _at_once([partial(part, *piece) for piece in pieces])


def _at_once(calls: list) -> None:
    """Each call on a thread of its own; NumPy lets others run while it transforms."""
    errors: list[BaseException] = []

    def guarded(call) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=guarded, args=(call,)) for call in calls[1:]]
    for thread in threads:
        thread.start()
    guarded(calls[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _memory_order(x, dims) -> list[int]:
    """The other dimensions by falling strides, then the transformed ones in the order given."""
    strides = x.stride()
    return sorted(set(range(x.dim())) - set(dims), key=lambda d: -strides[d]) + list(dims)


def _by_strides(x, dims) -> list[int]:
    strides = x.stride()
    return sorted(dims, key=lambda d: -strides[d])


def _transformed(o, x, order: list[int], sizes: list[int], dtype, fill):
    """A tensor whose memory has the dimensions in an order; `fill(source, result)` writes it, both in that order."""
    inverse = sorted(range(len(order)), key=order.__getitem__)
    shape = [sizes[d] for d in order]
    if x.is_meta:
        return o.empty(shape, dtype=dtype, device=x.device).permute(inverse)
    import numpy as np

    result = np.empty(shape, str(dtype).rpartition(".")[2])
    if result.size:
        fill(_array(x.permute(order)), result)
    return o.from_numpy(result).to(x.device).permute(inverse)


def _compute_c2c(o, x, dims, scaling: str, forward: bool):
    dims = _by_strides(x, dims)
    function, norm = ("fft", _FORWARD[scaling]) if forward else ("ifft", _INVERSE[scaling])

    def fill(source, result):
        for axis in range(-1, -len(dims) - 1, -1):
            _run(function, source, axis, norm, result, result.shape[axis])
            source = result

    return _transformed(o, x, _memory_order(x, dims), list(x.shape), x.dtype, fill)


def _compute_r2c(o, x, dims, scaling: str, onesided: bool):
    last = [dims[-1]] if onesided else []
    dims = _by_strides(x, dims[: len(dims) - len(last)]) + last
    n = x.shape[dims[-1]]
    half = n // 2 + 1
    sizes = list(x.shape)
    sizes[dims[-1]] = half if onesided else n
    norm = _FORWARD[scaling]

    def fill(source, result):
        import numpy as np

        _run("rfft", source, -1, norm, result[..., :half], n)
        if not onesided:
            np.conjugate(result[..., n - half : 0 : -1], out=result[..., half:])
        for axis in range(-2, -len(dims) - 1, -1):
            _run("fft", result, axis, norm, result, result.shape[axis])

    return _transformed(o, x, _memory_order(x, dims), sizes, _complex(o, x.dtype), fill)


def _compute_c2r(o, x, dim: int, scaling: str, n: int):
    sizes = list(x.shape)
    sizes[dim] = n

    def fill(source, result):
        _run("irfft", source, -1, _INVERSE[scaling], result, n)

    return _transformed(o, x, _memory_order(x, [dim]), sizes, _real(o, x.dtype), fill)


def _real(o, dtype):
    return {o.complex64: o.float32, o.complex128: o.float64}.get(dtype, dtype)


def _complex(o, dtype):
    return {o.float32: o.complex64, o.float64: o.complex128}.get(dtype, dtype)


def _with_history(compute, given: str):
    """The operator of a transform: computed outside of the tape, then given the history of its operand."""

    def body(o, self, *arguments):
        result = compute(o, self.detach(), *arguments)
        return getattr(o, given)(self, [result], *arguments) if needs_grad(o, self) else result

    return Composite(body)


def _r2c_gradient(o, g, self, results, dim, scaling, onesided):
    """The real part of the inverse transform, the half that was left out being zeros."""
    if onesided:
        g = o.fft_resized(g, [dim[-1]], [self.shape[dim[-1]]])
    return o.real(o.fft_c2c(g, dim, scaling, False)), [None]


def _c2r_gradient(o, g, self, results, dim, scaling, n):
    """Half of the transform; what stands for two elements of the whole spectrum counts twice."""
    return o.fft_doubled(o.fft_r2c(g, [dim], scaling, True), dim, g.shape[dim]), [None]


for _name, _parameters, _compute, _grad, _doc in (
    ("c2c", "int[] dim, str scaling, bool forward", _compute_c2c,
     lambda o, g, self, results, dim, scaling, forward: (o.fft_c2c(g, dim, scaling, not forward), [None]),
     "The transform of complex numbers along dimensions."),
    ("r2c", "int[] dim, str scaling, bool onesided", _compute_r2c, _r2c_gradient,
     "The transform of real numbers along dimensions; onesided: the half along the last one that says all."),
    ("c2r", "int dim, str scaling, int n", _compute_c2r, _c2r_gradient,
     "The real signal of n elements whose transform begins with self."),
):  # fmt: skip
    op(
        f"fft_{_name}_of(Tensor self, Tensor[] results, {_parameters}) -> Tensor",
        names=(),
        body=GIVEN,
        grad=_grad,
        doc=f"{_doc} It is given.",
    )
    op(
        f"fft_{_name}(Tensor self, {_parameters}) -> Tensor",
        names=(),
        body=_with_history(_compute, f"fft_{_name}_of"),
        doc=f"{_doc} `scaling` is none, root (of the number of points) or n.",
    )


def _resized(o, self, dim, sizes):
    """Dimensions cut, or filled with zeros behind."""
    pads = [0] * (2 * self.dim())
    for d, size in zip(dim, sizes, strict=True):
        if size < self.shape[d]:
            self = o.narrow(self, d, 0, size)
        else:
            pads[2 * (self.dim() - 1 - d) + 1] = size - self.shape[d]
    return o.pad(self, pads) if any(pads) else self


op(
    "fft_resized(Tensor self, int[] dim, int[] sizes) -> Tensor",
    names=(),
    body=Composite(_resized),
    doc="self with dimensions cut, or filled with zeros behind.",
)


def _doubled(o, self, dim, n):
    half = self.shape[dim]
    weights = o.ones([half], dtype=_real(o, self.dtype), device=self.device)
    if n > half:
        o.narrow(weights, 0, 1, n - half).fill_(2)
    return o.mul(self, o.reshape(weights, [half] + [1] * (self.dim() - 1 - dim)))


op(
    "fft_doubled(Tensor self, int dim, int n) -> Tensor",
    names=(),
    body=Composite(_doubled),
    doc="Half a spectrum of n elements, what occurs twice in the whole doubled.",
)


# ---- arguments


def _scaling(norm, forward: bool) -> str:
    """What a transform is divided by."""
    if norm is None or norm == "backward":
        return "none" if forward else "n"
    if norm == "forward":
        return "n" if forward else "none"
    if norm == "ortho":
        return "root"
    raise RuntimeError(f'Invalid normalization mode: "{norm}"')


def _promoted(o, x, to_complex: bool):
    """x as float32, float64, complex64 or complex128."""
    dtype = x.dtype
    if dtype in (o.float16, o.bfloat16):
        raise RuntimeError(f"Unsupported dtype {dtype.title}")
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = o.get_default_dtype()
    return x.to(_complex(o, dtype) if to_complex else dtype)


def _wrapped(x, dim: int) -> int:
    if x.dim() == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, x.dim())


def _check_points(n: int) -> None:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")


def _shape_and_dims(x, s, dim) -> tuple[list[int], list[int]]:
    """Sizes and dimensions of a transform, checked."""
    dims = None if dim is None or (not dim and s is None) else [_wrapped(x, d) for d in dim]
    if dims is not None and len(set(dims)) < len(dims):
        raise RuntimeError("FFT dims must be unique")
    if s is not None:
        if dims is not None and len(dims) != len(s):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(s) > x.dim():
            raise RuntimeError(
                f"Got shape with {len(s)} values but input tensor only has {x.dim()} dimensions."
            )
        dims = list(range(x.dim() - len(s), x.dim())) if dims is None else dims
        sizes = [x.shape[d] if n == -1 else n for n, d in zip(s, dims, strict=True)]
    else:
        dims = (list(range(x.dim())) if dim is None else []) if dims is None else dims
        sizes = [x.shape[d] for d in dims]
    for n in sizes:
        _check_points(n)
    return sizes, dims


def _half_shape_and_dims(x, s, dim, name: str) -> tuple[list[int], list[int], int]:
    """As `_shape_and_dims`, for half a spectrum: the size of the real signal comes last."""
    sizes, dims = _shape_and_dims(x, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    given = s is not None and len(s) > 0 and s[-1] != -1
    n = s[-1] if given else 2 * (sizes[-1] - 1)
    _check_points(n)
    return [*sizes[:-1], n // 2 + 1], dims, n


# ---- one dimension


def _one(o, self, n, dim, to_complex: bool):
    x = _promoted(o, self, to_complex)
    dim = _wrapped(x, dim)
    n = x.shape[dim] if n is None else n
    _check_points(n)
    return _resized(o, x, [dim], [n]), dim


def _complex_transform(forward: bool):
    def body(o, self, n=None, dim=-1, norm=None):
        x, dim = _one(o, self, n, dim, self.is_complex())
        scaling = _scaling(norm, forward)
        if x.is_complex():
            return o.fft_c2c(x, [dim], scaling, forward)
        spectrum = o.fft_r2c(x, [dim], scaling, False)
        return spectrum if forward else o.conj_physical(spectrum)

    return body


def _half_transform(name: str, forward: bool):
    def body(o, self, n=None, dim=-1, norm=None):
        if self.is_complex():
            raise RuntimeError(f"{name} expects a real input tensor, but got {self.dtype.title}")
        x, dim = _one(o, self, n, dim, False)
        spectrum = o.fft_r2c(x, [dim], _scaling(norm, forward), True)
        return spectrum if forward else o.conj_physical(spectrum)

    return body


def _real_transform(forward: bool):
    def body(o, self, n=None, dim=-1, norm=None):
        x = _promoted(o, self, True)
        dim = _wrapped(x, dim)
        points = 2 * (x.shape[dim] - 1) if n is None else n
        _check_points(points)
        x = _resized(o, x, [dim], [points // 2 + 1])
        return o.fft_c2r(o.conj_physical(x) if forward else x, dim, _scaling(norm, forward), points)

    return body


# ---- several dimensions


def _complex_transforms(forward: bool):
    def body(o, self, s=None, dim=None, norm=None):
        sizes, dims = _shape_and_dims(self, s, dim)
        scaling = _scaling(norm, forward)
        x = _resized(o, _promoted(o, self, self.is_complex() or not forward), dims, sizes)
        if not dims:
            return o.clone(x).to(_complex(o, x.dtype))
        return o.fft_c2c(x, dims, scaling, forward) if x.is_complex() else o.fft_r2c(x, dims, scaling, False)

    return body


def _rfftn(o, self, s=None, dim=None, norm=None):
    if self.is_complex():
        raise RuntimeError(f"rfftn expects a real-valued input tensor, but got {self.dtype.title}")
    sizes, dims = _shape_and_dims(self, s, dim)
    if not dims:
        raise RuntimeError("rfftn must transform at least one axis")
    x = _resized(o, _promoted(o, self, False), dims, sizes)
    return o.fft_r2c(x, dims, _scaling(norm, True), True)


def _ihfftn(o, self, s=None, dim=None, norm=None):
    sizes, dims = _shape_and_dims(self, s, dim)
    if not dims:
        raise RuntimeError("ihfftn must transform at least one axis")
    if self.is_complex():
        raise RuntimeError(f"Only supports floating-point dtypes, but found: {self.dtype.title}")
    x = _resized(o, _promoted(o, self, False), dims, sizes)
    scaling = _scaling(norm, False)
    half = o.conj_physical(o.fft_r2c(x, dims[-1:], scaling, True))
    return o.fft_c2c(half, dims[:-1], scaling, False) if dims[:-1] else half


def _real_transforms(name: str, forward: bool):
    def body(o, self, s=None, dim=None, norm=None):
        sizes, dims, n = _half_shape_and_dims(self, s, dim, name)
        scaling = _scaling(norm, forward)
        x = _resized(o, _promoted(o, self, True), dims, sizes)
        if dims[:-1]:
            x = o.fft_c2c(x, dims[:-1], scaling, forward)
        return o.fft_c2r(o.conj_physical(x) if forward else x, dims[-1], scaling, n)

    return body


_NORM = (
    "\n\n`norm` says where the division by the number of points n stands: \"backward\" (in inverse transforms, the "
    "default), \"forward\", or \"ortho\" (by sqrt(n) in both). Sizes are cut, or filled with zeros."
)  # fmt: skip
_ONE_DIM = "(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor"
_MANY_DIMS = "(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"
_TWO_DIMS = "(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"

# name, body along one dimension, along several, what it is, a numpy function of the same name for one, for several
_TRANSFORMS = (
    ("fft", _complex_transform(True), _complex_transforms(True), "Discrete Fourier transform"),
    ("ifft", _complex_transform(False), _complex_transforms(False), "Inverse discrete Fourier transform"),
    ("rfft", _half_transform("rfft", True), _rfftn, "First half of the discrete Fourier transform of real numbers"),
    ("irfft", _real_transform(False), _real_transforms("irfftn", False), "Inverse of rfft"),
    ("hfft", _real_transform(True), _real_transforms("hfftn", True),
     "Discrete Fourier transform of a Hermitian signal, of which self is the first half"),
    ("ihfft", _half_transform("ihfft", False), _ihfftn, "Inverse of hfft"),
)  # fmt: skip


def _reference(name: str):
    return lambda np, *args, **kwargs: getattr(np.fft, name)(*args, **kwargs)


for _name, _single, _several, _text in _TRANSFORMS:
    op(f"fft_{_name}{_ONE_DIM}", names=(f"fft.{_name}",), body=Composite(_single), ref=_reference(_name),
       doc=f"{_text}, along one dimension.{_NORM}")  # fmt: skip
    op(f"fft_{_name}2{_TWO_DIMS}", names=(f"fft.{_name}2",), body=Composite(_several),
       doc=f"{_text}, along two dimensions.{_NORM}")  # fmt: skip
    op(f"fft_{_name}n{_MANY_DIMS}", names=(f"fft.{_name}n",), body=Composite(_several),
       doc=f"{_text}, along several dimensions: `dim`, or the last ones, or all.{_NORM}")  # fmt: skip


# ---- frequencies


def _shifted(back: bool):
    def body(o, self, dim=None):
        dims = list(range(self.dim())) if dim is None else [wrap_dim(d, self.dim()) for d in dim]
        if not dims:
            raise RuntimeError("`shifts` required")
        halves = [self.shape[d] // 2 for d in dims]
        shifts = [self.shape[d] - h for d, h in zip(dims, halves, strict=True)] if back else halves
        return o.roll(self, shifts, dims)

    return body


for _name, _back, _text in (
    ("fftshift", False, "Frequency 0 moved from the front to the middle, along dimensions."),
    ("ifftshift", True, "Inverse of fftshift."),
):
    op(
        f"fft_{_name}(Tensor self, int[1]? dim=None) -> Tensor",
        names=(f"fft.{_name}",),
        body=Composite(_shifted(_back)),
        ref=(lambda name: lambda np, x, dim=None: getattr(np.fft, name)(x, axes=dim))(_name),
        doc=_text,
    )


def _frequencies(name: str):
    def body(o, n, d, dtype, layout, device, pin_memory, requires_grad):
        dtype = dtype or o.get_default_dtype()
        if not (dtype.is_floating_point or dtype.is_complex):
            raise RuntimeError(f"{name} requires a floating point or complex dtype")
        if dtype.is_complex:
            raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dtype.title}'")
        count = n if name == "fftfreq" else int(n / 2) + 1
        if count < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {count}: [{count}]")
        line = o.arange(0, count, 1, dtype=dtype, device=device)
        if name == "fftfreq":
            line = o.where(o.lt(line, (n + 1) // 2), line, o.sub(line, n))
        factor = 1 / (n * d) if n * d else math.inf
        return o.mul(line, factor).requires_grad_(requires_grad)

    return body


for _name, _text in (
    ("fftfreq", "The frequencies of fft of n samples that lie d apart, negative ones behind."),
    ("rfftfreq", "The frequencies of rfft of n samples that lie d apart."),
):
    op(
        f"fft_{_name}(int n, float d=1.0, *, {OPTIONS}) -> Tensor",
        names=(f"fft.{_name}",),
        body=Composite(_frequencies(_name)),
        differentiable=False,
        ref=_reference(_name),
        doc=_text,
    )
