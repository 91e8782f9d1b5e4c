"""How tensors are printed: numbers in columns, long ones summarised, what is not usual named at the end."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flambeau import _core


@dataclass
class Options:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = Options()
_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are printed.

    Args:
        precision: digits after the point (4).
        threshold: elements above which a tensor is summarised (1000).
        edgeitems: items shown at each end of a summarised dimension (3).
        linewidth: characters on a line (80).
        profile: default, short or full, before the others.
        sci_mode: True or False: always or never 1.0000e+00; None: where numbers differ much.
    """
    for name, value in _PROFILES.get(profile or "", {}).items():
        setattr(OPTIONS, name, value)
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


# A summarised tensor as nested lists: an Ellipsis stands for the items left out.
def _shown(tensor: Any, summarize: bool) -> Any:
    if not summarize or tensor.dim() == 0:
        return tensor.tolist()
    n, edge = tensor.shape[0], OPTIONS.edgeitems
    if n <= 2 * edge:
        return [_shown(tensor[i], True) for i in range(n)]
    if tensor.dim() == 1:
        return [*tensor[:edge].tolist(), ..., *tensor[n - edge :].tolist()]
    ends = [*range(edge), *range(n - edge, n)]
    items = [_shown(tensor[i], True) for i in ends]
    return [*items[:edge], ..., *items[edge:]]


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, list):
        for item in data:
            yield from _leaves(item)
    elif data is not ...:
        yield data


class _Column:
    """Formats numbers so that they line up."""

    def __init__(self, values: list[Any]) -> None:
        self.is_float = bool(values) and isinstance(values[0], float)
        self.is_int = self.scientific = False
        if self.is_float:
            self.width = self._float_width([v for v in values if math.isfinite(v) and v != 0])
        else:
            self.width = max((len(str(v)) for v in values), default=1)

    def _float_width(self, values: list[float]) -> int:
        self.is_int = all(v.is_integer() for v in values)
        if values:
            low, high = min(map(abs, values)), max(map(abs, values))
            self.scientific = high / low > 1000.0 or high > 1e8 or (not self.is_int and low < 1e-4)
        if OPTIONS.sci_mode is not None:
            self.scientific = OPTIONS.sci_mode
        return max((len(self._text(v)) for v in values), default=1)

    def _text(self, value: Any) -> str:
        if not self.is_float:
            return str(value)
        if self.scientific:
            return f"{value:.{OPTIONS.precision}e}"
        if self.is_int:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{OPTIONS.precision}f}"

    def format(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


class _ComplexColumn:
    def __init__(self, values: list[complex]) -> None:
        self.real, self.imag = _Column([v.real for v in values]), _Column([v.imag for v in values])
        self.width = self.real.width + self.imag.width + 1

    def format(self, value: complex) -> str:
        imag = self.imag.format(value.imag).lstrip() + "j"
        return self.real.format(value.real) + (imag if imag[0] in "+-" else f"+{imag}")


def _vector(items: list[Any], column: _Column | _ComplexColumn, indent: int) -> str:
    per_line = max(1, (OPTIONS.linewidth - indent) // (column.width + 2))
    texts = [" ..." if item is ... else column.format(item) for item in items]
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _nested(data: Any, dims: int, column: _Column | _ComplexColumn, indent: int) -> str:
    if dims == 0:
        return column.format(data)
    if dims == 1:
        return _vector(data, column, indent)
    slices = ["..." if item is ... else _nested(item, dims - 1, column, indent + 1) for item in data]
    return "[" + ("," + "\n" * (dims - 1) + " " * (indent + 1)).join(slices) + "]"


def _numbers(tensor: Any, indent: int) -> str:
    data = _shown(tensor, tensor.numel() > OPTIONS.threshold)
    leaves = list(_leaves(data))
    column = _ComplexColumn(leaves) if tensor.dtype.is_complex else _Column(leaves)
    return _nested(data, tensor.dim(), column, indent)


def _usual_dtype(tensor: Any) -> bool:
    default = _core.get_default_dtype()
    return tensor.dtype in (default, default.to_complex(), _core.int64, _core.bool)


def _body(tensor: Any, indent: int) -> tuple[str, list[str]]:
    """The text of the elements, and what else is worth saying."""
    notes = []
    if tensor.device.type != "cpu":
        notes.append(f"device='{tensor.device}'")
    dtype_note = f"dtype={tensor.dtype}"
    default = _core.get_default_dtype()
    if tensor.is_meta:
        notes.append(f"size={tuple(tensor.shape)}")
        return "...", notes + [dtype_note] * (tensor.dtype != default)
    if tensor.numel() == 0:
        if tensor.dim() != 1:
            notes.append(f"size={tuple(tensor.shape)}")
        return "[]", notes + [dtype_note] * (tensor.dtype != default)
    return _numbers(tensor, indent), notes + [dtype_note] * (not _usual_dtype(tensor))


def _with_notes(text: str, notes: list[str], indent: int) -> str:
    column = len(text) - text.rfind("\n") + 1
    for note in notes:
        if column + len(note) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * indent + note
            column = indent + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text + ")"


def tensor_repr(tensor: Any) -> str:
    """`repr(tensor)`, as PyTorch has it."""
    kind = type(tensor)
    plain = kind is _core.Tensor or kind.__torch_function__ is _core._disabled_torch_function_impl
    prefix = "tensor(" if plain else f"{kind.__name__}("
    _core.switch_all(1)
    try:
        text, notes = _body(tensor, len(prefix))
        if tensor.grad_fn is not None:
            notes.append(f"grad_fn=<{tensor.grad_fn.name().rpartition('::')[2]}>")
        elif tensor.requires_grad:
            notes.append("requires_grad=True")
    finally:
        _core.switch_all(-1)
    return _with_notes(prefix + text, notes, len(prefix))
