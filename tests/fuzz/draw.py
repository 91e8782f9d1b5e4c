"""Random arguments: tensors of every layout, dimensions in and out of range, wrong types, empty sizes, huge numbers."""

import functools
import random
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

import flambeau as torch
import opcheck
from flambeau.ops.signature import Param, parse
from flambeau.ops.table import TABLE, Entry
from fuzz import together

SIZES = (0, 1, 2, 3, 3, 4, 5, 8, 17)
HUGE = (2**50, 2**62, 2**63 - 1, -(2**63), -(2**50))
SPECIALS = (0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), -float("inf"), float("nan"), 1e-40, 1e300)
DTYPES = [v for v in vars(torch._core).values() if isinstance(v, torch.dtype)]
INDEX_NAMES = frozenset(
    ["index", "indices", "target", "mask", "sorter", "pivots", "LU_pivots", "boundaries", "input2", "test_elements", "positions", "repeats", "offsets", "lengths"]
)
WORDS = {
    "reduce": ("sum", "prod", "mean", "amax", "amin", "add", "multiply"),
    "mode": ("constant", "reflect", "replicate", "circular", "reduced", "complete", "r"),
    "approximate": ("none", "tanh"),
    "rounding_mode": ("floor", "trunc"),
    "padding": ("same", "valid"),
    "interpolation": ("linear", "lower", "higher", "nearest", "midpoint"),
    "indexing": ("ij", "xy"),
    "UPLO": ("L", "U"),
    "side": ("left", "right"),
    "driver": ("gelsd", "gels", "gelsy", "gelss", "gesvd"),
}
WRONG = (None, "x", object(), [], {}, (1, "a"), 1.5, -3, True, np.float32(2), np.arange(3), b"\x00", 1j, [[1], [2, 3]])


@functools.cache
def _samples(name: str, kind: str) -> list[opcheck.Sample]:
    """The calls of an entry's tests; none where they know nothing of this kind of number."""
    try:
        return opcheck.samples(TABLE[name], kind)
    except (ValueError, TypeError):
        return []


