"""einsum: sums of products by subscripts, of two operands at a time: as batched products of matrices where each has
dimensions of its own and they share some that are summed.

A subscript is a letter, or the number of a dimension behind an ellipsis, counted from its end.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations

from .launch import check_tensors, product
from .sort import check_implemented
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
            + ("is more than" if dots else "does not match")
            + f" the number of dimensions ({dims}) for operand {operand}"
            + (" and no ellipsis was given" if not dots else "")
        )
    return [*before, *range(dims - named, 0, -1), *after]


def _diagonals(shape: list[int], labels: list, operand: int) -> list[tuple[int, int]]:
    """Pairs of dimensions with the same subscript, of which the diagonal is taken; changes shape and labels to match."""
    pairs = []
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if shape[first] != shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {operand} but the sizes don't match, "
                    f"{shape[second]} != {shape[first]}"
                )
            pairs.append((first, second))
            size = shape[first]
            for values, last in ((shape, size), (labels, label)):
                del values[second], values[first]
                values.append(last)
    return pairs


def _sizes(operands) -> dict:
    """The size of every subscript; size 1 goes with any other."""
    sizes: dict = {}
    for i, (shape, labels) in enumerate(operands):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            if 1 not in (known, size) and known != size:
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {i} "
                    f"which does not broadcast with previously seen size {known}"
                )
            sizes[label] = size if known == 1 else known
    return sizes


def _size(labels, sizes: dict) -> int:
    """Elements of dimensions with these subscripts."""
    return product(sizes[v] for v in labels)


@dataclass(frozen=True, slots=True)
class _Arranged:
    """What is done to an operand before it is multiplied: sums, another order, another shape; None: nothing."""

    dims: tuple[int, ...] | None
    order: tuple[int, ...] | None
    shape: tuple[int, ...] | None

    def __call__(self, o, x):
        if self.dims:
            x = o.sum(x, self.dims)
        if self.order:
            x = x.permute(self.order)
        return x if self.shape is None else x.reshape(self.shape)


def _arranged(labels: list, keep, wanted: list, sizes: dict, shape: list[int] | None = None) -> _Arranged:
    """From dimensions of these labels to those of `wanted`, seen in `shape`; those that nobody keeps are summed."""
    dims = tuple(i for i, v in enumerate(labels) if v not in keep)
    left = [v for v in labels if v in keep]
    order = tuple(left.index(v) for v in wanted)
    same = shape is None or shape == [sizes[v] for v in wanted]
    return _Arranged(dims or None, order if order != tuple(range(len(order))) else None, None if same else tuple(shape))


@dataclass(frozen=True, slots=True)
class _Step:
    """The product of two operands: element by element, of rows over their last `rows` dimensions, or of matrices."""

    pair: tuple[int, int]
    x: _Arranged
    y: _Arranged
    rows: int = 0
    matrices: bool = False
    shape: tuple[int, ...] | None = None  # of the result, where the product has another
    swaps: bool = False  # x and y are exchanged, so that the product comes out in the order of the result

    def __call__(self, o, x, y):
        if self.swaps:
            x, y = y, x
        x, y = self.x(o, x), self.y(o, y)
        if self.rows:
            if x.dtype is not y.dtype:
                raise RuntimeError(f"expected scalar type {x.dtype.title} but found {y.dtype.title}")
            check_implemented(x, "bmm", ("b1",))
            return o.dot_rows(x, y, list(range(-self.rows, 0)))
        made = o.matmul(x, y) if self.matrices else o.mul(x, y)
        return made if self.shape is None else made.reshape(self.shape)


def _step(pair, of_x: list, of_y: list, keep, out: list, sizes: dict) -> tuple[_Step, list]:
    """The product of two operands, summed over what only they have, and its subscripts."""
    both = [v for v in of_x if v in of_y]
    inner = [v for v in both if v not in keep]
    batch = [v for v in both if v in keep]
    left, right = ([v for v in own if v in keep and v not in both] for own in (of_x, of_y))
    x, y = partial(_arranged, of_x, {*keep, *of_y}), partial(_arranged, of_y, {*keep, *of_x})
    in_turn = partial(sorted, key=lambda v: out.index(v) if v in out else len(out))
    if not inner:
        labels = in_turn(batch + left + right)
        seen = [[sizes[v] if v in own else 1 for v in labels] for own in (of_x, of_y)]
        mine, theirs = ([v for v in labels if v in own] for own in (of_x, of_y))
        return _Step(pair, x(mine, sizes, seen[0]), y(theirs, sizes, seen[1])), labels
    if not left and not right:
        labels = in_turn(batch)
        wanted = labels + inner
        return _Step(pair, x(wanted, sizes), y(wanted, sizes), len(inner)), labels

    batch, left, right = in_turn(batch), in_turn(left), in_turn(right)
    # As in PyTorch, so that results lie in memory as they do there: what has size 1 counts as the right operand's, and
    # operands are exchanged where all of that comes before the left one's in the result.
    rows = [v for v in left if sizes[v] != 1]
    others = in_turn(right + [v for v in batch + left if sizes[v] == 1])
    swaps = bool(rows and others) and in_turn([rows[0], others[-1]])[0] is others[-1]
    if swaps:
        x, y, left, right = y, x, right, left
    # Batch dimensions stay apart: as one they might need a copy.
    lead = [sizes[v] for v in batch]
    first = x(batch + left + inner, sizes, [*lead, _size(left, sizes), _size(inner, sizes)])
    second = y(batch + inner + right, sizes, [*lead, _size(inner, sizes), _size(right, sizes)])
    labels = batch + left + right
    shape = tuple(sizes[v] for v in labels)
    made = (*lead, _size(left, sizes), _size(right, sizes))
    return _Step(pair, first, second, matrices=True, shape=None if made == shape else shape, swaps=swaps), labels


def _cheapest(operands: list[list], out, sizes: dict) -> tuple[int, int]:
    """The two operands whose product is smallest beside what they take up now; the first such pair."""

    def cost(pair):
        i, j = pair
        keep = {*out, *(v for k, labels in enumerate(operands) if k not in pair for v in labels)}
        made = {v for v in (*operands[i], *operands[j]) if v in keep}
        return _size(made, sizes) - sum(_size(operands[k], sizes) for k in pair)

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


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an equation is computed for operands of some shapes."""

    views: list[tuple[list, list[int]]]  # of each operand: the diagonals taken, and dimensions that are dropped
    steps: list[_Step]
    last: _Arranged

    def __call__(self, o, tensors):
        operands = []
        for x, (diagonals, ones) in zip(tensors, self.views, strict=True):
            for first, second in diagonals:
                x = x.diagonal(0, first, second)
            for dim in ones:
                x = x.squeeze(dim)
            operands.append(x)
        for step in self.steps:
            i, j = step.pair
            y, x = operands.pop(j), operands.pop(i)
            operands.append(step(o, x, y))
        return self.last(o, operands[0])


