"""Subclasses' `__torch_function__` sees properties and methods that are no operators, with PyTorch's functions."""

import copy

import numpy as np
import pytest

import flambeau as torch
from flambeau import _core


class Seen(torch.Tensor):
    log: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.log.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


def asked(action):
    """The functions that were seen, and the result."""
    Seen.log.clear()
    result = action()
    return list(Seen.log), result


@pytest.fixture
def x():
    return torch.ones(2, 2).as_subclass(Seen)


@pytest.mark.parametrize(
    "name", ["shape", "dtype", "device", "requires_grad", "grad", "grad_fn", "is_leaf", "T", "mT", "data", "ndim", "layout", "real"]
)
def test_properties(x, name: str) -> None:
    seen, value = asked(lambda: getattr(x, name))
    assert seen == [getattr(torch.Tensor, name).__get__]
    assert isinstance(value, Seen) == (name in ("T", "mT", "data", "real"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("detach", Seen), ("size", torch.Size), ("dim", int), ("stride", tuple), ("numel", int), ("tolist", list), ("numpy", np.ndarray),
     ("is_contiguous", bool), ("data_ptr", int), ("storage_offset", int), ("element_size", int), ("requires_grad_", Seen),
     ("is_floating_point", bool), ("get_device", int), ("type", str), ("is_shared", bool)],
)  # fmt: skip
def test_methods(x, name: str, kind: type) -> None:
    seen, value = asked(getattr(x, name))
    assert seen == [getattr(torch.Tensor, name)] and isinstance(value, kind)


def test_numbers_and_builtins(x) -> None:
    one = torch.ones(()).as_subclass(Seen)
    for action, function in (
        (one.item, "item"), (lambda: float(one), "__float__"), (lambda: int(one), "__int__"), (lambda: bool(one), "__bool__"),
        (lambda: len(x), "__len__"), (lambda: repr(x), "__repr__"), (lambda: x.size(0), "size"),
    ):  # fmt: skip
        seen, _ = asked(action)
        assert seen == [getattr(torch.Tensor, function)]
    y = torch.ones((), requires_grad=True).as_subclass(Seen)
    seen, _ = asked(y.backward)
    assert seen == [torch.Tensor.backward]
    assert asked(lambda: copy.deepcopy(x))[0] == []


def test_assignments(x) -> None:
    def change():
        x.requires_grad = False
        x.grad = None
        x.data = torch.zeros(2, 2)

    seen, _ = asked(change)
    assert seen == [getattr(torch.Tensor, name).__set__ for name in ("requires_grad", "grad", "data")]
    assert x.sum().item() == 0


def test_answers_may_be_ones_own(x) -> None:
    class Named(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func == torch.Tensor.shape.__get__:
                return "large"
            return NotImplemented if func is torch.Tensor.item else super().__torch_function__(func, types, args, kwargs or {})

        def dim(self):
            return 7

    named = torch.ones(1).as_subclass(Named)
    assert named.shape == "large" and named.dim() == 7 and named.dtype is torch.float32
    with pytest.raises(TypeError):
        named.item()
    with torch.overrides.DisableTorchFunctionSubclass():
        assert named.shape == (1,)
    assert Named.shape is torch.Tensor.shape
    with pytest.raises(AttributeError, match="is_leaf"):
        named.is_leaf = True


def test_who_is_not_asked() -> None:
    class Deaf(torch.Tensor):
        __torch_function__ = _core._disabled_torch_function_impl

    plain = torch.ones(2)
    assert "shape" not in vars(Deaf) and "shape" not in vars(torch.nn.Parameter) and plain.as_subclass(Deaf).shape == (2,)

    class Plain(torch.Tensor):
        pass

    assert isinstance(plain.as_subclass(Plain).detach(), Plain)
    assert isinstance(plain.as_subclass(Plain).data, Plain)
