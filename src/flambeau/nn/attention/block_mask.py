"""Masks of attention as blocks: which tiles of queries and keys are looked at, and the function that says so."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.batching.vmap import vmap

Tensor = o.Tensor
DEFAULT_BLOCK = 128
#: The side of the one block of a mask that hides nothing.
WHOLE = 1 << 30
_TENSORS = tuple(
    f"{kind}{side}_{what}" for side in ("kv", "q") for kind in ("", "full_") for what in ("num_blocks", "indices")
)


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """A mask_mod that hides nothing."""
    return batch.new_ones((), dtype=o.bool)


def sliced_mask_mod(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """What a slice of a BlockMask has for a mask_mod: positions would no longer be right."""
    raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")


def _check_mask_mods(mask_mods: Sequence[Any]) -> None:
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")


def or_masks(*mask_mods: Callable) -> Callable:
    """A mask_mod that shows what at least one of several shows.

    Example:
        >>> from torch.nn.attention.flex_attention import create_mask, or_masks
        >>> mod = or_masks(lambda b, h, q, kv: q == kv, lambda b, h, q, kv: kv == 0)
        >>> create_mask(mod, None, None, 2, 3)[0, 0]
        tensor([[ True, False, False],
                [ True,  True, False]])
    """
    _check_mask_mods(mask_mods)

    def or_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_zeros((), dtype=o.bool)
        for mod in mask_mods:
            result = result | mod(b, h, q_idx, kv_idx)
        return result

    return or_mask


def and_masks(*mask_mods: Callable) -> Callable:
    """A mask_mod that shows what all of several show.

    Example:
        >>> from torch.nn.attention.flex_attention import and_masks, create_mask
        >>> mod = and_masks(lambda b, h, q, kv: q >= kv, lambda b, h, q, kv: q - kv < 2)
        >>> create_mask(mod, None, None, 3, 3)[0, 0]
        tensor([[ True, False, False],
                [ True,  True, False],
                [False,  True,  True]])
    """
    _check_mask_mods(mask_mods)

    def and_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_ones((), dtype=o.bool)
        for mod in mask_mods:
            result = result & mod(b, h, q_idx, kv_idx)
        return result

    return and_mask


def takes_score(mod: Callable) -> bool:
    """Whether a function takes a score and four positions, not the positions alone."""
    required = [p for p in inspect.signature(mod).parameters.values() if p.default is p.empty]
    if len(required) not in (4, 5):
        raise AssertionError(f"Expected 4 or 5 positional args, got {len(required)}")
    return len(required) == 5


def over_positions(mod: Callable, with_score: bool) -> Callable:
    """A function of one score's position, over whole batches, heads, queries and keys."""
    first = (0,) if with_score else ()
    for axis in (3, 2, 1, 0):
        mod = vmap(mod, in_dims=(*first, *(0 if i == axis else None for i in range(4))))
    return mod


def positions(sizes: Sequence[int], device: Any) -> list[Tensor]:
    """The numbers of the batches, heads, queries and keys."""
    return [o.arange(0, n, device=device) for n in sizes]


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Tensor:
    """The mask that a function of positions describes, as a tensor.

    Args:
        mod_fn: a mask_mod, or a score_mod: what it makes minus infinity is hidden.
        B, H: batches and heads; None: 1.
        Q_LEN, KV_LEN: lengths of queries and keys.
        device: where the mask is made.

    Shape:
        (B, H, Q_LEN, KV_LEN) of bools.

    Returns:
        True where a key is looked at.

    Example:
        >>> from torch.nn.attention.flex_attention import create_mask
        >>> create_mask(lambda b, h, q, kv: q >= kv, None, None, 2, 2)
        tensor([[[[ True, False],
                  [ True,  True]]]])
    """
    sizes, device = (B or 1, H or 1, Q_LEN, KV_LEN), device or "cpu"
    at = positions(sizes, device)
    if takes_score(mod_fn):
        return ~o.isneginf(over_positions(mod_fn, True)(o.zeros(sizes, device=device), *at))
    return over_positions(mod_fn, False)(*at)


