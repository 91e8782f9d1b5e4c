"""Trees of lists, tuples and dictionaries: leaves, structure, and the way to each leaf."""

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from flambeau.utils import _pytree as pytree

Pair = namedtuple("Pair", "a b")
TREE = {"x": [1, Pair(2, (3,))], "y": deque([4], maxlen=2), 5: OrderedDict(z=6), "d": defaultdict(list, k=7)}
WAYS = ["['x'][0]", "['x'][1].a", "['x'][1].b[0]", "['y'][0]", "[5]['z']", "['d']['k']"]


def test_leaves_and_ways():
    leaves, spec = pytree.tree_flatten(TREE)
    assert leaves == [1, 2, 3, 4, 6, 7] and pytree.tree_unflatten(leaves, spec) == TREE
    with_path, same = pytree.tree_flatten_with_path(TREE)
    assert same == spec and [leaf for _, leaf in with_path] == leaves
    assert [pytree.keystr(path) for path, _ in with_path] == WAYS
    assert pytree.tree_leaves_with_path(TREE) == with_path
    assert with_path[1][0] == (pytree.MappingKey("x"), pytree.SequenceKey(1), pytree.GetAttrKey("a"))
    shown = pytree.tree_map_with_path(lambda path, x, y: f"{pytree.keystr(path)}={x + y}", TREE, TREE)
    assert pytree.tree_leaves(shown) == [f"{way}={2 * leaf}" for way, leaf in zip(WAYS, leaves, strict=True)]
    short = pytree.tree_flatten_with_path(TREE, is_leaf=lambda x: isinstance(x, list))[0]
    assert [pytree.keystr(path) for path, _ in short][:2] == ["['x']", "['y'][0]"]


def test_classes_of_ones_own():
    class Node:
        def __init__(self, left, right):
            self.left, self.right = left, right

    class Bare(Node):
        pass

    def keys(node):
        return [(pytree.GetAttrKey("left"), node.left), (pytree.GetAttrKey("right"), node.right)], None

    pytree.register_pytree_node(
        Node, lambda n: ([n.left, n.right], None), lambda items, _: Node(*items), flatten_with_keys_fn=keys
    )
    pytree.register_pytree_node(Bare, lambda n: ([n.left, n.right], None), lambda items, _: Bare(*items))
    doubled = pytree.tree_map(lambda x: 2 * x, Node(1, [2]))
    assert (doubled.left, doubled.right) == (2, [4])
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(Node(1, [2]))] == [".left", ".right[0]"]
    with pytest.raises(ValueError, match="Did not find a flatten_with_keys_fn for type: .*Bare"):
        pytree.tree_flatten_with_path(Bare(1, 2))
    with pytest.raises(ValueError, match="already registered"):
        pytree.register_pytree_node(Node, None, None)


def test_a_dictionary_by_hand():
    values, keys = pytree._dict_flatten({"a": 1, "b": 2})
    assert pytree._dict_unflatten(values, keys) == {"a": 1, "b": 2}
    assert pytree._dict_flatten_with_keys({"a": 1}) == ([(pytree.MappingKey("a"), 1)], ["a"])
