"""Checks of table entries against independent references. `check_entry(name)` runs all of them for one entry.

What an entry gives (`ref`, `samples`, `errors`) is data; what is checked stands here: values in every dtype, gradients
by finite differences and their gradients, layouts, tails, special values, in-place, out= and meta forms, errors.
"""

import importlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.ops import names
from flambeau.ops.signature import parse
from flambeau.ops.table import FLOATS8, TABLE, Entry

REAL_FLOATS = ("float64", "float32", "float16", "bfloat16")
COMPLEX = ("complex128", "complex64")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
# Relative and absolute tolerance against a reference in double precision.
TOLERANCE = {
    "float64": (1e-11, 1e-13), "float32": (1e-5, 1e-6), "float16": (4e-3, 1e-3), "bfloat16": (3e-2, 1e-2),
    "complex128": (1e-10, 1e-12), "complex64": (5e-5, 1e-5),
}  # fmt: skip
SPECIALS = (0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, -1e-310, 1e30, -1e300)


class Reference:
    """What `ref` receives first: NumPy, with SciPy's `special`."""

    def __getattr__(self, name: str) -> Any:
        if name == "special":
            return importlib.import_module("scipy.special")
        return getattr(np, name)


@dataclass
class Sample:
    """Arguments of one call. Arrays stand for tensors."""

    args: tuple
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> list[np.ndarray]:
        return [a for a in self.args if isinstance(a, np.ndarray)]

    def map(self, f: Callable[[np.ndarray], Any]) -> tuple[list, dict]:
        """The arguments with arrays replaced."""
        return [f(a) if isinstance(a, np.ndarray) else a for a in self.args], dict(self.kwargs)


# ---- samples


class Maker:
    """Makes arrays of one dtype kind: f (float64), i (int64), b (bool), c (complex128)."""

    def __init__(self, kind: str, seed: str, low: float = -2.0, high: float = 2.0):
        self.kind, self.low, self.high = kind, low, high
        self.rng = np.random.default_rng(zlib.crc32(f"{seed}{kind}".encode()))

    def x(self, *shape: int) -> np.ndarray:
        """Numbers over the domain."""
        if self.kind == "b":
            return self.mask(*shape)
        if self.kind == "i":
            low, high = int(np.ceil(self.low)), int(np.floor(self.high))
            return self.integers(low, max(high, low) + 1, *shape)
        values = np.asarray(self.rng.uniform(self.low, self.high, shape))
        if self.kind == "c":
            values = values + 1j * self.rng.uniform(self.low, self.high, shape)
        return np.asarray(values)

    def ties(self, *shape: int) -> np.ndarray:
        """Few different numbers, so that many are equal."""
        if self.kind in "bc":
            return self.x(*shape)
        values = self.integers(int(self.low), int(self.high) + 1, *shape)
        return values if self.kind == "i" else values.astype(float)

    def mask(self, *shape: int) -> np.ndarray:
        return self.integers(0, 2, *shape).astype(bool)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.integers(low, high, shape))


def _unary(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 5),), (s.x(),), (s.x(0, 2),)]


def _binary(s: Maker, entry: Entry) -> list[tuple]:
    pairs = [(s.x(3, 5), s.x(3, 5)), (s.x(3, 1), s.x(4)), (s.x(2, 3), s.x()), (s.x(0), s.x(1))]
    second = operand_names(entry)[1]
    if second in entry.numbers and s.kind in "fi":
        pairs.append((s.x(2, 3), s.x().item()))
    return pairs


def _compare(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.ties(4, 5), s.ties(4, 5)), (s.ties(3, 1), s.ties(4))]


def _ternary(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), s.x(3, 4), s.x(3, 4)), (s.x(3, 1), s.x(4), s.x())]


def _mask_binary(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.mask(3, 4), s.x(3, 4), s.x(3, 4)), (s.mask(4), s.x(3, 1), s.x())]


def _integers(s: Maker, entry: Entry) -> list[tuple]:
    n = len(operand_names(entry))
    return [tuple(s.x(3, 4) for _ in range(n)), tuple(s.x(4) if k else s.x(3, 1) for k in range(n))]


def _shifts(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.integers(0, 7, 3, 4), s.integers(0, 4, 3, 4)), (s.integers(0, 7, 3, 4), 2)]


