"""einsum: sums of products by subscripts, as batched matrix products of two operands at a time.

A subscript is a letter, or the number of a dimension behind an ellipsis, counted from its end.
"""

from itertools import combinations

from .launch import check_tensors, product
from .table import Composite, op

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _from_lists(arguments) -> tuple[str, list]:
    """The form einsum(x, [0, 1], y, [1, 2], [0, 2]) as an equation and its operands."""
    *pairs, out = arguments if len(arguments) % 2 else (*arguments, None)
    operands, subscripts = list(pairs[::2]), list(pairs[1::2])

    def text(labels) -> str:
        if any(x is not ... and not 0 <= x < len(_LETTERS) for x in labels):
            raise RuntimeError("einsum(): subscripts in sublist format must be in the range [0, 52)")
        return "".join("..." if x is ... else _LETTERS[x] for x in labels)

    equation = ",".join(text(s) for s in subscripts)
    return (equation if out is None else f"{equation}->{text(out)}"), operands


def _check_letters(equation: str) -> None:
    left, arrow, right = equation.partition("->")
    for i, letter in enumerate(left.replace("...", "   ") + "  " * bool(arrow) + right.replace("...", "   ")):
        if letter not in _LETTERS and letter != " " and not (letter == "," and i < len(left)):
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, "
                f"subscripts must be in [a-zA-Z] [got {letter!r} in {equation!r}]"
            )


def _labels(text: str, dims: int, operand: int) -> list:
    """Subscripts of one operand; an ellipsis stands for the dimensions that are left."""
    before, dots, after = text.partition("...")
    if "..." in after:
        raise RuntimeError(f"einsum(): found '.' for operand {operand} for which an ellipsis was already found")
    named = len(before) + len(after)
    if named > dims or (not dots and named < dims):
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) "
            + ("is more than" if named > dims else "does not match")
            + f" the number of dimensions ({dims}) for operand {operand}"
            + (" and no ellipsis was given" if not dots else "")
        )
    return [*before, *range(dims - named, 0, -1), *after]


def _diagonals(x, labels: list, operand: int):
    """Takes the diagonal of dimensions with the same subscript."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if x.shape[first] != x.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {operand} but the sizes don't match, "
                    f"{x.shape[second]} != {x.shape[first]}"
                )
            x = x.diagonal(0, first, second)
            labels = [v for i, v in enumerate(labels) if i not in (first, second)] + [label]
    return x, labels


def _sizes(operands) -> dict:
    """The size of every subscript; size 1 goes with any other."""
    sizes: dict = {}
    for i, (x, labels) in enumerate(operands):
        for label, size in zip(labels, x.shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (known, size) and known != size:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {i} "
                    f"which does not broadcast with previously seen size {known}"
                )
            sizes[label] = size if known == 1 else known
    return sizes


def _without_ones(x, labels: list, sizes: dict):
    """Drops dimensions of size 1 whose subscript is larger elsewhere."""
    drop = [i for i, label in enumerate(labels) if x.shape[i] == 1 and sizes[label] != 1]
    for i in reversed(drop):
        x = x.squeeze(i)
    return x, [label for i, label in enumerate(labels) if i not in drop]


def _summed(o, x, labels: list, keep) -> tuple:
    """Sums the dimensions whose subscript nobody needs."""
    dims = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (o.sum(x, dims) if dims else x), [label for label in labels if label in keep]


def _product(o, a, b, keep, sizes: dict) -> tuple:
    """The product of two operands, summed over what only they have."""
    (x, of_x), (y, of_y) = a, b
    x, of_x = _summed(o, x, of_x, {*keep, *of_y})
    y, of_y = _summed(o, y, of_y, {*keep, *of_x})
    both = [v for v in of_x if v in of_y]
    batch, inner = [v for v in both if v in keep], [v for v in both if v not in keep]
    left, right = [v for v in of_x if v not in both], [v for v in of_y if v not in both]

    def size(labels) -> int:
        return product(sizes[v] for v in labels)

    # Batch dimensions stay apart: as one they might need a copy.
    lead = [sizes[v] for v in batch]
    x = x.permute([of_x.index(v) for v in batch + left + inner]).reshape(*lead, size(left), size(inner))
    y = y.permute([of_y.index(v) for v in batch + inner + right]).reshape(*lead, size(inner), size(right))
    labels = batch + left + right
    return o.matmul(x, y).reshape([sizes[v] for v in labels]), labels


def _cheapest(operands, out, sizes: dict) -> tuple[int, int]:
    """The two operands whose product is smallest beside what they take up now; the first such pair."""

    def cost(pair):
        i, j = pair
        keep = {*out, *(v for k, (_, labels) in enumerate(operands) if k not in pair for v in labels)}
        result = {v for v in (*operands[i][1], *operands[j][1]) if v in keep}
        return product(sizes[v] for v in result) - sum(operands[k][0].numel() for k in pair)

    return min(combinations(range(len(operands)), 2), key=cost)


def _output(text: str | None, inputs: list[list]) -> list:
    every = [v for labels in inputs for v in labels]
    behind = sorted({v for v in every if isinstance(v, int)}, reverse=True)
    if text is None:
        return behind + sorted(v for v in set(every) if isinstance(v, str) and every.count(v) == 1)
    before, dots, after = text.partition("...")
    if "..." in after:
        raise RuntimeError("einsum(): found '.' for output but an ellipsis (...) was already found")
    for letter in before + after:
        if (before + after).count(letter) > 1:
            raise RuntimeError(f"einsum(): output subscript {letter} appears more than once in the output")
        if letter not in every:
            raise RuntimeError(
                f"einsum(): output subscript {letter} does not appear in the equation for any input operand"
            )
    return [*before, *(behind if dots else ()), *after]


def _einsum(o, *arguments):
    if not arguments:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list"
        )
    if isinstance(arguments[0], str):
        equation, tensors = arguments[0], list(arguments[1:])
        if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
            tensors = list(tensors[0])
    else:
        equation, tensors = _from_lists(arguments)
    check_tensors(tensors, 1)
    _check_letters(equation)
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    if len(terms) != len(tensors):
        fewer = "fewer" if len(tensors) < len(terms) else "more"
        raise RuntimeError(f"einsum(): {fewer} operands were provided than specified in the equation")
    inputs = [_labels(term, x.dim(), i) for i, (term, x) in enumerate(zip(terms, tensors, strict=True))]
    out = _output(right if arrow else None, inputs)
    operands = [_diagonals(x, list(labels), i) for i, (x, labels) in enumerate(zip(tensors, inputs, strict=True))]
    sizes = _sizes(operands)
    operands = [_without_ones(x, labels, sizes) for x, labels in operands]
    while len(operands) > 1:
        i, j = (0, 1) if len(operands) == 2 else _cheapest(operands, out, sizes)
        rest = [x for k, x in enumerate(operands) if k not in (i, j)]
        keep = {*out, *(v for _, labels in rest for v in labels)}
        operands = [*rest, _product(o, operands[i], operands[j], keep, sizes)]
    x, labels = _summed(o, *operands[0], set(out))
    return x.permute([labels.index(v) for v in out])


op(
    "einsum(Any equation, Any operands) -> Tensor",
    names=("einsum",),
    body=Composite(_einsum, raw=True),
    doc="Sum of products by subscripts, as in 'bij,bjk->bik'; operands are multiplied two at a time, the cheapest first.",
)
