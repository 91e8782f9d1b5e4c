"""Versions that compare as versions do: 2.9 comes before 2.13."""

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["TorchVersion"]


class TorchVersion(str):
    """A version's text, which compares by its numbers with texts and with sequences of numbers.

    Example:
        >>> version = TorchVersion("2.13.0")
        >>> version > "2.9", version >= (2, 13), version == "2.13", version.split(".")[0]
        (True, True, True, '2')
    """

    def _pair(self, other: Any) -> tuple[list[int], list[int]] | None:
        """The numbers of both, filled up with zeros; None where the other is no version."""
        text = ".".join(map(str, other)) if isinstance(other, Iterable) and not isinstance(other, str) else other
        if not isinstance(text, str) or not text[:1].isdigit():
            return None
        pair = [[int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", x)[0])] for x in (self, text)]
        length = max(map(len, pair))
        return pair[0] + [0] * (length - len(pair[0])), pair[1] + [0] * (length - len(pair[1]))

    def __eq__(self, other: Any) -> bool:
        pair = self._pair(other)
        return super().__eq__(other) if pair is None else pair[0] == pair[1]

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> Any:
        pair = self._pair(other)
        return NotImplemented if pair is None else pair[0] < pair[1]

    def __le__(self, other: Any) -> Any:
        pair = self._pair(other)
        return NotImplemented if pair is None else pair[0] <= pair[1]

    def __gt__(self, other: Any) -> Any:
        pair = self._pair(other)
        return NotImplemented if pair is None else pair[0] > pair[1]

    def __ge__(self, other: Any) -> Any:
        pair = self._pair(other)
        return NotImplemented if pair is None else pair[0] >= pair[1]

    __hash__ = str.__hash__
