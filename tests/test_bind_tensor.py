"""The Tensor object: identity, life and death, attributes, subclasses, copies, pickling."""

import copy
import gc
import pickle
import sys
import threading
import weakref

import pytest

import flambeau as torch


def test_the_same_object_while_either_side_lives():
    p = torch.ones(3, requires_grad=True)
    (p * 2).sum().backward()
    assert p.grad is p.grad
    p.grad.mark = "kept"
    gc.collect()
    assert p.grad.mark == "kept"


def test_an_object_that_python_dropped_comes_back_with_its_attributes():
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.zeros(3)
    g = p.grad
    g.label = [1, 2]
    seen = weakref.ref(g)
    identity = id(g)
    del g
    gc.collect()
    assert seen() is not None
    assert id(p.grad) == identity
    assert p.grad.label == [1, 2]
    p.grad = None
    assert seen() is None


def test_weak_references_die_with_the_tensor():
    t = torch.ones(2)
    calls = []
    r = weakref.ref(t, lambda _: calls.append(1))
    del t
    assert r() is None
    assert calls == [1]


def test_finalizers_of_owned_objects_see_a_whole_tensor():
    class Loud(torch.Tensor):
        def __del__(self):
            seen.append(self.tolist())

    seen = []
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.Tensor._make_subclass(Loud, torch.full((2,), 7.0))
    gc.collect()
    assert seen == []
    del p
    gc.collect()
    assert seen == [[7.0, 7.0]]


def test_cycles_through_attributes_are_collected():
    t = torch.ones(2)
    t.me = t
    seen = weakref.ref(t)
    del t
    gc.collect()
    assert seen() is None


def test_cycles_through_hooks_are_collected():
    for make in (lambda: torch.ones(2, requires_grad=True), lambda: torch.ones(2, requires_grad=True) * 2):
        t = make()
        t.register_hook(lambda g, t=t: g)
        seen = weakref.ref(t)
        del t
        gc.collect()
        assert seen() is None


def test_a_long_chain_of_attributes_dies_without_recursion():
    t = torch.ones(1)
    for _ in range(100_000):
        nxt = torch.ones(1)
        nxt.before = t
        t = nxt
    del t, nxt
    gc.collect()


def test_objects_do_not_leak():
    x = torch.ones(4)
    for _ in range(3):
        before = sys.getallocatedblocks()
        for _ in range(2000):
            y = x + x
            y = y[0:2].exp() * 2.0
            y.tag = 1
            del y
        after = sys.getallocatedblocks()
    assert after - before < 50


