"""autograd.Function, checkpointing, derivatives of functions."""

import gc
import weakref

import pytest

import flambeau as torch
from flambeau.autograd import Function
from flambeau.autograd.function import once_differentiable
from flambeau.utils.checkpoint import checkpoint, checkpoint_sequential


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


class Square(Function):
    @staticmethod
    def forward(ctx, x, scale=1.0):
        ctx.scale = scale
        ctx.save_for_backward(x)
        return x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g * ctx.scale, None


def test_function():
    x = leaf(1.0, 2.0)
    y = Square.apply(x, 3.0)
    assert type(y.grad_fn).__name__ == "SquareBackward" and y.grad_fn.scale == 3.0
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.sum().backward()


def test_function_is_differentiated_twice():
    assert torch.autograd.gradcheck(Square.apply, (leaf(1.0, 2.0),))
    assert torch.autograd.gradgradcheck(Square.apply, (leaf(1.0, 2.0),))


def test_function_without_recording():
    x = leaf(1.0)
    with torch.no_grad():
        assert Square.apply(x).is_leaf
    assert not Square.apply(torch.ones(1)).requires_grad


class Exp(Function):
    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def test_saved_output_keeps_its_history():
    assert torch.autograd.gradcheck(Exp.apply, (leaf(0.5, 1.0),))
    assert torch.autograd.gradgradcheck(Exp.apply, (leaf(0.5, 1.0),))


def test_saved_values_are_watched():
    x = leaf(1.0)
    y = Exp.apply(x)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Pair(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.needs = ctx.needs_input_grad
        signs = (x > 0).to(x.dtype)
        ctx.mark_non_differentiable(signs)
        return x * 2, y * 3, signs

    @staticmethod
    def backward(ctx, gx, gy, gs):
        ctx.got = (gx, gy)
        return gx * 2, gy * 3


def test_several_outputs():
    x, y = leaf(1.0), leaf(2.0)
    a, b, signs = Pair.apply(x, y)
    assert not signs.requires_grad and a.output_nr == 0 and b.output_nr == 1
    assert a.grad_fn is b.grad_fn
    b.sum().backward()
    assert x.grad.tolist() == [0.0] and y.grad.tolist() == [3.0]


class Raw(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, a, b):
        assert a is None
        return b * 3


def test_gradients_that_are_not_materialized():
    x = leaf(1.0)
    _, b = Raw.apply(x)
    b.sum().backward()
    assert x.grad.tolist() == [3.0]


class AddOne(Function):
    @staticmethod
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 10


def test_dirty_inputs():
    x = leaf(1.0)
    y = x * 2
    z = AddOne.apply(y)
    assert z is y and y.grad_fn.name() == "AddOneBackward"
    z.sum().backward()
    assert x.grad.tolist() == [20.0]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        AddOne.apply(leaf(1.0))


class Same(Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 5


def test_input_returned_as_it_is():
    x = leaf(1.0)
    y = Same.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [5.0]


class Once(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g * 2


def test_once_differentiable():
    x = leaf(1.0)
    y = Once.apply(x * x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [4.0]
    w = leaf(1.0)
    (g,) = torch.autograd.grad((Once.apply(x * w) * w).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        g.sum().backward()


def test_wrong_functions():
    class Few(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(
        RuntimeError, match=r"function FewBackward returned an incorrect number of gradients \(expected 2"
    ):
        Few.apply(leaf(1.0), leaf(2.0)).sum().backward()

    class Shape(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return torch.ones(3, dtype=torch.float64)

    with pytest.raises(
        RuntimeError, match=r"Function ShapeBackward returned an invalid gradient at index 0 - got \[3\]"
    ):
        Shape.apply(leaf(1.0, 2.0)).sum().backward()
    with pytest.raises(RuntimeError, match="should not be instantiated"):
        Square()
    with pytest.raises(NotImplementedError, match="You must implement the forward function"):

        class Empty(Function):
            pass

        Empty.apply(leaf(1.0))


def test_an_exception_in_backward():
    class Broken(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        Broken.apply(leaf(1.0)).sum().backward()


def test_backward_inside_backward():
    class Inner(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach()
            return x * 1

        @staticmethod
        def backward(ctx, g):
            with torch.enable_grad():
                x = ctx.x.requires_grad_()
                (got,) = torch.autograd.grad((x**3).sum(), x)
            return got * g

    x = leaf(2.0)
    Inner.apply(x).sum().backward()
    assert x.grad.tolist() == [12.0]


def test_cycles_through_contexts_are_collected():
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.box = []
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g

    y = Keeps.apply(leaf(1.0))
    y.grad_fn.box.append(y)
    gone = weakref.ref(y)
    del y
    gc.collect()
    assert gone() is None


def body(x, w):
    return torch.sin(x * w) * x


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint(use_reentrant):
    x, w = leaf(0.5, 1.0), leaf(2.0, 3.0)
    expected = torch.autograd.grad(body(x, w).sum(), (x, w))
    calls = []

    def counted(x, w):
        calls.append(1)
        return body(x, w)

    checkpoint(counted, x, w, use_reentrant=use_reentrant).sum().backward()
    assert len(calls) == 2
    assert x.grad.tolist() == expected[0].tolist() and w.grad.tolist() == expected[1].tolist()


def test_checkpoint_keeps_random_numbers():
    x = leaf(*[1.0] * 64)

    def noisy(x):
        noise = torch.rand(64, dtype=torch.float64)
        return (x * noise) * x, noise

    for use_reentrant in (True, False):
        x.grad = None
        y, noise = checkpoint(noisy, x, use_reentrant=use_reentrant)
        y.sum().backward()
        assert x.grad.tolist() == (2 * noise).tolist()


def test_checkpoint_notices_different_computations():
    calls = []

    def changing(x):
        calls.append(1)
        return x * x if len(calls) == 1 else (x * x) * x

    with pytest.raises(torch.utils.checkpoint.CheckpointError, match="A different number of tensors was saved"):
        checkpoint(changing, leaf(1.0), use_reentrant=False).sum().backward()


def test_checkpoint_sequential():
    x = leaf(0.3)
    steps = [torch.sin, torch.exp, torch.cos]
    y = checkpoint_sequential(steps, 2, x, use_reentrant=False)
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g.item() == pytest.approx(torch.autograd.grad(torch.cos(torch.exp(torch.sin(x))).sum(), x)[0].item())


def test_jacobian_and_hessian():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    functional = torch.autograd.functional
    assert functional.jacobian(lambda x: x * x * x.sum(), x).tolist() == [[7.0, 1.0], [4.0, 16.0]]
    assert functional.hessian(lambda x: (x**3).sum(), x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    a, b = functional.jacobian(lambda x, y: x * y.sum(), (x, x))
    assert a.tolist() == [[3.0, 0.0], [0.0, 3.0]] and b.tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_products_with_vectors():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    v = torch.tensor([3.0, 5.0], dtype=torch.float64)
    functional = torch.autograd.functional
    _, g = functional.vjp(lambda x: x * x * x.sum(), x, v)
    assert g.tolist() == [7 * 3 + 4 * 5.0, 3 + 16 * 5.0]
    _, t = functional.jvp(lambda x: x * x * x.sum(), x, v)
    assert t.tolist() == [7 * 3 + 5.0, 4 * 3 + 16 * 5.0]
    _, h = functional.hvp(lambda x: (x**3).sum(), x, v)
    assert h.tolist() == [18.0, 60.0]
