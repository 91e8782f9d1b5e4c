"""Turns lists of samples into batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

from flambeau import functional_ns as o

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

Tensor = o.Tensor


def _is_numpy(value: Any) -> bool:
    """Whether a value is NumPy's, without importing NumPy."""
    return type(value).__module__ == "numpy"


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def default_convert(data: Any) -> Any:
    """NumPy's arrays inside any containers become tensors; everything else stays."""
    if isinstance(data, Tensor):
        return data
    if _is_numpy(data) and type(data).__name__ not in ("str_", "string_", "bytes_"):
        if type(data).__name__ == "ndarray" and data.dtype.kind in "SUaO":
            return data
        return o.as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuilt_mapping(data, {key: default_convert(data[key]) for key in data})
    if _is_namedtuple(data):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuilt_sequence(data, [default_convert(d) for d in data])
    return data


def _rebuilt_mapping(like: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """The items in a mapping of the same type where that can be made, else in a plain dictionary."""
    try:
        if isinstance(like, MutableMapping):
            clone = copy(like)
            clone.update(items)
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _rebuilt_sequence(like: Sequence[Any], items: list[Any]) -> Any:
    """The items in a sequence of the same type where that can be made, else in a list."""
    try:
        if isinstance(like, MutableSequence):
            clone = copy(like)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return type(like)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def collate(batch: Any, *, collate_fn_map: Mapping[Any, Callable[..., Any]] | None = None) -> Any:
    """A batch out of samples. `collate_fn_map` says for types how their elements are put together."""
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for known, collate_fn in collate_fn_map.items():
            if isinstance(first, known):
                return collate_fn(batch, collate_fn_map=collate_fn_map)
    if _is_numpy(first) and collate_fn_map is default_collate_fn_map:
        return _collate_numpy(batch, collate_fn_map)

    def inner(values: Any) -> Any:
        return collate(values, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _rebuilt_mapping(first, {key: inner([sample[key] for sample in batch]) for key in first})
    if _is_namedtuple(first):
        return kind(*(inner(values) for values in zip(*batch, strict=True)))
    if isinstance(first, Sequence) and not isinstance(first, (str, bytes)):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [inner(values) for values in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuilt_sequence(first, columns)
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}")


def _collate_tensors(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return o.stack(list(batch), 0)


def _collate_numpy(batch: Any, collate_fn_map: Any) -> Any:
    first = batch[0]
    if type(first).__name__ == "ndarray":
        if first.dtype.kind in "SUaO":
            raise TypeError(
                "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
                f"{first.dtype}"
            )
        return _collate_tensors([o.as_tensor(array) for array in batch])
    return o.as_tensor([value.item() for value in batch], dtype=o.as_tensor(first).dtype)


def _collate_floats(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return o.tensor(list(batch), dtype=o.float64)


def _collate_ints(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return o.tensor(list(batch))


def _collate_strings(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return batch


default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: _collate_tensors,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_strings,
    bytes: _collate_strings,
}


def default_collate(batch: Any) -> Any:
    """A batch out of samples: tensors, arrays and numbers are stacked, containers are gone through.

    Example:
        >>> default_collate([(torch.zeros(2), 1), (torch.ones(2), 2)])
        [tensor([[0., 0.], [1., 1.]]), tensor([1, 2])]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