def test_the_table_stays_usable_from_threads():
    x = torch.ones(1000)
    results = []

    def work():
        for _ in range(300):
            y = (x + 1).sum()
        results.append(y.item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [2000.0] * 4


class Mine(torch.Tensor):
    __slots__ = ()


def test_subclasses_keep_their_class():
    m = Mine([1.0, 2.0])
    assert type(m) is Mine
    assert type(m + 1) is Mine
    assert type(torch.ones(2) + m) is Mine
    assert type(m[0]) is Mine
    assert type(m.as_subclass(torch.Tensor)) is torch.Tensor
    assert type(torch.ones(2).as_subclass(Mine)) is Mine
    assert type(torch.stack([m, m])) is Mine
    assert repr(m) == "Mine([1., 2.])"


def test_gradients_flow_through_as_subclass():
    x = torch.ones(2, requires_grad=True)
    x.as_subclass(Mine).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_slots_of_subclasses():
    class Slotted(torch.Tensor):
        __slots__ = ("extra",)

    s = Slotted([1.0])
    s.extra = object()
    seen = weakref.ref(s)
    del s
    assert seen() is None


def test_make_subclass_checks():
    with pytest.raises(TypeError, match="cls must be a type"):
        torch.Tensor._make_subclass(3, torch.ones(1))
    with pytest.raises(TypeError, match="must be Tensor, not int"):
        torch.Tensor._make_subclass(Mine, 3)


def test_deepcopy():
    x = torch.ones(2, 3)[:, 1:]
    x.note = ["a"]
    y = copy.deepcopy(x)
    assert y.tolist() == x.tolist()
    assert y.stride() == x.stride()
    assert y.note == ["a"]
    assert y.note is not x.note
    a = torch.ones(4)
    b, c = copy.deepcopy((a, a[1:3]))
    b[1] = 9
    assert c.tolist() == [9.0, 1.0]
    assert a.tolist() == [1.0] * 4
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(torch.ones(1, requires_grad=True) * 2)


def test_pickle():
    for t in (
        torch.arange(6).reshape(2, 3).T,
        torch.ones(2, requires_grad=True),
        torch.zeros(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
        Mine([1.0]),
    ):
        u = pickle.loads(pickle.dumps(t))
        assert type(u) is type(t)
        assert u.dtype is t.dtype
        assert u.requires_grad == t.requires_grad
        assert u.tolist() == t.tolist()
        assert u.stride() == t.stride()
    a = torch.ones(3)
    b, c = pickle.loads(pickle.dumps((a, a[1:])))
    b[1] = 5
    assert c.tolist() == [5.0, 1.0]


@pytest.mark.parametrize(
    "value", [torch.float32, torch.strided, torch.channels_last, torch.device("cuda:1"), torch.Size([2, 3])]
)
def test_small_values_are_pickled(value):
    back = pickle.loads(pickle.dumps(value))
    assert back == value
    assert type(back) is type(value)


def test_numbers():
    assert float(torch.tensor(1.5)) == 1.5
    assert int(torch.tensor(2.7)) == 2
    assert complex(torch.tensor(1 + 2j)) == 1 + 2j
    assert [10, 20][torch.tensor(1)] == 20
    assert bool(torch.tensor([0.0])) is False
    assert torch.tensor(2**63 + 1, dtype=torch.uint64).item() == 2**63 + 1
    assert f"{torch.tensor(1.5):.3f}" == "1.500"
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(torch.ones(2))
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with no values is ambiguous"):
        bool(torch.ones(0))
    with pytest.raises(ValueError, match="only one element tensors can be converted to Python scalars"):
        float(torch.ones(2))
    with pytest.raises(TypeError, match="only integer tensors of a single element can be converted to an index"):
        [1][torch.tensor(0.0)]


def test_python_operators_answer_not_implemented():
    x = torch.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x == "a") is False
    for other in ("a", None, [1, 2]):
        with pytest.raises(TypeError, match="unsupported operand"):
            x + other
    with pytest.raises(TypeError, match="'<' not supported between instances of 'Tensor' and 'str'"):
        x < "a"  # noqa: B015
    with pytest.raises(TypeError, match="unsupported operand type"):
        x @ 3

    class Other:
        def __radd__(self, other):
            return "mine"

    assert x + Other() == "mine"


def test_legacy_construction():
    assert torch.Tensor(2, 3).shape == (2, 3)
    assert torch.Tensor([1, 2]).dtype is torch.float32
    assert torch.Tensor().shape == (0,)
    assert torch.Tensor(torch.Size([2, 1])).shape == (2, 1)
    x = torch.ones(2)
    torch.Tensor(x)[0] = 5
    assert x[0] == 5
    with pytest.raises(TypeError, match=r"new\(\): data must be a sequence \(got float\)"):
        torch.Tensor(3.5)


def test_meta_tensors_of_no_dimensions_do_not_mix_with_memory():
    scalar, vector = torch.empty((), device="meta"), torch.ones(3)
    for a, b in ((scalar, vector), (vector, scalar)):
        with pytest.raises(RuntimeError, match="is not on the expected device"):
            a + b
    assert (torch.tensor(1.0) + scalar).is_meta and (scalar * torch.tensor(2.0)).is_meta
    assert torch.where(torch.tensor(True), scalar, scalar).is_meta
