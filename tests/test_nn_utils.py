"""Clipping, packed sequences, parametrisations and the other helpers around modules."""

import copy

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import utils
from flambeau.nn.utils import parametrizations, parametrize, stateless
from flambeau.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
)


def near(tensor, want, tolerance=1e-5) -> bool:
    return bool(((tensor - want).abs() <= tolerance).all())


def test_gradients_are_clipped():
    ps = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    ps[0].grad, ps[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([-4.0])
    assert utils.clip_grad_norm_(ps, 1.0).item() == pytest.approx(5.0)
    assert ps[0].grad.tolist() == pytest.approx([0.6, 0.0], abs=1e-6) and ps[2].grad is None
    utils.clip_grad_value_(ps, 0.5)
    assert ps[0].grad.tolist() == [0.5, 0.0] and ps[1].grad.tolist() == [-0.5]
    ps[0].grad = torch.tensor([float("inf"), 0.0])
    with pytest.raises(
        RuntimeError, match=r"The total norm of order 2.0 for gradients from `parameters` is non-finite"
    ):
        utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)


def test_parameters_as_a_vector():
    layer = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,)
    utils.vector_to_parameters(torch.arange(9.0), layer.parameters())
    assert layer.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and layer.bias.tolist() == [6, 7, 8]


def test_packing_goes_round():
    sequences = [torch.arange(3.0), torch.arange(5.0), torch.arange(1.0)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 2, 1, 1]
    assert [s.tolist() for s in unpack_sequence(packed)] == [s.tolist() for s in sequences]
    padded, lengths = pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=6)
    assert padded.shape == (3, 6) and lengths.tolist() == [3, 5, 1] and padded[2].tolist() == [0, *[-1] * 5]
    assert pad_sequence(sequences, batch_first=True, padding_side="left")[2].tolist() == [0.0] * 5
    with pytest.raises(RuntimeError, match="`lengths` array must be sorted in decreasing order"):
        pack_sequence(sequences)
    with pytest.raises(RuntimeError, match="Length of all samples has to be greater than 0"):
        pack_padded_sequence(torch.zeros(4, 2), [4, 0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_packed_runs_are_runs_of_single_sequences(kind):
    torch.manual_seed(0)
    model = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True)
    sequences = [torch.rand(n, 3) for n in (2, 5, 3)]
    out, state = model(pack_sequence(sequences, enforce_sorted=False))
    state = state[0] if kind == "LSTM" else state
    for i, (one, sequence) in enumerate(zip(unpack_sequence(out), sequences, strict=True)):
        alone, final = model(sequence)
        assert near(one, alone)
        assert near(state[:, i], final[0] if kind == "LSTM" else final)


def test_weight_norm():
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().clone()
    parametrizations.weight_norm(layer)
    assert list(layer.state_dict()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    assert near(layer.weight, before)
    layer(torch.ones(1, 3)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and near(layer.weight, before)


def test_spectral_norm():
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(6, 5))
    for _ in range(30):
        layer(torch.ones(1, 6))
    u = torch.rand(6)
    for _ in range(100):
        u = layer.weight.detach().t() @ (layer.weight.detach() @ u)
        u = u / u.norm() if hasattr(u, "norm") else u / (u * u).sum().sqrt()
    largest = ((layer.weight.detach() @ u) ** 2).sum().sqrt().item()
    assert largest == pytest.approx(1.0, abs=1e-3)


def test_parametrisations_of_ones_own():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(0, 1)

        def right_inverse(self, x):
            return x.triu()

    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias")
    assert layer.weight.tolist() == layer.weight.t().tolist()
    with parametrize.cached():
        assert layer.weight is layer.weight
    layer.weight = torch.ones(3, 3)
    assert layer.weight.tolist() == [[1.0] * 3] * 3
    assert copy.deepcopy(layer).weight.tolist() == layer.weight.tolist()

    class Wrong(nn.Module):
        def forward(self, x):
            return x[:1]

    plain = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="may not change the shape of the tensor"):
        parametrize.register_parametrization(plain, "weight", Wrong())
    assert type(plain) is nn.Linear and "weight" in plain._parameters


def test_calls_with_other_parameters():
    layer = nn.Linear(2, 2)
    before = layer.weight.tolist()
    out = stateless.functional_call(layer, {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}, torch.ones(1, 2))
    assert out.tolist() == [[2.0, 2.0]] and layer.weight.tolist() == before
    with pytest.raises(RuntimeError, match="Unexpected key"):
        stateless.functional_call(layer, {"wieght": torch.ones(2, 2)}, torch.ones(1, 2), strict=True)


def test_folding_normalisation_into_a_convolution():
    torch.manual_seed(0)
    conv, bn = nn.Conv2d(2, 3, 2).eval(), nn.BatchNorm2d(3).eval()
    bn.running_mean.uniform_(-1, 1)
    bn.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 2, 4, 4)
    assert near(utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)))


def test_modules_without_initial_values():
    layer = utils.skip_init(nn.Linear, 3, 4)
    assert layer.weight.shape == (4, 3) and layer.weight.device.type == "cpu"


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal_weights_stay_so(shape, how, trivial):
    torch.manual_seed(0)
    m = nn.Linear(*reversed(shape), dtype=torch.float64)
    if how == "matrix_exp" and not trivial:
        with pytest.raises(NotImplementedError, match="It is not possible to assign to the matrix exponential"):
            fixed = parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map=how, use_trivialization=False)
            fixed.weight = torch.eye(2)
    if trivial or how == "householder":
        start = torch.eye(*shape, dtype=torch.float64)
        parametrizations.orthogonal(m, orthogonal_map=how, use_trivialization=trivial)
        m.weight = start
        torch.testing.assert_close(m.weight, start)
        optimizer = torch.optim.SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (m(torch.ones(2, shape[1], dtype=torch.float64)) ** 3).sum().backward()
            optimizer.step()
        w = m.weight if shape[0] >= shape[1] else m.weight.T
        assert not torch.allclose(m.weight, start)
        torch.testing.assert_close(w.T @ w, torch.eye(min(shape), dtype=torch.float64))
        assert ("parametrizations.weight.0.base" in m.state_dict()) is trivial


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda m: parametrizations.orthogonal(m, "bias"), ValueError, "Expected a matrix or batch of matrices. Got a "),
        (lambda m: parametrizations.orthogonal(m, "foo"), ValueError, "has no parameter or buffer with name 'foo'"),
        (lambda m: parametrizations.orthogonal(m, orthogonal_map="foo"), ValueError, "orthogonal_map has to be one of"),
        (lambda m: parametrizations.orthogonal(m, orthogonal_map="householder"), ValueError,
         "The householder parametrization does not support complex tensors."),
    ],
)  # fmt: skip
def test_what_orthogonal_refuses(call, error, sentence):
    kind = torch.complex64 if "complex" in sentence else torch.float32
    with pytest.raises(error, match=sentence):
        call(nn.Linear(3, 4, dtype=kind))


def test_packed_sequences_in_other_dtypes():
    packed = pack_sequence([torch.ones(3, 2), torch.ones(2, 2)])
    kinds = {"int": torch.int32, "long": torch.int64, "short": torch.int16, "char": torch.int8, "byte": torch.uint8}
    for name, dtype in kinds.items():
        assert getattr(packed, name)().data.dtype is dtype
    with pytest.raises(RuntimeError, match="Cannot pack empty tensors"):
        pack_padded_sequence(torch.ones(0, 3, 2), torch.tensor([5, 3, 1]))
