"""What cases are made of: arrays that stand for tensors, and the calls that they go into."""

import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import flambeau


@dataclass(frozen=True)
class Fixed:
    """An array that is neither differentiated by nor mapped over."""

    array: np.ndarray


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        args, kwargs: the arguments; arrays, also in lists, stand for tensors.
        call: `call(f, *args, **kwargs)` where more than f is called: arguments that need a form (symmetric, an inverse
            that exists), results that are unique up to a phase.
    """

    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    call: Callable | None = None

    @property
    def is_random(self) -> bool:
        return self.call in (seeded, drawn_in_place) or hasattr(self.call, "draws")

    @property
    def is_in_place(self) -> bool:
        return self.call in (changed, drawn_in_place)

    def __str__(self) -> str:
        def shown(v: Any) -> str:
            if isinstance(v, Fixed):
                return shown(v.array)
            if isinstance(v, np.ndarray):
                return f"{v.dtype}{list(v.shape)}"
            return f"[{', '.join(map(shown, v))}]" if isinstance(v, list | tuple) else repr(v)

        return f"({', '.join([*map(shown, self.args), *(f'{k}={shown(v)}' for k, v in self.kwargs.items())])})"


def quietly(f: Callable, *args: Any, **options: Any) -> Any:
    """A call of a function that warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f(*args, **options)


def changed(f: Callable, x: Any, *rest: Any, **options: Any) -> Any:
    """In-place forms change a copy."""
    return f(x * 1, *rest, **options)


def seeded(f: Callable, *args: Any, **options: Any) -> Any:
    """A call that draws random numbers, always the same."""
    flambeau.manual_seed(4)
    return f(*args, **options)


def drawn_in_place(f: Callable, x: Any, *rest: Any, **options: Any) -> Any:
    return seeded(f, x * 1, *rest, **options)


def case(*args: Any, call: Callable | None = None, **kwargs: Any) -> Case:
    return Case(args, kwargs, call)


def over_arrays(f: Callable[[np.ndarray], Any], value: Any) -> Any:
    """A value with arrays replaced, in lists, tuples and dicts too; fixed ones are left."""
    if isinstance(value, np.ndarray):
        return f(value)
    if isinstance(value, list | tuple):
        return type(value)(over_arrays(f, v) for v in value)
    if isinstance(value, dict):
        return {k: over_arrays(f, v) for k, v in value.items()}
    return value


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """The arrays of a value in order; not the fixed ones."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from arrays_in(v)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))


class Maker:
    """Makes arrays of one kind of number: f (float64), c (complex128).

    The sizes that it is asked for must not depend on the numbers: makers of other seeds give further examples.
    """

    def __init__(self, kind: str, name: str, seed: int = 0):
        self.kind = kind
        self.rng = np.random.default_rng(zlib.crc32(f"{name} {kind} {seed}".encode()))

    @property
    def real(self) -> bool:
        return self.kind == "f"

    def _numbers(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(self.rng.uniform(low, high, shape))
        return values if self.real else np.asarray(values + 1j * self.rng.uniform(-1, 1, shape))

    def x(self, *shape: int) -> np.ndarray:
        """Numbers in [-2, 2]."""
        return self._numbers(-2, 2, shape)

    def real_x(self, *shape: int) -> np.ndarray:
        """Real numbers whatever the kind."""
        return np.asarray(self.rng.uniform(-2, 2, shape))

    def positive(self, *shape: int) -> np.ndarray:
        """Numbers in [0.4, 2]."""
        return self._numbers(0.4, 2, shape)

    def within(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Real numbers between bounds."""
        return np.asarray(self.rng.uniform(low, high, shape))

    def away(self, *shape: int) -> np.ndarray:
        """Numbers of both signs, none near zero."""
        return np.asarray(self.positive(*shape) * self.rng.choice([-1, 1], shape))

    def distinct(self, *shape: int) -> np.ndarray:
        """Real numbers no two of which are near each other, nor near 0 or an integer, in random order."""
        n = int(np.prod(shape))
        return np.asarray((self.rng.permutation(n) - n // 2) * 0.31 + 0.137).reshape(shape)

    def mask(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.integers(0, 2, shape).astype(bool))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.integers(low, high, shape))

    def permutation(self, n: int) -> np.ndarray:
        return np.asarray(self.rng.permutation(n))

    # ---- matrices

    def good(self, *shape: int) -> np.ndarray:
        """Square matrices that are far from singular, with eigenvalues and singular values well apart."""
        n = shape[-1]
        assert shape[-2] == n
        return self._numbers(-0.4, 0.4, shape) + np.diag(np.arange(n) + 1.5)

    def hermitian(self, *shape: int) -> np.ndarray:
        """Matrices that are their own adjoint, with eigenvalues apart."""
        a = self.good(*shape)
        return (a + a.conj().swapaxes(-1, -2)) / 2

    def definite(self, *shape: int) -> np.ndarray:
        """Hermitian positive definite matrices."""
        a = self._numbers(-0.4, 0.4, shape)
        return a @ a.conj().swapaxes(-1, -2) + np.diag(np.arange(shape[-1]) + 1.0)

    def tall(self, *shape: int) -> np.ndarray:
        """Matrices of full rank whose singular values are apart."""
        return self._numbers(-0.4, 0.4, shape) + np.eye(*shape[-2:]) * (1.5 + np.arange(shape[-1]))
