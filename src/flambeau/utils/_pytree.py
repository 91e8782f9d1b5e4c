"""Nested lists, tuples, named tuples and dictionaries: taken apart into leaves and put together again."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Context", "GetAttrKey", "KeyPath", "LeafSpec", "MappingKey", "PyTree", "SequenceKey", "TreeSpec", "keystr",
    "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_flatten_with_path", "tree_iter",
    "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_", "tree_map_only", "tree_map_with_path",
    "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any
Context = Any


@dataclass(frozen=True)
class SequenceKey:
    """The place of a child in a list, tuple or deque."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclass(frozen=True)
class MappingKey:
    """The key of a child in a dictionary."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True)
class GetAttrKey:
    """The name of a child that is an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


KeyPath = tuple[Any, ...]
WithKeys = tuple[list[tuple[Any, Any]], Context]


def keystr(kp: KeyPath) -> str:
    """The way to a leaf as it is written in Python: `['a'][0].b`."""
    return "".join(map(str, kp))


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
    with_keys: Callable[[Any], WithKeys] | None = None


def _sequence_flatten_with_keys(x: Any) -> WithKeys:
    return [(SequenceKey(i), child) for i, child in enumerate(x)], getattr(x, "maxlen", None)


def _dict_flatten(d: dict[Any, Any]) -> tuple[list[Any], Context]:
    return list(d.values()), list(d)


def _dict_flatten_with_keys(d: dict[Any, Any]) -> WithKeys:
    return [(MappingKey(key), child) for key, child in d.items()], list(d)


def _dict_unflatten(values: Iterable[Any], context: Context) -> dict[Any, Any]:
    return dict(zip(context, values, strict=True))


_KINDS: dict[type, _Kind] = {
    list: _Kind(lambda x: (list(x), None), lambda items, _: list(items), _sequence_flatten_with_keys),
    tuple: _Kind(lambda x: (list(x), None), lambda items, _: tuple(items), _sequence_flatten_with_keys),
    deque: _Kind(
        lambda x: (list(x), x.maxlen), lambda items, most: deque(items, maxlen=most), _sequence_flatten_with_keys
    ),
    dict: _Kind(_dict_flatten, _dict_unflatten, _dict_flatten_with_keys),
    OrderedDict: _Kind(
        _dict_flatten, lambda items, keys: OrderedDict(zip(keys, items, strict=True)), _dict_flatten_with_keys
    ),
    defaultdict: _Kind(
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda items, context: defaultdict(context[0], zip(context[1], items, strict=True)),
        lambda x: (_dict_flatten_with_keys(x)[0], (x.default_factory, list(x))),
    ),
}
_NAMED = _Kind(
    lambda x: (list(x), type(x)),
    lambda items, kind: kind(*items) if hasattr(kind, "_make") else kind(items),
    lambda x: ([(GetAttrKey(name), child) for name, child in zip(x._fields, x, strict=True)], type(x)),
)


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Iterable[Any], Any], Any],
    *,
    flatten_with_keys_fn: Callable[[Any], WithKeys] | None = None,
    **_: Any,
) -> None:
    """Makes objects of a class nodes: `flatten_fn(x)` gives (children, context), `unflatten_fn` undoes it, and
    `flatten_with_keys_fn` gives each child with its key."""
    if cls in _KINDS:
        raise ValueError(f"{cls} is already registered as pytree node. Overwriting the previous registration is not "
                         "possible.")  # fmt: skip

    def flatten(x: Any) -> tuple[list[Any], Any]:
        children, context = flatten_fn(x)
        return list(children), context

    _KINDS[cls] = _Kind(flatten, unflatten_fn, flatten_with_keys_fn)


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


def tree_flatten_with_path(
    tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    """The leaves of a tree, each with the keys on the way to it, and the structure of the tree."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_leaves_with_path(
    tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> list[tuple[KeyPath, Any]]:
    """The leaves of a tree, each with the keys on the way to it."""
    return list(_with_paths((), tree, is_leaf))


def _with_paths(
    path: KeyPath, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None
) -> Iterator[tuple[KeyPath, Any]]:
    kind = None if is_leaf is not None and is_leaf(tree) else _kind(tree)
    if kind is None:
        yield path, tree
        return
    if kind.with_keys is None:
        raise ValueError(
            f"Did not find a flatten_with_keys_fn for type: {type(tree)}. Please pass a flatten_with_keys_fn argument "
            "to register_pytree_node."
        )
    for key, child in kind.with_keys(tree)[0]:
        yield from _with_paths((*path, key), child, is_leaf)


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


def tree_map_with_path(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """The same, the function being given the keys on the way to a leaf before the leaf."""
    leaves, spec = tree_flatten_with_path(tree, is_leaf)
    others = [tree_flatten(r, is_leaf)[0] for r in rests]
    items = zip(leaves, *others, strict=True)
    return tree_unflatten([func(path, leaf, *rest) for (path, leaf), *rest in items], spec)


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