def _ordered(dense: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks a row has, and their columns before all others."""
    count = dense.sum(-1, dtype=o.int32)
    return count, o.argsort(dense.to(o.int8), dim=-1, descending=True, stable=True).to(o.int32)


def _dense(count: Tensor, indices: Tensor) -> Tensor:
    """1 where a block is named."""
    named = o.arange(indices.shape[-1], device=indices.device) < count[..., None]
    return o.zeros(indices.shape, dtype=o.int32, device=indices.device).scatter_(-1, indices.long(), named.to(o.int32))


class BlockMask:
    """A mask of attention by blocks.

    Attributes:
        kv_num_blocks, kv_indices: for each row of blocks, how many are looked at in part, and which.
        full_kv_num_blocks, full_kv_indices: the same of those that are looked at as a whole; None: not told apart.
        q_num_blocks, q_indices, full_q_num_blocks, full_q_indices: the same for each column.
        seq_lengths: lengths of queries and keys.
        BLOCK_SIZE: queries and keys of a block.
        mask_mod: what is shown inside the blocks.

    Example:
        >>> from torch.nn.attention.flex_attention import create_block_mask
        >>> mask = create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 8, 8, BLOCK_SIZE=4)
        >>> print(mask)
        BlockMask(shape=(1, 1, 8, 8), sparsity=25.00%,
        (0, 0)
        ██
        ████
        )
    """

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None,
        full_kv_indices: Tensor | None,
        q_num_blocks: Tensor | None,
        q_indices: Tensor | None,
        full_q_num_blocks: Tensor | None,
        full_q_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int] = (DEFAULT_BLOCK, DEFAULT_BLOCK),
        mask_mod: Callable = noop_mask,
    ) -> None:
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        for side, count, indices in (
            ("kv", full_kv_num_blocks, full_kv_indices),
            ("q", full_q_num_blocks, full_q_indices),
        ):
            if (count is None) != (indices is None):
                raise AssertionError(f"full_{side}_num_blocks and full_{side}_indices must be both provided or omitted")
        self.seq_lengths, self.BLOCK_SIZE, self.mask_mod = seq_lengths, BLOCK_SIZE, mask_mod
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = DEFAULT_BLOCK,
        mask_mod: Callable | None = None,
        seq_lengths: tuple[int, int] | None = None,
        compute_q_blocks: bool = True,
    ) -> BlockMask:
        """A mask of the blocks of each row; those of the columns follow from them."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        rows, columns = kv_indices.shape[-2:]
        by_column: list[Any] = [None] * 4
        if compute_q_blocks:
            by_column[:2] = _ordered(_dense(kv_num_blocks, kv_indices).transpose(-2, -1))
            if full_kv_num_blocks is not None:
                by_column[2:] = _ordered(_dense(full_kv_num_blocks, full_kv_indices).transpose(-2, -1))
        return cls(
            seq_lengths or (rows * size[0], columns * size[1]),
            kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, *by_column,
            BLOCK_SIZE=size, mask_mod=mask_mod or noop_mask,
        )  # fmt: skip

    def as_tuple(self, flatten: bool = True) -> tuple[Any, ...]:
        """Everything the mask is made of; lengths and block sizes one by one, or as pairs."""
        tensors = [getattr(self, name) for name in _TENSORS]
        if flatten:
            return (*self.seq_lengths, *tensors, *self.BLOCK_SIZE, self.mask_mod)
        return (self.seq_lengths, *tensors, self.BLOCK_SIZE, self.mask_mod)

    @property
    def shape(self) -> tuple[int, ...]:
        """Batches, heads and lengths."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """Scores that there are without the mask."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    def sparsity(self) -> float:
        """The part of the scores, in percent, whose blocks are not looked at."""
        blocks = int(self.kv_num_blocks.sum())
        if self.full_kv_num_blocks is not None:
            blocks += int(self.full_kv_num_blocks.sum())
        return 100 * (1 - blocks * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to_dense(self) -> Tensor:
        """1 for each block that is looked at."""
        dense = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is not None:
            dense = dense | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return dense

    def shown(self) -> Tensor:
        """The mask as a tensor of bools: mask_mod inside the blocks in part, everything in the others."""
        q, kv = self.seq_lengths
        batch, heads = self.kv_indices.shape[:2]
        inside = create_mask(self.mask_mod, batch, heads, q, kv, self.kv_indices.device)
        visible = inside & self._spread(_dense(self.kv_num_blocks, self.kv_indices))
        if self.full_kv_num_blocks is not None:
            visible = visible | self._spread(_dense(self.full_kv_num_blocks, self.full_kv_indices))
        return visible

    def _spread(self, blocks: Tensor) -> Tensor:
        for axis, (size, length) in enumerate(zip(self.BLOCK_SIZE, self.seq_lengths, strict=True)):
            if size == WHOLE:
                continue
            blocks = blocks.repeat_interleave(size, axis - 2).narrow(axis - 2, 0, length)
        return blocks.bool()

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture of each mask: full, part and empty squares.

        Args:
            grid_size: rows and columns of a picture at most.
            limit: masks that are drawn at most.
        """
        dense = self.to_dense()
        most = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        steps = [max(1, -(-n // m)) for n, m in zip(dense.shape[-2:], most, strict=True)]
        pictures: list[str] = []
        for number, at in enumerate(itertools.product(*map(range, dense.shape[:-2]))):
            if number == limit:
                pictures += [
                    "...",
                    "To print out more, set BlockMask.to_string(limit=N)",
                    "You can also index (BlockMask[batch, head]) to choose a specific batch or head",
                ]
                break
            pictures.append(f"{at}\n" + _picture(dense[at], *steps))
        return "\n".join(pictures)

    def to(self, device: Any) -> BlockMask:
        """The mask on another device."""
        moved = {name: None if (t := getattr(self, name)) is None else t.to(device) for name in _TENSORS}
        return BlockMask(self.seq_lengths, **moved, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod)

    def _replaced(
        self, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], mask_mod: Callable, lengths: tuple[int, int]
    ) -> BlockMask:
        full = (None, None)
        if self.full_kv_num_blocks is not None:
            full = change(self.full_kv_num_blocks, self.full_kv_indices)
        return BlockMask.from_kv_blocks(
            *change(self.kv_num_blocks, self.kv_indices), *full, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=mask_mod,
            seq_lengths=lengths, compute_q_blocks=self.q_indices is not None,
        )  # fmt: skip

    def __getitem__(self, index: Any) -> BlockMask:
        index = index if isinstance(index, tuple) else (index,)
        padded = (*index, slice(None), slice(None), slice(None))[:3]
        # A number keeps its dimension, so that the result is still a mask of batches and heads.
        picked = tuple(
            slice(i % n, i % n + 1) if isinstance(i, int) and -n <= i < n else i
            for i, n in zip(padded, self.kv_num_blocks.shape[:3], strict=True)
        )
        return self._replaced(
            lambda count, indices: (count[picked], indices[picked]), sliced_mask_mod, self.seq_lengths
        )

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The upper left corner, for shorter sequences."""
        rows, columns = -(-new_q_len // self.BLOCK_SIZE[0]), -(-new_kv_len // self.BLOCK_SIZE[1])

        def cropped(count: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
            return _ordered(_dense(count, indices)[..., :rows, :columns])

        return self._replaced(cropped, self.mask_mod, (new_q_len, new_kv_len))

    def __str__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string().strip()}\n)"

    def __repr__(self) -> str:
        def size(t: Tensor | None) -> str:
            return "None" if t is None else f"torch.Size({list(t.shape)})"

        lines = [f"{name}={size(getattr(self, name))}" for name in _TENSORS]
        lines += [f"BLOCK_SIZE={self.BLOCK_SIZE}", f"shape={self.shape}", f"sparsity={self.sparsity():.2f}%"]
        lines.append(f"mask_mod={getattr(self.mask_mod, '__name__', self.mask_mod)}")
        return "BlockMask(\n    " + ",\n    ".join(lines) + "\n)"


def _picture(dense: Tensor, row_step: int, column_step: int) -> str:
    text = ""
    for r in range(0, dense.shape[0], row_step):
        for c in range(0, dense.shape[1], column_step):
            part = float(dense[r : r + row_step, c : c + column_step].float().mean())
            text += ("█" if part == 1 else " " if part == 0 else "░") * 2
        text += "\n"
    return text


def create_block_mask(
    mask_mod: Callable,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = DEFAULT_BLOCK,
    _compile: bool = False,
    separate_full_blocks: bool = True,
) -> BlockMask:
    """The mask of blocks that a mask_mod describes.

    Args:
        mask_mod: `(batch, head, q_idx, kv_idx) -> bool tensor`: True where a key is looked at.
        B, H: batches and heads; None where the mask is the same for all.
        Q_LEN, KV_LEN: lengths of queries and keys.
        device: where the mask is made.
        BLOCK_SIZE: queries and keys of a block.
        separate_full_blocks: whether blocks without anything hidden are told apart; mask_mod is not asked there.

    Returns:
        A BlockMask.

    Example:
        >>> from torch.nn.attention.flex_attention import create_block_mask
        >>> mask = create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 256, 256)
        >>> mask.shape, mask.kv_num_blocks, mask.full_kv_num_blocks
        ((1, 1, 256, 256), tensor([[[1, 1]]], dtype=torch.int32), tensor([[[0, 1]]], dtype=torch.int32))
    """
    if not callable(mask_mod):
        raise TypeError(f"{mask_mod!r} is not a callable object")
    if takes_score(mask_mod):
        raise AssertionError(f"create-block_mask requires a mask_mod function! Got {mask_mod}")
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    visible = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    rows, columns = -(-Q_LEN // size[0]), -(-KV_LEN // size[1])
    padded = o.pad(visible, (0, columns * size[1] - KV_LEN, 0, rows * size[0] - Q_LEN))
    counts = padded.reshape(*visible.shape[:2], rows, size[0], columns, size[1]).sum((3, 5))
    full = counts == size[0] * size[1]
    in_part = (counts > 0) & ~full if separate_full_blocks else counts > 0
    return BlockMask.from_kv_blocks(
        *_ordered(in_part), *(_ordered(full) if separate_full_blocks else (None, None)),
        BLOCK_SIZE=size, mask_mod=mask_mod, seq_lengths=(Q_LEN, KV_LEN),
    )  # fmt: skip
