"""Sequences of different lengths in one tensor, step by step."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor


class PackedSequence(namedtuple("PackedSequence_", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])):
    """All elements of several sequences: first all first elements, then all second ones, and so on.

    The sequences are sorted by length, longest first. Make one with `pack_padded_sequence` or `pack_sequence`.

    Attributes:
        data: the elements.
        batch_sizes: how many sequences have an element at each step.
        sorted_indices: the original position of every sequence; None where they came sorted.
        unsorted_indices: the place of every sequence after sorting.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("PackedSequence needs data and batch_sizes")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences on another device, or in another dtype."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [None if t is None else t.to(data.device) for t in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """The same sequences on the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences on a GPU."""
        return self.to("cuda", *args, **kwargs)

    def double(self) -> PackedSequence:
        """The same sequences in float64."""
        return self.to(dtype=o.float64)

    def float(self) -> PackedSequence:
        """The same sequences in float32."""
        return self.to(dtype=o.float32)

    def half(self) -> PackedSequence:
        """The same sequences in float16."""
        return self.to(dtype=o.float16)

    def long(self) -> PackedSequence:
        """The same sequences in int64."""
        return self.to(dtype=o.int64)

    def int(self) -> PackedSequence:
        """The same sequences in int32."""
        return self.to(dtype=o.int32)

    def short(self) -> PackedSequence:
        """The same sequences in int16."""
        return self.to(dtype=o.int16)

    def char(self) -> PackedSequence:
        """The same sequences in int8."""
        return self.to(dtype=o.int8)

    def byte(self) -> PackedSequence:
        """The same sequences in uint8."""
        return self.to(dtype=o.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the elements are in page-locked memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> PackedSequence:
        """The same sequences in page-locked memory."""
        indices = [None if t is None else t.pin_memory() for t in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(self.data.pin_memory(), self.batch_sizes, *indices)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another."""
    if permutation is None:
        return None
    places = o.arange(permutation.numel(), device=permutation.device)
    return o.empty_like(permutation).scatter_(0, permutation, places)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs padded sequences.

    Args:
        input: (T, N, ...), or (N, T, ...) with `batch_first`.
        lengths: how long every sequence is.
        enforce_sorted: raise where the sequences are not sorted by length.
    """
    if not isinstance(lengths, Tensor):
        lengths = o.as_tensor(lengths, dtype=o.int64, device="cpu")
    else:
        lengths = lengths.to(dtype=o.int64)
    sorted_indices = None
    if not enforce_sorted:
        lengths, sorted_indices = o.sort(lengths, descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    sizes = lengths.tolist()
    steps = input.transpose(0, 1) if batch_first else input
    _check_lengths(sizes, steps)
    batch_sizes = [sum(1 for size in sizes if size > t) for t in range(sizes[0])]
    data = o.cat([steps[t, :n] for t, n in enumerate(batch_sizes)])
    return PackedSequence(data, o.tensor(batch_sizes, dtype=o.int64), sorted_indices, None)


def _check_lengths(sizes: list[int], steps: Tensor) -> None:
    if len(sizes) != steps.size(1):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={steps.size(1)})"
        )
    if not sizes or not steps.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(a < b for a, b in pairwise(sizes)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[0] > steps.size(0):
        raise RuntimeError(f"Expected every length to be at most {steps.size(0)}, but got {sizes[0]}")


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sequences padded to one length, and their lengths: the opposite of `pack_padded_sequence`."""
    sizes = sequence.batch_sizes.tolist()
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    data = sequence.data
    rows = []
    for step in data.split(sizes):
        missing = sizes[0] - step.size(0)
        fill = o.full((missing, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
        rows.append(o.cat([step, fill]) if missing else step)
    if total_length is not None and total_length > longest:
        shape = (sizes[0], *data.shape[1:])
        fill = o.full(shape, padding_value, dtype=data.dtype, device=data.device)
        rows += [fill] * (total_length - longest)
    padded = o.stack(rows)
    lengths = o.tensor([sum(1 for size in sizes if size > i) for i in range(sizes[0])], dtype=o.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def _as_wide_as_the_first(sequences: tuple[Tensor, ...]) -> list[Tensor]:
    """Sequences broadcast to all dimensions of the first but the one that is padded."""
    wide = sequences[0].shape[1:]
    return [o.empty((s.size(0), *wide), dtype=s.dtype, device=s.device).copy_(s) for s in sequences]


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences of different lengths as one tensor (T, N, ...), or (N, T, ...) with `batch_first`.

    Example:
        >>> pad_sequence([torch.ones(3), torch.ones(1)], batch_first=True)
        tensor([[1., 1., 1.], [1., 0., 0.]])
    """
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    elif not isinstance(sequences, (list, tuple)) and not hasattr(sequences, "__iter__"):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(sequence.size(0) for sequence in sequences)
    if any(sequence.shape[1:] != sequences[0].shape[1:] for sequence in sequences):
        sequences = _as_wide_as_the_first(sequences)
    rows = []
    for sequence in sequences:
        missing = (longest - sequence.size(0), *sequence.shape[1:])
        fill = o.full(missing, padding_value, dtype=sequences[0].dtype, device=sequence.device)
        if missing[0]:
            sequence = o.cat([sequence, fill] if padding_side == "right" else [fill, sequence])
        rows.append(sequence)
    return o.stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The single sequences of a padded tensor."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs single sequences."""
    lengths = o.as_tensor([sequence.size(0) for sequence in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The single sequences of a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
