"""Random numbers of GPUs: seeds may be set, as programs do for every case; there is no generator to ask."""

from collections.abc import Iterable

from flambeau._core import Tensor

from ._device import Device, init

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
    "set_rng_state", "set_rng_state_all",
]  # fmt: skip


def manual_seed(seed: int) -> None:
    """Sets the seed of the current GPU; without one, nothing happens."""
    int(seed)


def manual_seed_all(seed: int) -> None:
    """Sets the seed of every GPU; without one, nothing happens."""
    int(seed)


def seed() -> None:
    """Seeds the current GPU from the system; without one, nothing happens."""


def seed_all() -> None:
    """Seeds every GPU from the system; without one, nothing happens."""


def initial_seed() -> int:
    """The seed of the current GPU."""
    init()


def get_rng_state(device: Device = "cuda") -> Tensor:
    """The state of a GPU's generator."""
    init()


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators: none."""
    return []


def set_rng_state(new_state: Tensor, device: Device = "cuda") -> None:
    """Sets the state of a GPU's generator."""
    init()


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Sets the states of all GPUs' generators."""
    if list(new_states):
        init()
