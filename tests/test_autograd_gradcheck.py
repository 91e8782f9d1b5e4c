"""gradcheck and gradgradcheck find what is wrong, and nothing else."""

import pytest

import flambeau as torch
from flambeau.autograd import Function, GradcheckError, gradcheck, gradgradcheck


def leaf(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def cube(backward):
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            return backward(ctx.saved_tensors[0], g)

    return Cube.apply


def test_right_gradients_pass():
    x, y = leaf(0.3, -1.2, 2.0), leaf(1.0, 0.5, -0.7)
    assert gradcheck(lambda x, y: (torch.sin(x) * y, torch.exp(y)), (x, y))
    assert gradgradcheck(lambda x, y: (torch.sin(x) * y, torch.exp(y)), (x, y))
    assert gradcheck(cube(lambda x, g: 3 * x * x * g), (x,))


@pytest.mark.parametrize(
    "backward",
    [lambda x, g: 3 * x * g, lambda x, g: 3.01 * x * x * g, lambda x, g: None, lambda x, g: g * float("nan")],
)
def test_wrong_gradients_fail(backward):
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0,\nnumerical:"):
        gradcheck(cube(backward), (leaf(0.5, 2.0),))
    assert not gradcheck(cube(backward), (leaf(0.5, 2.0),), raise_exception=False)


def test_a_wrong_second_derivative_fails():
    wrong_twice = cube(lambda x, g: 3 * x.detach() * x * g)
    assert gradcheck(wrong_twice, (leaf(0.5, 2.0),))
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(wrong_twice, (leaf(0.5, 2.0),))


def test_gradients_that_change_fail():
    state = [1.0]

    def backward(x, g):
        state[0] += 1e-4
        return 3 * x * x * g + state[0] * 1e-6

    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(cube(backward), (leaf(0.5, 2.0),))
    assert gradcheck(cube(backward), (leaf(0.5, 2.0),), nondet_tol=1e-3)


def test_bad_inputs():
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(torch.exp, (torch.ones(2, dtype=torch.float64),))
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        gradcheck(torch.exp, (leaf(1.0, dtype=torch.float32),), atol=1, rtol=1)
    wide = torch.ones(1, dtype=torch.float64).expand(3).requires_grad_()
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(torch.exp, (wide,))


def test_integers_and_other_arguments_pass_through():
    x = leaf(1.0, 2.0)
    assert gradcheck(lambda x, n, k: x * n * k, (x, torch.tensor([2, 3]), 2.5))


def test_layouts():
    x = torch.rand(3, 4, dtype=torch.float64).t().requires_grad_()
    assert gradcheck(lambda x: x * x, (x,))
    assert gradgradcheck(lambda x: x * x * x, (x,), gen_non_contig_grad_outputs=True)