def _reduce(s: Maker, entry: Entry) -> list[tuple]:
    keep = {"keepdim": True} if any(p.name == "keepdim" for p in parse(entry.signatures[0])[0]) else {}
    return [(s.x(3, 4),), (s.x(3, 4), 1), (s.x(2, 3, 4), 0, keep), (s.x(2, 70), -1), (s.x(70, 3), 0)]


def _reduce_dim(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), 1), (s.x(2, 3, 4), 1), (s.x(5, 66), -1), (s.x(66, 5), 0)]


def _matmul(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), s.x(4, 2)), (s.x(4), s.x(4, 3)), (s.x(2, 1, 3, 4), s.x(3, 4, 2)), (s.x(2, 3, 4), s.x(4))]


def _mm(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), s.x(4, 2)), (s.x(1, 1), s.x(1, 5)), (s.x(17, 33), s.x(33, 19)), (s.x(2, 0), s.x(0, 3))]


def _bmm(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(2, 3, 4), s.x(2, 4, 2)), (s.x(3, 1, 2), s.x(3, 2, 1))]


def _mv(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), s.x(4)), (s.x(33, 17), s.x(17))]


def _dot(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(5), s.x(5)), (s.x(1), s.x(1)), (s.x(70), s.x(70))]


def _linear(s: Maker, entry: Entry) -> list[tuple]:
    return [(s.x(3, 4), s.x(2, 4), s.x(2)), (s.x(2, 3, 4), s.x(5, 4)), (s.x(4), s.x(2, 4), s.x(2))]


FAMILIES: dict[str, Callable[[Maker, Entry], list[tuple]]] = {
    "unary": _unary, "binary": _binary, "compare": _compare, "ternary": _ternary, "mask_binary": _mask_binary,
    "integers": _integers, "shifts": _shifts, "reduce": _reduce, "reduce_dim": _reduce_dim, "scan": _reduce_dim,
    "matmul": _matmul, "mm": _mm, "bmm": _bmm, "mv": _mv, "dot": _dot, "linear": _linear,
}  # fmt: skip


def samples(entry: Entry, kind: str = "f") -> list[Sample]:
    """The calls to make for an entry, with values of one kind."""
    spec = entry.samples
    if callable(spec):
        made = spec(Maker(kind, entry.name))
        return [_sample(a) for a in made]
    family, *rest = (spec,) if isinstance(spec, str) else spec
    bounds = tuple(b for b in rest if not isinstance(b, dict))
    keywords = [{}, *(d for d in rest if isinstance(d, dict))]
    made = FAMILIES[family](Maker(kind, entry.name, *bounds), entry)
    plain = [_sample(a) for a in made]
    return plain + [Sample(s.args, {**s.kwargs, **k}) for k in keywords[1:] for s in plain[:1]]


def _sample(args: tuple) -> Sample:
    return Sample(args[:-1], args[-1]) if args and isinstance(args[-1], dict) else Sample(args)


# ---- calling


def operand_names(entry: Entry) -> list[str]:
    """The parameters that are tensors."""
    return [p.name for p in parse(entry.signatures[0])[0] if p.is_tensor]


def function_of(entry: Entry) -> Callable:
    """What users call, or the operator where it has no public name."""
    return getattr(names.operators, entry.base_name)


def dtype_names(entry: Entry) -> list[str]:
    return [str(d).rpartition(".")[2] for d in entry.dtypes if d not in FLOATS8]  # NumPy has none of 8 bits


def kind_of(dtype: str) -> str:
    return "b" if dtype == "bool" else "c" if dtype in COMPLEX else "f" if dtype in REAL_FLOATS else "i"


def tensor(a: np.ndarray, dtype: str) -> torch.Tensor:
    """The array in a dtype; masks and positions stay what they are."""
    t = torch.from_numpy(np.asarray(np.abs(a) if dtype == "uint8" and a.dtype.kind == "i" else np.array(a)))
    own = kind_of(str(t.dtype).rpartition(".")[2])
    return t.to(getattr(torch, dtype)) if own == kind_of(dtype) else t


def flat(result: Any) -> list:
    return list(result) if isinstance(result, tuple | list) else [result]


