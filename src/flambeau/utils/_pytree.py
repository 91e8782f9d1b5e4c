"""Nested lists, tuples, named tuples and dictionaries: taken apart into leaves and put together again."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "LeafSpec", "PyTree", "TreeSpec", "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_iter",
    "tree_leaves", "tree_map", "tree_map_", "tree_map_only", "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any


@dataclass(frozen=True)
class TreeSpec:
    """The structure of a tree.

    Attributes:
        type: of the node; None for a leaf.
        context: what the node is made with beside its children.
        children_specs: the structures of the children.
    """

    type: Any
    context: Any = None
    children_specs: list["TreeSpec"] = field(default_factory=list)

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None


def LeafSpec() -> TreeSpec:
    """The structure of a leaf."""
    return TreeSpec(None)


@dataclass(frozen=True)
class _Kind:
    flatten: Callable[[Any], tuple[list[Any], Any]]
    unflatten: Callable[[Iterable[Any], Any], Any]


_KINDS: dict[type, _Kind] = {
    list: _Kind(lambda x: (list(x), None), lambda items, _: list(items)),
    tuple: _Kind(lambda x: (list(x), None), lambda items, _: tuple(items)),
    deque: _Kind(lambda x: (list(x), x.maxlen), lambda items, most: deque(items, maxlen=most)),
    dict: _Kind(lambda x: (list(x.values()), list(x)), lambda items, keys: dict(zip(keys, items, strict=True))),
    OrderedDict: _Kind(
        lambda x: (list(x.values()), list(x)), lambda items, keys: OrderedDict(zip(keys, items, strict=True))
    ),
    defaultdict: _Kind(
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda items, context: defaultdict(context[0], zip(context[1], items, strict=True)),
    ),
}
_NAMED = _Kind(
    lambda x: (list(x), type(x)), lambda items, kind: kind(*items) if hasattr(kind, "_make") else kind(items)
)


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    **_: Any,
) -> None:
    """Makes objects of a class nodes: `flatten_fn(x)` gives (children, context), `unflatten_fn` undoes it."""
    if cls in _KINDS:
        raise ValueError(f"{cls} is already registered as pytree node. Overwriting the previous registration is not "
                         "possible.")  # fmt: skip

    def flatten(x: Any) -> tuple[list[Any], Any]:
        children, context = flatten_fn(x)
        return list(children), context

    _KINDS[cls] = _Kind(flatten, unflatten_fn)


def _kind(x: Any) -> _Kind | None:
    kind = _KINDS.get(type(x))
    if kind is None and isinstance(x, tuple) and (hasattr(x, "_make") or hasattr(type(x), "n_sequence_fields")):
        return _NAMED
    return kind


def tree_flatten(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree from left to right, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: PyTree, leaves: list[Any], is_leaf: Callable[[PyTree], bool] | None) -> TreeSpec:
    kind = None if is_leaf is not None and is_leaf(tree) else _kind(tree)
    if kind is None:
        leaves.append(tree)
        return LeafSpec()
    children, context = kind.flatten(tree)
    return TreeSpec(type(tree), context, [_flatten(c, leaves, is_leaf) for c in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """A tree of a structure with other leaves."""
    items = list(leaves)
    if len(items) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(items)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items ({treespec})."
        )
    return _unflatten(iter(items), treespec)


def _unflatten(leaves: Any, spec: TreeSpec) -> PyTree:
    if spec.type is None:
        return next(leaves)
    kind = _KINDS.get(spec.type, _NAMED)
    return kind.unflatten([_unflatten(leaves, c) for c in spec.children_specs], spec.context)


def tree_iter(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> Iterable[Any]:
    """The leaves of a tree, one after the other."""
    return iter(tree_flatten(tree, is_leaf)[0])


def tree_leaves(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[Any]:
    """The leaves of a tree."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """A tree of what a function gives for each leaf (and the leaves of further trees at the same place)."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_flatten(r, is_leaf)[0] for r in rests]
    return tree_unflatten([func(*items) for items in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: PyTree, *rests: PyTree) -> PyTree:
    """Calls a function for each leaf, and returns the tree as it is."""
    tree_map(func, tree, *rests)
    return tree


def tree_map_only(kind: Any, func: Callable[[Any], Any], tree: PyTree) -> PyTree:
    """The same for leaves of a type; the others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, kind) else x, tree)


def tree_all(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    """Whether a condition holds for all leaves."""
    return all(map(pred, tree_iter(tree)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    """Whether a condition holds for one leaf."""
    return any(map(pred, tree_iter(tree)))
