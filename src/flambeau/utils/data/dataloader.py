"""Batches of a dataset, one after the other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import functional_ns as o
from flambeau.utils.data._utils.collate import default_collate, default_convert
from flambeau.utils.data.dataset import IterableDataset, Subset, TensorDataset
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]


class WorkerInfo:
    """Which worker of how many a process is."""

    id: int
    num_workers: int
    seed: int
    dataset: Any

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def __repr__(self) -> str:
        return f"WorkerInfo({', '.join(f'{k}={v}' for k, v in self.__dict__.items())})"


def get_worker_info() -> WorkerInfo | None:
    """What a dataset knows of the worker that it runs in; None in the main process."""
    return None


class _DatasetKind:
    """What a loader's `_dataset_kind` is."""

    Map = 0
    Iterable = 1


class _Forever(Sampler[None]):
    """Stands for the sampler where the dataset decides when it ends."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader:
    """Iterates over a dataset in batches.

    Args:
        dataset: samples by number (`Dataset`) or a stream of them (`IterableDataset`).
        batch_size: samples in a batch; None gives single samples.
        shuffle: take the samples in a new random order every epoch.
        sampler: the order of samples, in place of `shuffle`.
        batch_sampler: lists of indices, in place of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: accepted; samples are fetched in this process.
        collate_fn: makes a batch of a list of samples.
        pin_memory: put batches where a GPU copies from fastest.
        drop_last: leave the last batch out where it is shorter.
        timeout: seconds to wait for a worker.
        worker_init_fn: called in every worker with its number.
        generator: where random numbers come from.
        prefetch_factor, persistent_workers, multiprocessing_context, in_order: concern workers.

    Example:
        >>> for x, y in DataLoader(TensorDataset(xs, ys), batch_size=64, shuffle=True):
        ...     train(x, y)
    """

    _FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    __initialized = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        prefetch_factor = _checked_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers
        self._is_stream = isinstance(dataset, IterableDataset)
        self._dataset_kind = _DatasetKind.Iterable if self._is_stream else _DatasetKind.Map
        if self._is_stream:
            _check_stream_options(shuffle, sampler, batch_sampler)
        else:
            shuffle = bool(shuffle)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._is_stream:
                sampler = _Forever()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.__initialized = True
        if num_workers > 0:
            warnings.warn(
                f"num_workers={num_workers} was asked for; this version fetches samples in the main process. The "
                "batches are the same. Pass num_workers=0 to silence this.",
                stacklevel=2,
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__initialized and name in self._FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator[Any]:
        return _SingleProcessDataLoaderIter(self)

    def __len__(self) -> int:
        if not self._is_stream:
            return len(self._index_sampler)
        length = self._reported_length = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)

    _reported_length: int | None = None


def _checked_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> int | None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    return 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor


def _check_stream_options(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    if shuffle not in (False, None):
        raise ValueError(
            f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
        )
    if sampler is not None:
        raise ValueError(
            f"DataLoader with IterableDataset: expected unspecified sampler option, but got sampler={sampler}"
        )
    if batch_sampler is not None:
        raise ValueError(
            "DataLoader with IterableDataset: expected unspecified batch_sampler option, but got "
            f"batch_sampler={batch_sampler}"
        )


class _BaseDataLoaderIter:
    """One pass over the data."""

    def __init__(self, loader: DataLoader) -> None:
        if loader.timeout > 0 and loader.num_workers == 0:
            raise ValueError("timeout option needs num_workers > 0: without workers there is nobody to wait for")
        self._loader = loader
        self._indices = iter(loader._index_sampler)
        # Drawn although no worker needs it: programs rely on the stream of random numbers that follows.
        self._base_seed = o.empty((), dtype=o.int64).random_(generator=loader.generator).item()
        self._fetch = _stream_fetcher(loader) if loader._is_stream else _item_fetcher(loader)
        self._pin = loader.pin_memory and o.has_gpu()
        self._given = 0

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        batch = self._fetch(next(self._indices))
        self._given += 1
        reported = self._loader._reported_length
        if reported is not None and self._given > reported:
            self._warn_length(reported)
        return pinned(batch) if self._pin else batch

    def _warn_length(self, reported: int) -> None:
        warnings.warn(
            f"Length of IterableDataset {self._loader.dataset} was reported to be {reported} (when accessing "
            f"len(dataloader)), but {self._given} samples have been fetched. ",
            stacklevel=3,
        )


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose samples this process fetches."""


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose samples workers fetch; there are none here, so nothing is an instance."""


def _item_fetcher(loader: DataLoader) -> Callable[[Any], Any]:
    dataset, collate_fn = loader.dataset, loader.collate_fn
    if not loader._auto_collation:
        return lambda index: collate_fn(dataset[index])
    if collate_fn is default_collate and _sliceable(dataset) is not None:
        return lambda indices: _sliced(dataset, indices)
    fetch = getattr(dataset, "__getitems__", None)
    if callable(fetch):
        return lambda indices: collate_fn(fetch(indices))
    return lambda indices: collate_fn([dataset[i] for i in indices])


def _sliceable(dataset: Any) -> TensorDataset | None:
    """The tensors below a dataset whose batches can be cut out of them at once."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset if type(dataset) is TensorDataset else None


def _sliced(dataset: Any, indices: Any) -> list[Any]:
    """What collating single samples would give, with one indexed read a tensor."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    where = o.as_tensor(indices, dtype=o.int64)
    return [tensor[where] for tensor in dataset.tensors]


def _stream_fetcher(loader: DataLoader) -> Callable[[Any], Any]:
    stream, collate_fn = iter(loader.dataset), loader.collate_fn
    if not loader._auto_collation:
        return lambda _: collate_fn(next(stream))

    def fetch(slots: list[None]) -> Any:
        samples = [sample for _, sample in zip(slots, stream, strict=False)]
        if not samples or (loader.drop_last and len(samples) < len(slots)):
            raise StopIteration
        return collate_fn(samples)

    return fetch


def pinned(data: Any) -> Any:
    """A batch in memory that a GPU copies from directly."""
    if isinstance(data, o.Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, dict):
        return type(data)({key: pinned(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(pinned(value) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(pinned(value) for value in data)
    return data
