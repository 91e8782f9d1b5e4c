"""Arguments by signature: what is accepted, and PyTorch's sentences for the rest."""

import pickle

import numpy as np
import pytest

import flambeau as torch
from flambeau import _core

x = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: torch.relu(), 'relu() missing 1 required positional arguments: "input"'),
        (lambda: torch.relu(1), "relu(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: torch.relu(x, x), "relu() takes 1 positional argument but 2 were given"),
        (lambda: torch.relu(x, foo=1), "relu() got an unexpected keyword argument 'foo'"),
        (lambda: torch.relu(x, input=x), "relu() got multiple values for argument 'input'"),
        (lambda: torch.relu(foo=1), 'relu() missing 1 required positional arguments: "input"'),
        (lambda: torch.add(x, "a"), "add(): argument 'other' (position 2) must be Tensor, not str"),
        (lambda: x.add("a"), "add(): argument 'other' (position 1) must be Tensor, not str"),
        (lambda: torch.cumsum(x, 1.5), "cumsum(): argument 'dim' (position 2) must be int, not float"),
        (lambda: torch.cumsum(x), 'cumsum() missing 1 required positional arguments: "dim"'),
        (lambda: torch.softmax(x, dims=1), 'softmax() missing 1 required positional arguments: "dim"'),
        (lambda: torch.softmax(x, 1, dype=None),
         "softmax() got an unexpected keyword argument 'dype'. Did you mean: 'dtype'?"),
        (lambda: torch.flip(x, ["a", 0]),
         "flip(): argument 'dims' (position 2) must be tuple of ints, but found element of type str at pos 0"),
        (lambda: torch.flip(x, (0, "a")),
         ("flip(): argument 'dims' failed to unpack the object at pos 2 with error "
          '"type must be tuple of ints,but got str"')),
        (lambda: torch.zeros("a"), "zeros(): argument 'size' (position 1) must be tuple of ints, not str"),
        (lambda: torch.zeros(2, dtype=3), "zeros(): argument 'dtype' must be torch.dtype, not int"),
        (lambda: torch.zeros(2, device=1.5), "zeros(): argument 'device' must be torch.device, not float"),
        (lambda: torch.cat(x), "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"),
        (lambda: torch.cat([x, 1]), "expected Tensor as element 1 in argument 0, but got int"),
        (lambda: torch.mul(x, None), "mul(): argument 'other' (position 2) must be Tensor, not NoneType"),
        (lambda: x.sum(0, 1), "sum(): argument 'keepdim' (position 2) must be bool, not int"),
    ],
)  # fmt: skip
def test_messages(call, message):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message


def test_several_signatures_are_listed():
    with pytest.raises(TypeError) as caught:
        x.view()
    assert str(caught.value) == (
        "view() received an invalid combination of arguments - got (), but expected one of:\n"
        " * (tuple of ints size)\n * (torch.dtype dtype)\n"
    )


def test_ways_to_say_the_same():
    want = x.sum(0).tolist()
    for got in (
        x.sum(dim=0), x.sum(axis=0), torch.sum(x, 0), torch.sum(input=x, dim=0), torch.sum(x, (0,)), torch.sum(x, [0]),
        torch.sum(a=x, axis=0), x.sum(np.int64(0)), x.sum(torch.tensor(0)),
    ):  # fmt: skip
        assert got.tolist() == want
    assert x.sum(0, keepdims=True).shape == (1, 3)
    for got in (x.view(3, 2), x.view((3, 2)), x.view([3, 2]), x.view(torch.Size([3, 2])), x.view(3, -1)):
        assert got.shape == (3, 2)
    assert x.permute(1, 0).shape == torch.permute(x, (1, 0)).shape == (3, 2)
    assert torch.zeros(2, 3).shape == torch.zeros((2, 3)).shape == torch.zeros(size=(2, 3)).shape == (2, 3)
    assert torch.zeros(()).shape == ()
    assert x.to("cpu") is x
    assert torch.zeros(1, dtype=float).dtype is torch.float64
    assert torch.zeros(1, dtype=int).dtype is torch.int64


def test_numbers_stand_for_operands():
    assert (x + 1).tolist() == (1 + x).tolist() == torch.add(x, 1).tolist() == torch.add(1, x).tolist()
    assert (2 - x).tolist() == torch.sub(2, x).tolist()
    assert (x + True).dtype is torch.float32
    assert (x.int() + 1.5).dtype is torch.float32
    assert (x + np.float64(1)).dtype is torch.float32
    assert (np.float64(1) * x).dtype is torch.float32
    assert (x + np.int32(1)).tolist() == (x + 1).tolist()
    assert (x * 1j).dtype is torch.complex64
    with pytest.raises(OverflowError, match="int too big to convert"):
        torch.add(x, 2**70)


def test_out():
    out = torch.empty(0)
    assert torch.exp(x, out=out) is out
    assert out.tolist() == x.exp().tolist()
    with pytest.warns(UserWarning, match="resized"):
        torch.exp(x[0], out=out)
    assert out.shape == (3,)
    y = torch.empty(2, 3, dtype=torch.float64)
    torch.add(x, x, out=y)
    assert y.tolist() == [[2.0] * 3] * 2
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        torch.exp(x, out=torch.empty(2, 3, dtype=torch.int64))
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.int64)
    result = torch.max(x, 0, out=(values, indices))
    assert result.values is values
    assert result[1] is indices
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.exp(torch.ones(1, requires_grad=True), out=torch.empty(1))


def test_named_results():
    result = torch.max(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), 1)
    assert repr(result) == "torch.return_types.max(\nvalues=tensor([3., 2.]),\nindices=tensor([1, 0]))"
    assert result.values.tolist() == [3.0, 2.0]
    _, indices = result
    assert indices.tolist() == [1, 0]


def test_errors_name_the_operator_and_its_arguments():
    with pytest.raises(RuntimeError) as caught:
        torch.add(torch.ones(2), torch.ones(3))
    assert str(caught.value) == (
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0 "
        "[in add: self=(2,) float32 cpu, other=(3,) float32 cpu]"
    )


def test_functions_and_methods_are_different_objects():
    assert torch.add is not torch.Tensor.add
    assert torch.add.__name__ == torch.Tensor.add.__name__ == "add"
    assert torch.exp.__doc__

    class Holder:
        function = torch.relu  # a function in a class is no method

    assert Holder().function(torch.tensor([-1.0])).tolist() == [0.0]
    assert x.add.__self__ is x
    assert torch.Tensor.exp(x).tolist() == x.exp().tolist()
    assert pickle.loads(pickle.dumps(torch.device("cpu"))) == torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f(Tensor self", "expected"),
        ("f(Thing self) -> Tensor", "a type"),
        ("f(Tensor self, int k=) -> Tensor", "a default value"),
        ("f(Tensor self) -> Tensor trailing junk", "the end"),
        ("f(str[] names) -> Tensor", "a list of Tensor, int or float"),
    ],
)
def test_bad_signatures(text, words):
    with pytest.raises(ValueError, match=words):
        _core.register_op("bad." + text, text, kind="native", native="alias")


def test_registration_checks():
    with pytest.raises(ValueError, match="no kind of body"):
        _core.register_op("bad.kind", "f(Tensor self) -> Tensor", kind="strange")
    with pytest.raises(ValueError, match="no C\\+\\+ function is registered under 'nothing_here'"):
        _core.register_op("bad.native", "f(Tensor self) -> Tensor", kind="native", native="nothing_here")
    with pytest.raises(ValueError, match="registered already"):
        _core.register_op("exp", "exp(Tensor self) -> Tensor", kind="scalar")
