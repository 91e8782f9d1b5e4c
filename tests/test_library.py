"""Operators that programs make of their own functions."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck

library = torch.library


@library.custom_op("tests::scaled", mutates_args=())
def scaled(x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
    """x * by."""
    return x * by


def test_calls_by_every_name():
    x = torch.ones(2)
    assert scaled(x).tolist() == torch.ops.tests.scaled(x, 2.0).tolist() == torch.ops.tests.scaled.default(x=x).tolist()
    assert repr(scaled) == "<CustomOpDef(tests::scaled)>" and scaled.__doc__ == "x * by."
    with pytest.raises(AttributeError, match="'_OpNamespace' 'tests' object has no attribute 'nothing'"):
        _ = torch.ops.tests.nothing
    with pytest.raises(TypeError):
        scaled(x, 1.0, 2.0)


def test_gradients():
    plain = library.custom_op("tests::plain", lambda_with_annotations(), mutates_args=())
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Trying to backward through tests.plain.default but no autograd formula"):
        plain(x).sum().backward()

    def setup(ctx, inputs, output):
        ctx.by = inputs[1]
        ctx.save_for_backward(inputs[0])

    def backward(ctx, g):
        (kept,) = ctx.saved_tensors
        return 2 * kept * g * ctx.by, None

    library.register_autograd("tests::plain", backward, setup_context=setup)
    assert gradcheck(lambda t: plain(t, 3.0), torch.rand(3, dtype=torch.float64, requires_grad=True))
    plain.register_autograd(lambda ctx, g: (g, None, None))
    with pytest.raises(RuntimeError, match="backward gave 3 gradients for 2 arguments"):
        plain(x).sum().backward()


def lambda_with_annotations():
    def square(x: torch.Tensor, by: float = 1.0) -> torch.Tensor:
        return x * x * by

    return square


def test_gradients_of_tensors_in_lists():
    @library.custom_op("tests::total", mutates_args=())
    def total(parts: list[torch.Tensor], last: torch.Tensor, *, by: float) -> torch.Tensor:
        return (sum(parts) + last) * by

    def setup(ctx, inputs, keyword_only_inputs, output):
        ctx.by, ctx.count = keyword_only_inputs["by"], len(inputs[0])

    total.register_autograd(lambda ctx, g: ([g * ctx.by] * ctx.count, g), setup_context=setup)
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    total([a, b], c, by=5.0).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist(), c.grad.tolist()) == ([5, 5], [5, 5], [1, 1])


def test_changes_in_place_and_shared_memory():
    @library.custom_op("tests::fill", mutates_args=("x",))
    def fill(x: torch.Tensor, value: float) -> None:
        x.fill_(value)

    x = torch.zeros(2)
    assert fill(x, 3.0) is None and x.tolist() == [3, 3]
    same = library.custom_op("tests::same", mutates_args=())(returns_its_argument)
    with pytest.raises(RuntimeError, match="must not also be an input to this custom operator"):
        same(x)


def returns_its_argument(x: torch.Tensor) -> torch.Tensor:
    return x.view(-1)


def test_devices():
    one = library.custom_op("tests::one", mutates_args=(), device_types="cuda")(lambda_with_annotations())
    with pytest.raises(NotImplementedError, match="Could not run 'tests::one' with arguments from the 'CPU' backend"):
        one(torch.ones(2))
    library.register_kernel("tests::one", "cpu")(lambda x, by: x + by)
    assert one(torch.ones(2)).tolist() == [2, 2]
    library.register_fake(one)(lambda x, by: x.new_empty(7))
    assert one(torch.ones(2, device="meta")).shape == (7,)


def test_wrong_definitions():
    with pytest.raises(ValueError, match=r"infer_schema\(func\): Parameter x must have a type annotation"):
        library.custom_op("tests::bad", lambda x: x, mutates_args=())
    with pytest.raises(ValueError, match="Expected name to be of the form 'namespace::name', got 'bad'"):
        library.custom_op("bad", lambda_with_annotations(), mutates_args=())
    with pytest.raises(ValueError, match="belongs to Flambeau"):
        library.custom_op("pool::bad", lambda_with_annotations(), mutates_args=())
    with pytest.raises(ValueError, match="there is no operator 'tests::never'"):
        library.register_fake("tests::never")