class Draw:
    """Draws the arguments of one call. The same seed gives the same arguments.

    Attributes:
        name: of the operator.
        shape: that most tensors of the call have, or broadcast to.
        dtype: that most of them have.
    """

    name = ""

    def __init__(self, seed: str):
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(self.rng.getrandbits(60))
        self.shape = self._shape(self.rng.choice((1, 1, 2, 2, 2, 3, 3, 4)))
        self.dtype = torch.float32

    # ---- for `together`

    def sizes(self, count: int, low: int, high: int) -> list[int]:
        return [self.rng.randint(low, high) for _ in range(count)]

    def x(self, *shape: int, of: tuple = (), dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor of this shape in some layout; `of` draws the dtype that the call's next tensors have as well."""
        if of:
            self.choose(of)
        return self.laid_out(self.values(shape, dtype or self.dtype))

    def choose(self, dtypes: tuple) -> None:
        self.dtype = self.rng.choice(dtypes)

    def ordinary(self, *shape: int, of: tuple) -> torch.Tensor:
        """Nothing special, in a block of its own: what lies behind the last element is not its."""
        self.choose(of)
        return torch.from_numpy(self.numbers.standard_normal(shape)).to(self.dtype).clone()

    def like(self, t: torch.Tensor) -> torch.Tensor:
        return self.x(*t.shape, dtype=t.dtype)

    def index(self, size: int, *shape: int) -> torch.Tensor:
        """Positions in a dimension of this size; now and then one is outside."""
        low, high = (-size - 1, size + 1) if self.chance(0.1) else (0, max(size, 1))
        return self.laid_out(torch.from_numpy(self.numbers.integers(low, high, shape)))

    def some(self, **options: Any) -> dict[str, Any]:
        """Each of the options, or not."""
        return {name: value for name, value in options.items() if self.chance(0.5)}

    # ---- by the signature

    def _shape(self, ndim: int) -> tuple[int, ...]:
        sizes = SIZES if self.rng.random() < 0.3 else SIZES[1:6]
        return tuple(self.rng.choice(sizes) for _ in range(ndim))

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    # ---- tensors

    def tensor(self, param: Param, entry: Entry) -> torch.Tensor:
        """A tensor for a parameter."""
        shape = self.shape
        if self.chance(0.15):
            shape = self._shape(self.rng.randrange(5))
        elif self.chance(0.15):
            shape = tuple(1 if self.chance(0.4) else n for n in shape[self.rng.randrange(len(shape) + 1) :])
        elif self.chance(0.05):
            shape = tuple(reversed(shape))
        index = param.name in INDEX_NAMES and self.chance(0.8)
        dtype = torch.int64 if index else self.dtype if self.chance(0.9) else self.rng.choice(DTYPES)
        return self.laid_out(self.values(shape, dtype, index))

    def values(self, shape: tuple[int, ...], dtype: torch.dtype, index: bool = False) -> torch.Tensor:
        """Elements of a dtype: ordinary numbers, now and then special ones."""
        if index:
            low, high = (-1, 4) if self.chance(0.2) else (0, max(1, min([n for n in self.shape if n] or [1])))
            return torch.from_numpy(self.numbers.integers(low, high, shape)).to(dtype)
        numbers = self.numbers.standard_normal(shape) * (3 if self.chance(0.5) else 1)
        if self.chance(0.1):
            numbers = np.where(self.numbers.random(shape) < 0.3, self.rng.choice(SPECIALS), numbers)
        return torch.from_numpy(np.asarray(numbers)).to(dtype)

    def laid_out(self, t: torch.Tensor) -> torch.Tensor:
        """The same elements in a layout: transposed, every other, unaligned, expanded; now and then with a gradient."""
        way = self.rng.randrange(8)
        if way == 1 and t.ndim > 1:
            t = t.transpose(0, -1).contiguous().transpose(0, -1)
        elif way == 2 and t.ndim:
            wide = torch.zeros((*t.shape[:-1], 2 * t.shape[-1] + 1), dtype=t.dtype)
            wide[..., 1::2] = t
            t = wide[..., 1::2]
        elif way == 3:
            t = torch.cat([torch.zeros(3, dtype=t.dtype), t.reshape(-1)])[3:].reshape(t.shape)
        elif way == 4 and t.ndim and t.shape[0]:
            t = t[:1].expand(t.shape)
        if (t.is_floating_point() or t.is_complex()) and self.chance(0.15):
            t = t.requires_grad_() if t.is_leaf else t
        return t

    # ---- everything else

    def integer(self, param: Param) -> int:
        if self.chance(0.02):
            return self.rng.choice(HUGE)
        if self.chance(0.1):
            return self.rng.randrange(-9, 0)
        dim = "dim" in param.name or param.name in ("source", "destination")
        return self.rng.randrange(-len(self.shape), len(self.shape)) if dim else self.rng.choice((1, 1, 2, 2, 3, 0, 4))

    def integers(self, param: Param) -> Any:
        if param.name in ("size", "shape", "sizes") and self.chance(0.6):
            return self.resized()
        if param.name in ("dims", "dim", "permutation") and self.chance(0.7):
            dims = self.rng.sample(range(len(self.shape)), len(self.shape))
            return dims if self.chance(0.6) else dims[: self.rng.randrange(len(dims) + 1)]
        count = int(param.type[4:-1]) if param.type[4:-1] and self.chance(0.8) else self.rng.randrange(5)
        return [self.integer(param) for _ in range(count)]

    def resized(self) -> list[int]:
        """Sizes with as many elements as the call's tensors have, mostly."""
        sizes = list(self.shape)
        if self.chance(0.4) and len(sizes) > 1:
            sizes = [sizes[0] * sizes[1], *sizes[2:]]
        if self.chance(0.3) and sizes:
            sizes[self.rng.randrange(len(sizes))] = -1
        return sizes

    def real(self) -> float:
        return self.rng.choice(SPECIALS) if self.chance(0.15) else round(self.rng.uniform(-2, 2), 3)

    def argument(self, param: Param, entry: Entry) -> Any:
        """An argument of the parameter's type."""
        kind = param.type
        if param.optional and self.chance(0.5):
            return None
        if kind == "Tensor":
            return self.tensor(param, entry)
        if kind.startswith(("Tensor[", "Tensor?[")):
            return [self.tensor(param, entry) for _ in range(self.rng.choice((1, 2, 2, 3, 0)))]
        if kind.startswith("int["):
            return self.integer(param) if self.chance(0.15) else self.integers(param)
        if kind == "int":
            return self.integer(param)
        if kind in ("float", "Scalar"):
            return self.real() if kind == "float" or self.chance(0.6) else self.integer(param)
        return self._other(kind, param)

    def _other(self, kind: str, param: Param) -> Any:
        if kind == "bool":
            return self.chance(0.5)
        if kind == "str":
            return self.rng.choice(WORDS.get(param.name, ("sum", "none")) if self.chance(0.9) else ("", "nonsense"))
        if kind == "ScalarType":
            return self.rng.choice(DTYPES)
        if kind == "Device":
            return self.rng.choice(("cpu", "meta", "cuda:7"))
        if kind == "MemoryFormat":
            return self.rng.choice((torch.contiguous_format, torch.preserve_format, torch.channels_last))
        if kind == "Layout":
            return torch.strided
        if kind == "Generator":
            return torch.Generator().manual_seed(self.rng.getrandbits(32))
        return self.rng.choice(([self.values(self.shape, self.dtype)], self.integer(param), self.resized()))

    def bound(self, entry: Entry) -> tuple[Callable, list[Any], dict[str, Any]]:
        """A call by one of the operator's names: a function, a method, or one in place."""
        public = self.rng.choice((*entry.names, *entry.inplace_names))
        args, kwargs = self.call(entry)
        if public.startswith("Tensor.") and args and isinstance(args[0], torch.Tensor):
            return getattr(args[0], public.removeprefix("Tensor.")), args[1:], kwargs
        return attrgetter(public)(torch), args, kwargs

    def call(self, entry: Entry) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for an entry: such as belong together, those of its tests, or drawn by the signature; now and then
        one is quite wrong."""
        self.name = entry.name
        if entry.dtypes and self.chance(0.85):
            self.dtype = self.rng.choice(entry.dtypes)
        args, kwargs = self._together(entry) or self._sampled(entry) or self._typed(entry)
        if args and self.chance(0.15):
            args[self.rng.randrange(len(args))] = self.rng.choice(WRONG)
        if args and self.chance(0.02):
            args.pop()
        if self.chance(0.01):
            kwargs["nonsense"] = 1
        if self.chance(0.05):
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            aliased = tensors and self.chance(0.3)
            kwargs["out"] = self.rng.choice(tensors) if aliased else self.laid_out(self.values(self.shape, self.dtype))
        return args, kwargs

    def _together(self, entry: Entry) -> tuple[list[Any], dict[str, Any]] | None:
        draw = together.drawer(entry.name)
        if draw is None or self.chance(0.25):
            return None
        *args, last = draw(self)
        return (args, last) if isinstance(last, dict) else ([*args, last], {})

    def _sampled(self, entry: Entry) -> tuple[list[Any], dict[str, Any]] | None:
        name = str(self.dtype).rpartition(".")[2]
        made = _samples(entry.name, opcheck.kind_of(name)) if entry.samples is not None and self.chance(0.5) else []
        if not made:
            return None
        return self.rng.choice(made).map(lambda a: self.laid_out(opcheck.tensor(a, name)))

    def _typed(self, entry: Entry) -> tuple[list[Any], dict[str, Any]]:
        signature = self.rng.choice(entry.signatures)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for p in parse(signature)[0]:
            if p.default is not ... and self.chance(0.5 if not p.keyword_only else 0.8):
                if p.keyword_only:
                    continue
                break
            value = self.argument(p, entry)
            if p.keyword_only:
                kwargs[p.name] = value
            else:
                args.append(value)
        return args, kwargs