def numpy_of(t: torch.Tensor) -> np.ndarray:
    if t.dtype in (torch.bfloat16, torch.float16):
        t = t.to(torch.float64)
    return t.detach().numpy()


def expected(entry: Entry, sample: Sample, dtype: str) -> list[np.ndarray]:
    """The reference's results for the values that the tensors of this dtype really hold."""
    as_float = entry.result in ("float", "real_float")
    args, kwargs = sample.map(lambda a: _widened(numpy_of(tensor(a, dtype)), as_float))
    with np.errstate(all="ignore"):
        return [np.asarray(r) for r in flat(entry.ref(Reference(), *args, **kwargs))]


def _widened(a: np.ndarray, as_float: bool) -> np.ndarray:
    if a.dtype.kind == "f" or (as_float and a.dtype.kind in "biu"):
        return a.astype(np.float64)
    if a.dtype.kind == "c":
        return a.astype(np.complex128)
    return a.astype(np.int64) if a.dtype.kind in "iu" else a


def assert_close(got: torch.Tensor, want: np.ndarray, dtype: str, what: str) -> None:
    """Values of one result against the reference, nan and infinities at the same places."""
    values = numpy_of(got)
    assert values.shape == want.shape, f"{what}: shape {values.shape}, expected {want.shape}"
    result = str(got.dtype).rpartition(".")[2]
    if kind_of(result) in "ib":
        same = np.array_equal(values, want.astype(values.dtype))
        assert same, f"{what}: {values.ravel()[:6]}, expected {want.ravel()[:6]}"
        return
    rtol, atol = max((TOLERANCE.get(d, (0, 0)) for d in (dtype, result)), key=lambda t: t[0])
    good = np.isclose(values, want, rtol, atol, equal_nan=True)
    first = tuple(np.argwhere(~good)[0]) if not good.all() else ()
    assert good.all(), f"{what}: element {first} is {values[first]!r}, expected {want[first]!r}"


def bits(t: torch.Tensor) -> bytes:
    """The elements of a tensor in order, as they lie in memory."""
    t = t.detach().contiguous()
    if t.dtype == torch.bfloat16:
        t = t.view(torch.int16)
    return t.numpy().tobytes()


# ---- the checks


def check_forward(entry: Entry) -> None:
    """Values in every dtype that the entry lists."""
    f = function_of(entry)
    for dtype in dtype_names(entry):
        if dtype in ("uint16", "uint32", "uint64"):
            continue
        for sample in samples(entry, kind_of(dtype)):
            args, kwargs = sample.map(lambda a: tensor(a, dtype))  # noqa: B023
            results = flat(f(*args, **kwargs))
            wanted = expected(entry, sample, dtype)
            assert len(wanted) <= len(results)  # positions beside values are not compared
            for k, (got, want) in enumerate(zip(results, wanted, strict=False)):
                assert_close(got, want, dtype, f"{entry.name} {dtype} result {k} of {_text(sample)}")


def _text(sample: Sample) -> str:
    shown = [list(a.shape) if isinstance(a, np.ndarray) else a for a in sample.args]
    return f"({', '.join(map(str, shown))}{', ' + str(sample.kwargs) if sample.kwargs else ''})"


def check_gradient(entry: Entry) -> None:
    """First and second derivatives against finite differences, for real and complex numbers."""
    listed = dtype_names(entry)
    for dtype in ("float64", "complex128"):
        if dtype not in listed:
            continue
        for sample in samples(entry, kind_of(dtype)):
            if any(a.size > 40 for a in sample.arrays) or not any(a.size for a in sample.arrays):
                continue
            check_gradient_of(entry, sample, dtype)


def check_gradient_of(entry: Entry, sample: Sample, dtype: str) -> None:
    f = function_of(entry)
    leaves: list[torch.Tensor] = []

    def leaf(a: np.ndarray):
        t = tensor(a, dtype)
        if t.dtype == getattr(torch, dtype):
            leaves.append(t.requires_grad_())
        return t

    args, kwargs = sample.map(leaf)
    slots = [k for k, a in enumerate(args) if isinstance(a, torch.Tensor) and a.requires_grad]

    def call(*given):
        full = list(args)
        for k, g in zip(slots, given, strict=True):
            full[k] = g
        results = tuple(r for r in flat(f(*full, **kwargs)) if r.dtype.is_floating_point or r.dtype.is_complex)
        return results if len(results) > 1 else results[0]

    what = f"{entry.name} {dtype} of {_text(sample)}"
    assert torch.autograd.gradcheck(call, tuple(leaves)), f"gradient of {what}"
    assert torch.autograd.gradgradcheck(call, tuple(leaves)), f"second gradient of {what}"


