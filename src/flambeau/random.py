"""The default generator of random numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import _core
from flambeau._core import default_generator

__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


def manual_seed(seed: int) -> "_core.Generator":
    """Sets the seed of the default generator; its numbers are those that PyTorch gives for the same seed.

    Args:
        seed: any integer of 64 bits; negative ones count from 2^64.

    Returns:
        The generator.

    Example:
        >>> torch.manual_seed(0)
        <flambeau.Generator ...>
        >>> torch.rand(2)
        tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seeds the default generator from the system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator began with."""
    return default_generator.initial_seed()


def get_rng_state() -> "_core.Tensor":
    """The state of the default generator, a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: "_core.Tensor") -> None:
    """Sets the state of the default generator."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: Iterable[Any] | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """A `with` block after which the default generator goes on as if nothing had been drawn in it.

    Args:
        devices: GPUs whose generators are kept too; there is none.
        enabled: False does nothing.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> with torch.random.fork_rng():
        ...     first = torch.rand(2)
        >>> first.equal(torch.rand(2))
        True
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
