"""The one interception point: handlers on the thread, __torch_function__, composites too."""

import copy
import inspect
import pickle
import threading

import pytest

import flambeau as torch
from flambeau import _core


class Log:
    """Records every call it sees, and lets it go on."""

    def __init__(self):
        self.names = []

    def __call__(self, func, types, args, kwargs):
        self.names.append(func.__name__)
        return func(*args, **kwargs)

    def __enter__(self):
        _core.push_mode(self)
        return self

    def __exit__(self, *_):
        assert _core.pop_mode() is self


def test_a_mode_sees_operators_composites_and_python_operators():
    x = torch.ones(2, 3)
    with Log() as log:
        x + 1
        x.exp()
        torch.relu(x)
        x.float()  # a composite
        torch.zeros(2)
        torch.tensor([1, 2])
        x[0]
        x[0] = 2.0
        torch.cat([x, x])
    assert log.names == ["add", "exp", "relu", "float", "zeros", "tensor", "__getitem__", "__setitem__", "cat"]
    assert _core.active_modes() == 0


def test_modes_nest_and_unwind():
    x = torch.ones(2)
    with Log() as outer:
        with Log() as inner:
            x + 1
        with pytest.raises(TypeError):
            torch.relu("a")
        x * 2
    assert inner.names == ["add"]
    assert outer.names == ["add", "relu", "mul"]


def test_a_mode_may_answer_itself():
    _core.push_mode(lambda func, types, args, kwargs: "answer")
    try:
        assert torch.ones(2) == "answer"
    finally:
        _core.pop_mode()


def test_modes_belong_to_their_thread():
    x = torch.ones(2)
    results = []
    with Log() as log:
        thread = threading.Thread(target=lambda: results.append((x + 1).tolist()))
        thread.start()
        thread.join()
    assert log.names == []
    assert results == [[2.0, 2.0]]


class Recorder(torch.Tensor):
    seen: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append((func.__name__, types))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_torch_function_of_a_subclass():
    r = torch.ones(2).as_subclass(Recorder)
    Recorder.seen.clear()
    y = torch.ones(2) + r
    assert type(y) is Recorder
    assert Recorder.seen == [("add", (Recorder,))]
    torch.cat([torch.ones(2), r])
    assert Recorder.seen[-1][0] == "cat"
    torch.add(torch.ones(2), other=r)
    assert Recorder.seen[-1][0] == "add"


def test_torch_function_of_a_class_that_is_no_tensor():
    class Table:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func.__name__

    assert torch.exp(Table()) == "exp"
    assert torch.add(torch.ones(1), Table()) == "add"
    assert torch.ones(1) + Table() == "add"
    assert torch.stack([Table()]) == "stack"

    class Refusing:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return NotImplemented

    with pytest.raises(TypeError, match="returned NotImplemented"):
        torch.exp(Refusing())


def test_subclasses_are_asked_before_their_bases():
    order = []

    class Base(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            order.append(cls.__name__)
            return NotImplemented

    class Derived(Base):
        pass

    with pytest.raises(TypeError):
        torch.add(torch.ones(1).as_subclass(Base), torch.ones(1).as_subclass(Derived))
    assert order == ["Derived", "Base"]


def test_disabled_torch_function_stays_on_the_fast_path():
    class Plain(torch.Tensor):
        __torch_function__ = _core._disabled_torch_function_impl

    p = torch.Tensor._make_subclass(Plain, torch.ones(2))
    assert type(p) is Plain
    assert type(p + 1) is torch.Tensor
    assert type(p.exp()) is torch.Tensor
    assert repr(p) == "tensor([1., 1.])"


def test_modes_see_a_python_composition_once_and_as_what_it_is():
    loss = torch.nn.functional.mse_loss
    x, y = torch.ones(3), torch.zeros(3)
    with Log() as log:
        loss(x, target=y, reduction="sum")
    assert log.names[0] == "mse_loss" and log.names.count("mse_loss") == 1
    assert list(inspect.signature(loss).parameters)[:2] == ["input", "target"] and "mse_loss" in repr(loss)
    assert pickle.loads(pickle.dumps(loss)) is loss and copy.deepcopy(loss) is loss
    assert type("Holder", (), {"loss": loss})().loss.__func__ is loss  # binds like any function of Python
    with pytest.raises(TypeError, match="mse_loss"):
        loss(x)