def check_layouts(entry: Entry) -> None:
    """The same bits whatever strides, offset and alignment of elementwise operands; others may round differently."""
    f = function_of(entry)
    for dtype in ("float32", "bfloat16", "int32"):
        if dtype not in dtype_names(entry):
            continue
        for sample in samples(entry, kind_of(dtype)):
            args, kwargs = sample.map(lambda a: tensor(a, dtype))  # noqa: B023
            wanted = flat(f(*args, **kwargs))
            for name, layout in LAYOUTS.items():
                moved, _ = sample.map(lambda a: layout(tensor(a, dtype)))  # noqa: B023
                what = f"{entry.name} {dtype} {name} of {_text(sample)}"
                for got, want in zip(flat(f(*moved, **kwargs)), wanted, strict=True):
                    if entry.body.kind == "scalar":
                        assert bits(got) == bits(want), f"{what} differs from contiguous"
                    else:
                        assert_close(got, numpy_of(want), dtype, what)


def _transposed(t: torch.Tensor) -> torch.Tensor:
    return t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else t


def _every_other(t: torch.Tensor) -> torch.Tensor:
    if t.dim() == 0:
        return t
    wide = torch.zeros((*t.shape[:-1], 2 * t.shape[-1]), dtype=t.dtype)
    wide[..., ::2] = t
    return wide[..., ::2]


def _offset(t: torch.Tensor) -> torch.Tensor:
    room = torch.zeros(t.numel() + 1, dtype=t.dtype)
    room[1:] = t.reshape(-1)
    return room[1:].view(t.shape)


def _padded_rows(t: torch.Tensor) -> torch.Tensor:
    if t.dim() < 2:
        return t
    wide = torch.zeros((*t.shape[:-1], t.shape[-1] + 3), dtype=t.dtype)
    wide[..., : t.shape[-1]] = t
    return wide[..., : t.shape[-1]]


LAYOUTS = {"transposed": _transposed, "every other": _every_other, "offset": _offset, "padded rows": _padded_rows}


def check_tails(entry: Entry) -> None:
    """Lengths 0 to 33 give the first elements of a long result, bit for bit."""
    f = function_of(entry)
    dtype = next((d for d in ("float32", "int32", "bool") if d in dtype_names(entry)), None)
    if dtype is None:
        return
    maker = Maker(kind_of(dtype), entry.name, *_bounds(entry))
    n = len(operand_names(entry))
    operands = [tensor(_operand(entry, maker, k), dtype) for k in range(n)]
    whole = [bits(r) for r in flat(f(*operands))]
    for length in range(34):
        for k, r in enumerate(flat(f(*(t[:length] for t in operands)))):
            size = r.element_size() * length
            assert bits(r) == whole[k][:size], f"{entry.name} of {length} elements differs from a longer one"


def _operand(entry: Entry, maker: Maker, k: int) -> np.ndarray:
    role = entry.roles.get(operand_names(entry)[k], "c")
    return maker.mask(40) if role[0] in "mk" else maker.x(40)


def _bounds(entry: Entry) -> tuple:
    spec = entry.samples
    return tuple(b for b in spec[1:] if not isinstance(b, dict)) if isinstance(spec, tuple) else ()


def check_specials(entry: Entry) -> None:
    """nan, infinities, zeros, tiny and huge numbers: the reference's results."""
    n = len(operand_names(entry))
    for dtype in ("float64", "float32"):
        if dtype not in dtype_names(entry):
            continue
        with np.errstate(all="ignore"):
            values = np.array(SPECIALS).astype(dtype).astype(np.float64)
        grids = np.meshgrid(*[values] * n, indexing="ij") if n > 1 else [values]
        sample = Sample(tuple(g.reshape(-1) for g in grids))
        args, kwargs = sample.map(lambda a: tensor(a, dtype))  # noqa: B023
        for got, want in zip(flat(function_of(entry)(*args, **kwargs)), expected(entry, sample, dtype), strict=True):
            with np.errstate(all="ignore"):
                want = want.astype(dtype).astype(np.float64) if want.dtype.kind == "f" else want
            assert_close(got, want, dtype, f"{entry.name} {dtype} of special values")