@lru_cache(1024)
def _plan(equation: str, shapes: tuple[tuple[int, ...], ...]) -> _Plan:
    _check_letters(equation)
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not shapes:
        raise RuntimeError("einsum(): must provide at least one operand")
    if len(terms) != len(shapes):
        fewer = "fewer" if len(shapes) < len(terms) else "more"
        raise RuntimeError(f"einsum(): {fewer} operands were provided than specified in the equation")
    inputs = [_labels(term, len(shape), i) for i, (term, shape) in enumerate(zip(terms, shapes, strict=True))]
    out = _output(right if arrow else None, inputs)
    seen = [(list(shape), list(labels)) for shape, labels in zip(shapes, inputs, strict=True)]
    diagonals = [_diagonals(shape, labels, i) for i, (shape, labels) in enumerate(seen)]
    sizes = _sizes(seen)
    views, operands = [], []
    for (shape, labels), pairs in zip(seen, diagonals, strict=True):
        # Dimensions of size 1 whose subscript is larger elsewhere.
        ones = [i for i, label in enumerate(labels) if shape[i] == 1 and sizes[label] != 1]
        views.append((pairs, ones[::-1]))
        operands.append([v for i, v in enumerate(labels) if i not in ones])
    steps = []
    while len(operands) > 1:
        i, j = (0, 1) if len(operands) == 2 else _cheapest(operands, out, sizes)
        rest = [labels for k, labels in enumerate(operands) if k not in (i, j)]
        keep = {*out, *(v for labels in rest for v in labels)}
        step, labels = _step((i, j), operands[i], operands[j], keep, out, sizes)
        steps.append(step)
        operands = [*rest, labels]
    return _Plan(views, steps, _arranged(operands[0], set(out), out, sizes))


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
    return _plan(equation, tuple(tuple(x.shape) for x in tensors))(o, tensors)


op(
    "einsum(Any equation, Any operands) -> Tensor",
    names=("einsum",),
    body=Composite(_einsum, raw=True),
    doc="Sum of products by subscripts, as in 'bij,bjk->bik'; operands are multiplied two at a time, the cheapest first.",
)
