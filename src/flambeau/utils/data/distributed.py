"""The share of a dataset that one of several processes works on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flambeau import functional_ns as o
from flambeau.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th index, beginning at `rank`; all processes shuffle alike.

    Args:
        num_replicas: number of processes.
        rank: this process.
        shuffle: whether the order is random; call `set_epoch` before every epoch for a new one.
        seed: the same in all processes.
        drop_last: leave out the tail that does not divide evenly; otherwise samples are given twice.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "Requires distributed package to be available. Give num_replicas and rank, which say how many "
                "processes there are and which one this is."
            )
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        n = len(dataset)
        if drop_last and n % num_replicas != 0:
            self.num_samples = math.ceil((n - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            generator = o.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = o.randperm(n, generator=generator).tolist()
        else:
            indices = list(range(n))
        if not self.drop_last and indices:
            missing = self.total_size - len(indices)
            indices += (indices * math.ceil(missing / len(indices)))[:missing]
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes, so that its order differs from the others'."""
        self.epoch = epoch