def check_forms(entry: Entry) -> None:
    """In-place, out= and meta forms agree with the plain one."""
    f = function_of(entry)
    dtype = next((d for d in ("float32", "int64", "bool", "complex64") if d in dtype_names(entry)), "float32")
    for sample in samples(entry, kind_of(dtype)):
        args, kwargs = sample.map(lambda a: tensor(a, dtype))
        results = flat(f(*args, **kwargs))
        _check_meta(entry, f, sample, dtype, results)
        if entry.inplace_names:
            _check_in_place(entry, args, kwargs, results[0])
        if len(results) == 1 and entry.names and entry.names[0] in names.namespace():
            _check_out(entry, args, kwargs, results[0])


def _check_meta(entry: Entry, f: Callable, sample: Sample, dtype: str, results: list) -> None:
    args, kwargs = sample.map(lambda a: tensor(a, dtype).to("meta"))
    for got, want in zip(flat(f(*args, **kwargs)), results, strict=True):
        assert got.device.type == "meta", f"{entry.name}: a result for meta tensors is on {got.device}"
        seen, real = (got.shape, got.dtype, got.stride()), (want.shape, want.dtype, want.stride())
        assert seen == real, f"{entry.name} on meta {_text(sample)}: {seen}, expected {real}"


def _check_in_place(entry: Entry, args: list, kwargs: dict, result: torch.Tensor) -> None:
    self, *others = args
    castable = torch.can_cast(result.dtype, self.dtype) if hasattr(torch, "can_cast") else result.dtype == self.dtype
    if self.shape != result.shape or not castable:
        return
    mine, version = self.clone(), 0
    version = mine._version
    back = getattr(names.operators, f"{entry.base_name}_")(mine, *others, **kwargs)
    assert back is mine, f"{entry.name}_ does not return the tensor it changed"
    assert mine._version > version, f"{entry.name}_ does not count as a change"
    assert bits(mine) == bits(result.to(mine.dtype)), f"{entry.name}_ differs from {entry.name}"


def _check_out(entry: Entry, args: list, kwargs: dict, result: torch.Tensor) -> None:
    out = torch.empty(result.shape, dtype=result.dtype)
    back = names.namespace()[entry.names[0]](*args, **kwargs, out=out)
    assert back is out and bits(out) == bits(result), f"{entry.name}(out=) differs from {entry.name}"


def check_errors(entry: Entry) -> None:
    """Calls that must fail do, with the exception and a part of the sentence that the entry says."""
    for arguments, exception, sentence in entry.errors:
        args = [tensor(a, str(a.dtype)) if isinstance(a, np.ndarray) else a for a in arguments(Maker("f", entry.name))]
        try:
            function_of(entry)(*args)
        except exception as error:
            assert sentence in str(error), f"{entry.name}: {error}, expected {sentence}"
        else:
            raise AssertionError(f"{entry.name}{_text(Sample(tuple(args)))} did not fail")


# ---- an entry as a whole


def is_checked(entry: Entry) -> bool:
    """Whether the entry gives what these checks need."""
    return entry.ref is not None and entry.samples is not None


def is_elementwise(entry: Entry) -> bool:
    """A Scalar entry that takes its operands and nothing else."""
    needed = [p for p in parse(entry.signatures[0])[0] if p.default is ... and not p.is_tensor and not p.optional]
    return entry.body.kind == "scalar" and not needed


def checks_of(entry: Entry) -> Iterator[Callable[[Entry], None]]:
    """The checks that apply."""
    if is_checked(entry):
        yield check_forward
        yield check_layouts
        yield check_forms
        if entry.differentiable:
            yield check_gradient
        if is_elementwise(entry):
            yield check_tails
    if entry.errors:
        yield check_errors


def check_entry(name: str) -> None:
    """Everything there is to check about an entry; raises AssertionError with what is wrong."""
    for check in checks_of(TABLE[name]):
        check(TABLE[name])
