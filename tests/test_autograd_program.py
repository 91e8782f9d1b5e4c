"""Hand-written gradients: what a trace records, what becomes part of its key, what it refuses."""

import itertools

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.autograd.program import GradientTraceError, trace
from flambeau.ops.names import operators as o
from flambeau.ops.table import FLOATING, Native, op

_numbers = itertools.count()


def leaf(*sizes):
    return torch.rand(*sizes, dtype=torch.float64).requires_grad_()


def scaled(grad):
    """An operator of its own that runs `view`, with the gradient given."""
    name = f"traced{next(_numbers)}"
    signature = f"{name}(Tensor self, int[] size) -> Tensor"
    op(signature, names=(), dtypes=FLOATING, body=Native("view"), grad=grad, doc="For a test.")
    return getattr(o, name), name


def test_sizes_are_symbols():
    traces = []

    def grad(o, g, self, size):
        traces.append(1)
        return o.reshape(g, (self.shape[0], self.shape[-1] * 1))

    f, _ = scaled(grad)
    for n in (2, 3, 7):
        x = leaf(n, 4)
        f(x, [4 * n]).sum().backward()
        assert x.grad.shape == (n, 4)
    assert len(traces) == 1
    x = leaf(2, 2, 2)
    with pytest.raises(RuntimeError):
        f(x, [8]).sum().backward()
    assert len(traces) == 2


def test_looking_at_a_size_is_refused():
    f, name = scaled(lambda o, g, self, size: g.reshape(self.shape) if self.shape[0] > 1 else g)
    with pytest.raises(GradientTraceError, match=f"the gradient of {name} looks at a size"):
        f(leaf(2, 2), [4])


def test_looking_at_a_number_makes_it_part_of_the_key():
    seen = []

    def grad(o, g, self, size):
        seen.append(len(size))
        return o.reshape(g, self.shape) * (2.0 if size[0] == 4 else 3.0)

    f, _ = scaled(grad)
    for size, factor in (([4], 2.0), ([6], 3.0), ([4], 2.0), ([2, 3], 3.0)):
        x = leaf(*([2, 2] if size == [4] else [3, 2]))
        f(x, size).sum().backward()
        assert x.grad.flatten()[0].item() == factor
    assert seen == [1, 1, 2]


def test_only_what_is_read_is_kept():
    _, name = scaled(lambda o, g, self, size: g.reshape(self.shape))
    dtype = torch.float64
    params, args = [("self", "Tensor", False), ("size", "int[]", False)], [(dtype, 2, (2, 3)), (6,)]
    kept, code, results, _, _, looked = trace(name, name, params, args, [(dtype, 1, (6,))], (True,))
    assert kept == [(False, 0, False)] and len(code) == len(results) == 1 and not looked


def test_unneeded_gradients_are_not_computed():
    a, b = leaf(2, 3), leaf(3, 2).detach()
    fn = torch.mm(a, b).grad_fn
    assert fn.next_functions[1][0] is None
    _, code, results, _, _, _ = trace(
        "mm",
        "mm",
        [("self", "Tensor", False), ("mat2", "Tensor", False)],
        [(torch.float64, 2, (2, 3)), (torch.float64, 2, (3, 2))],
        [(torch.float64, 2, (2, 2))],
        (True, False),
    )
    assert results[1] == ("const", None)
    assert [c[0] for c in code] and len(code) <= 2


def test_dimensions_of_results_are_known():
    def grad(o, g, self, size):
        y = o.unsqueeze(g, 0)
        assert y.ndim == g.ndim + 1 and y.shape[0] is not None
        return o.reshape(o.sum(y, [0]), self.shape)

    f, _ = scaled(grad)
    assert gradcheck(lambda x: f(x, [6]), (leaf(2, 3),))


@pytest.mark.parametrize(
    ("grad", "sentence"),
    [
        (lambda o, g, self, size: o.no_such_operator(g), "asks for operator 'no_such_operator', which does not exist"),
        (lambda o, g, self, size: g.reshape("a"), r"calls reshape\(Slot, str\), which no overload takes"),
        (lambda o, g, self, size: g.mul_(2).reshape(self.shape), "changes a tensor in place"),
        (lambda o, g, self, size: g if g else None, "branches on the values of a tensor"),
        (lambda o, g, self, size: (g, g), "returns 2 values; it must return one for each of the 1 tensor parameters"),
    ],
)
def test_what_cannot_be_recorded(grad, sentence):
    f, _ = scaled(grad)
    with pytest.raises((GradientTraceError, AttributeError), match=sentence):
        f(leaf(2, 2), [4])


def test_run_time_numbers():
    assert gradcheck(lambda x: torch.cumsum(x, 1), (leaf(2, 3),))
    for alpha in (0.5, 2.0):
        assert gradcheck(lambda x, y, a=alpha: torch.addmm(x, y, y, alpha=a), (leaf(2, 2), leaf(2, 2)))
    for start in range(3):
        assert gradcheck(lambda x, s=start: x.narrow(0, s, 2), (leaf(4, 2),))
        assert gradgradcheck(lambda x, s=start: x.narrow(0, s, 2) ** 2, (leaf(4, 2),))


def test_lists_of_tensors():
    a, b, c = leaf(2, 1), leaf(2, 3).detach(), leaf(2, 2)
    torch.cat([a, b, c], 1).sum().backward()
    assert a.grad.shape == (2, 1) and b.grad is None and c.grad.shape == (2, 2)
    assert gradgradcheck(lambda a, c: torch.cat([a, c, a], 1) ** 2, (leaf(2, 1), leaf(2, 2)))


def test_several_outputs_with_and_without_gradients():
    x = leaf(3, 4)
    values, positions = x.max(1)
    assert not positions.requires_grad
    values.sum().backward()
    assert x.grad.sum().item() == 3
    parts = leaf(4, 2).split(2)
    (g,) = torch.autograd.grad(parts[1].sum(), parts[1].grad_fn.next_functions[0][0].variable)
    assert g.sum(1).tolist() == [0.0, 0.0, 2.0, 2.0]


def test_an_operator_without_a_gradient_says_so():
    name = f"traced{next(_numbers)}"
    op(f"{name}(Tensor self, int[] size) -> Tensor", names=(), dtypes=FLOATING, body=Native("view"), doc="For a test.")
    y = getattr(o, name)(leaf(2), [2])
    with pytest.raises(RuntimeError, match=f"derivative for aten::{name} is not implemented"):
        y.sum().backward()
