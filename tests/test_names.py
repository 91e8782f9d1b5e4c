"""Names beside the table's: functions in the order of native operators, copies of views, storages with a dtype, futures,
old forms of calls, `utils.swap_tensors`. Figures without another reference are recorded from PyTorch."""

import copy
import gc
import pickle
import re
import threading
import warnings
import weakref

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.futures import Future, collect_all, wait_all

F = nn.functional
X = torch.arange(12.0).reshape(3, 4) / 5 - 1
Y = X.flip(0)


# ---- functions in the order of native operators


def reduced(losses: torch.Tensor, how: str) -> torch.Tensor:
    return losses if how == "none" else getattr(losses, how)()


@pytest.mark.parametrize(
    ("native", "own"),
    [
        (lambda r, n: torch.kl_div(X, Y.abs(), r), lambda n: reduced(F.kl_div(X, Y.abs(), reduction="none"), n)),
        (lambda r, n: torch.kl_div(X, X, reduction=r, log_target=True), lambda n: reduced(F.kl_div(X, X, reduction="none", log_target=True), n)),
        (lambda r, n: torch.binary_cross_entropy_with_logits(X, Y, None, None, r), lambda n: F.binary_cross_entropy_with_logits(X, Y, reduction=n)),
        (lambda r, n: torch.hinge_embedding_loss(X, Y.sign(), 0.5, r), lambda n: F.hinge_embedding_loss(X, Y.sign(), 0.5, reduction=n)),
        (lambda r, n: torch.poisson_nll_loss(X, Y.abs(), True, False, 1e-8, r), lambda n: F.poisson_nll_loss(X, Y.abs(), reduction=n)),
        (lambda r, n: torch.cosine_embedding_loss(X, Y, torch.ones(3), 0.1, r), lambda n: F.cosine_embedding_loss(X, Y, torch.ones(3), 0.1, reduction=n)),
        (lambda r, n: torch.margin_ranking_loss(X, Y, Y.sign(), reduction=r), lambda n: F.margin_ranking_loss(X, Y, Y.sign(), reduction=n)),
        (lambda r, n: torch.triplet_margin_loss(X, Y, X + 1, 1.0, 2.0, 1e-6, False, r), lambda n: F.triplet_margin_loss(X, Y, X + 1, reduction=n)),
    ],
)  # fmt: skip
def test_losses(native, own) -> None:
    for number, name in enumerate(("none", "mean", "sum")):
        assert torch.equal(native(number, name), own(name))
    with pytest.raises(ValueError, match="7 is not a valid value for reduction"):
        native(7, "none")


def test_ctc_loss() -> None:
    log_probs = torch.linspace(-2, 1, 24).reshape(4, 2, 3).log_softmax(-1)
    targets, lengths = torch.tensor([[1, 2], [2, 0]]), ((4, 3), (2, 1))
    for number, name in enumerate(("none", "mean", "sum")):
        assert torch.equal(torch.ctc_loss(log_probs, targets, *lengths, 0, number), F.ctc_loss(log_probs, targets, *lengths, reduction=name))


def test_normalisation_and_dropout() -> None:
    image, weight, bias = torch.arange(48.0).reshape(2, 3, 2, 4), torch.tensor([1.0, 2, 3]), torch.tensor([0.0, 1, -1])
    mean, var = torch.zeros(3), torch.ones(3)
    got = torch.batch_norm(image, weight, bias, mean, var, True, 0.1, 1e-5, False)
    assert torch.equal(got, F.batch_norm(image, torch.zeros(3), torch.ones(3), weight, bias, True)) and bool(mean.all())
    got = torch.instance_norm(image, weight, bias, None, None, True, 0.1, 1e-5, False)
    assert torch.equal(got, F.instance_norm(image, None, None, weight, bias))
    torch.manual_seed(0)
    kept, mask = torch.native_dropout(torch.ones(1000), 0.25, True)
    assert torch.equal(kept, mask * (1 / 0.75)) and 650 < mask.sum() < 850
    assert torch.native_dropout(X, 0.5, False)[1].all() and torch.equal(torch.native_dropout(X, 0.5, False)[0], X)
    dropped = torch.feature_dropout(torch.ones(50, 4, 3), 0.5, True)
    assert bool(((dropped == 0).all(-1) | (dropped == 2).all(-1)).all()) and 0 < dropped.mean() < 2
    assert torch.equal(torch.alpha_dropout(X, 0.5, False), X) and torch.equal(torch.feature_alpha_dropout(X, 0.5, False), X)
    changed = X.clone()
    assert torch.alpha_dropout_(changed, 0.5, True) is changed and not torch.equal(changed, X)
    assert torch.allclose(torch.norm_except_dim(X, 2, 1), torch.linalg.vector_norm(X, 2, 0, True))
    assert torch.allclose(torch.norm_except_dim(X, 1, -1), X.abs().sum()) and torch.norm_except_dim(X, 3).shape == (3, 1)


def test_embeddings() -> None:
    weight, indices, offsets = torch.arange(12.0).reshape(6, 2), torch.tensor([1, 2, 3, 5]), torch.tensor([0, 3])
    for number, name in enumerate(("sum", "mean", "max")):
        out, bags, sizes, _ = torch.embedding_bag(weight, indices, offsets, False, number)
        assert torch.equal(out, F.embedding_bag(indices, weight, offsets, mode=name))
        assert (bags.tolist(), sizes.tolist()) == ([0, 0, 0, 1], [3, 1])
    short = torch.embedding_renorm_(weight.clone(), torch.tensor([[0, 5]]), 1.0, 2.0)
    assert torch.allclose(short[5].norm(), torch.tensor(1.0)) and torch.equal(short[1:5], weight[1:5])
    assert torch.equal(short[0], weight[0] / (weight[0].norm() + 1e-7) if weight[0].norm() > 1 else weight[0])


def test_convolution_and_pooling() -> None:
    image, kernel, bias = torch.arange(32.0).reshape(1, 2, 4, 4).sin(), torch.arange(24.0).reshape(3, 2, 2, 2).cos(), torch.ones(3)
    got = torch.convolution(image, kernel, bias, [2, 1], [1, 0], [1, 1], False, [0, 0], 1)
    assert torch.equal(got, F.conv2d(image, kernel, bias, (2, 1), (1, 0)))
    got = torch.convolution(image, kernel.transpose(0, 1), None, [2, 2], [0, 0], [1, 1], True, [1, 1], 1)
    assert torch.equal(got, F.conv_transpose2d(image, kernel.transpose(0, 1), None, 2, 0, 1))
    steps = torch.arange(24.0).reshape(4, 3, 2)
    weight = torch.arange(12.0).reshape(3, 2, 2)
    got = torch.conv_tbc(steps, weight, torch.zeros(2), 1)
    assert got.shape == (4, 3, 2)
    assert torch.equal(got[1], steps[0] @ weight[0] + steps[1] @ weight[1] + steps[2] @ weight[2])
    line = image.reshape(1, 2, 16)
    assert all(map(torch.equal, torch.max_pool1d_with_indices(line, 2), F.max_pool1d(line, 2, return_indices=True)))
    assert all(map(torch.equal, torch.adaptive_max_pool1d(line, 3), F.adaptive_max_pool1d(line, 3, True)))
    theta = torch.tensor([[[1.0, 0, 0.5], [0, 2, 0]]])
    assert torch.equal(torch.affine_grid_generator(theta, [1, 1, 2, 3], True), F.affine_grid(theta, [1, 1, 2, 3], True))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_networks(kind: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    net = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=bidirectional, batch_first=True)
    run = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_tanh}[kind]
    x, state = torch.randn(2, 5, 3), [torch.randn(4 if bidirectional else 2, 2, 4) for _ in range(2)]
    hx = tuple(state) if kind == "LSTM" else state[0]
    params = [p for layer in net.all_weights for p in layer]
    out, *final = run(x, hx, params, True, 2, 0.0, False, bidirectional, True)
    want, last = net(x, hx)
    for a, b in zip((out, *final), (want, *(last if kind == "LSTM" else (last,))), strict=True):
        assert torch.equal(a, b)
    packed = nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=True)
    out, *_ = run(packed.data, packed.batch_sizes, hx, params, True, 2, 0.0, False, bidirectional)
    assert torch.equal(out, net(packed, hx)[0].data)


def test_recurrent_cells() -> None:
    torch.manual_seed(0)
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    for kind, run, hx in (
        (nn.LSTMCell, torch.lstm_cell, (h, c)), (nn.GRUCell, torch.gru_cell, h), (nn.RNNCell, torch.rnn_tanh_cell, h),
        (lambda *s: nn.RNNCell(*s, nonlinearity="relu"), torch.rnn_relu_cell, h),
    ):  # fmt: skip
        cell = kind(3, 4)
        got = run(x, hx, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (got, cell(x, hx))), strict=True):
            assert torch.equal(a, b)
    relu = nn.RNN(3, 4, nonlinearity="relu")
    got = torch.rnn_relu(x[:, None], h[:1, None], relu.all_weights[0], True, 1, 0.0, False, False, False)
    assert all(map(torch.equal, got, relu(x[:, None], h[:1, None])))


def test_the_same_functions_by_another_name() -> None:
    assert torch.equal(torch.cosine_similarity(X, Y, 0), F.cosine_similarity(X, Y, 0))
    assert torch.equal(torch.pairwise_distance(X, Y), F.pairwise_distance(X, Y)) and torch.equal(torch.pdist(X), F.pdist(X))
    image = torch.arange(16.0).reshape(1, 4, 2, 2)
    assert torch.equal(torch.pixel_unshuffle(torch.pixel_shuffle(image, 2), 2), image)
    assert torch.equal(torch.channel_shuffle(image, 2)[0, :, 0, 0], torch.tensor([0.0, 8, 4, 12]))
    assert torch.equal(torch.native_channel_shuffle(image, 2), torch.channel_shuffle(image, 2))
    assert torch.equal(torch.avg_pool1d(X[None], 2), F.avg_pool1d(X[None], 2))


# ---- copies of views, other functions


def test_copies_of_views() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    for name, arguments in {
        "as_strided": ((2, 2), (1, 2)), "detach": (), "diagonal": (1,), "narrow": (1, 1, 2), "permute": ((1, 0),), "select": (0, 1),
        "split": (2,), "split_with_sizes": ((1, 2),), "squeeze": (), "t": (), "transpose": (0, 1), "unbind": (), "unfold": (1, 2, 1),
        "unsqueeze": (0,), "view": (2, 6),
    }.items():  # fmt: skip
        got, want = getattr(torch, f"{name}_copy")(base, *arguments), getattr(base, name)(*arguments)
        for a, b in zip(*(r if isinstance(r, tuple | list) else [r] for r in (got, want)), strict=True):
            assert torch.equal(a, b) and a.is_contiguous()
            assert a.untyped_storage().data_ptr() != base.untyped_storage().data_ptr()
    assert torch.equal(torch.expand_copy(base[:1], (3, 4)), base[:1].expand(3, 4))
    assert torch.equal(torch.slice_copy(base, 1, 0, 4, 2), base[:, ::2]) and torch.equal(torch.alias_copy(base), base)
    pairs = base.reshape(6, 2)
    assert torch.equal(torch.view_as_real_copy(torch.view_as_complex_copy(pairs)), pairs)


def test_old_and_plain_names() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert torch.frobenius_norm(x).item() == pytest.approx(26**0.5) and torch.frobenius_norm(x, 1).tolist() == [5.0, 1.0]
    assert torch.frobenius_norm(x, (0, 1), True).shape == (1, 1)
    assert torch.nuclear_norm(x).item() == pytest.approx(torch.linalg.svdvals(x).sum().item(), rel=1e-6)
    assert torch.nuclear_norm(x[None], (1, 2), True).shape == (1, 1, 1) and torch.nuclear_norm(x, True).shape == (1, 1)
    leaf = x.clone().requires_grad_()
    assert not torch.detach(leaf * 2).requires_grad and not torch.detach_(leaf * 2).requires_grad
    assert torch.get_device(x) == -1 and x.name is None
    assert torch.index_put_(torch.zeros(3), [torch.tensor([0, 0])], torch.tensor(1.0), True).tolist() == [2, 0, 0]
    assert torch.dequantize(x.double()).dtype is x.double().dequantize().dtype is torch.float32
    assert [t.dtype for t in torch.dequantize([torch.arange(2)])] == [torch.float32]
    for name in ("solve", "lstsq", "eig", "symeig", "matrix_rank"):
        with pytest.raises(RuntimeError, match="This function was deprecated since version 1.9 and is now removed"):
            getattr(torch, name)(x, x)
    with pytest.raises(RuntimeError, match="in favor of `torch.linalg.solve`"):
        x.solve(x)


def test_asarray() -> None:
    x, array = torch.arange(3), np.arange(3)
    assert torch.asarray(x) is x and torch.asarray(array).data_ptr() == array.__array_interface__["data"][0]
    assert torch.asarray(x, copy=True).data_ptr() != x.data_ptr() and torch.asarray(x, dtype=torch.float32).tolist() == [0, 1, 2]
    assert torch.asarray([1, 2.5]).tolist() == [1, 2.5] and torch.asarray(2).dtype is torch.int64
    assert torch.asarray(bytearray(4), dtype=torch.int16).tolist() == [0, 0]
    leaf = torch.asarray([1.0], requires_grad=True)
    assert leaf.requires_grad and not torch.asarray(leaf).requires_grad
    with pytest.raises(ValueError, match="can't alias arbitrary sequence into a tensor"):
        torch.asarray([1], copy=False)
    with pytest.raises(ValueError, match="different dtype or device"):
        torch.asarray(x, dtype=torch.float64, copy=False)


@pytest.mark.parametrize(
    ("old", "want"),
    [
        (lambda x, y: x.add(0.5, y), lambda x, y: x + 0.5 * y),
        (lambda x, y: torch.sub(x, 2, y), lambda x, y: x - 2 * y),
        (lambda x, y: x.clone().add_(0.5, y), lambda x, y: x + 0.5 * y),
        (lambda x, y: x.clone().sub_(0.5, y), lambda x, y: x - 0.5 * y),
        (lambda x, y: x.clone().addcmul_(2, x, y), lambda x, y: x + 2 * x * y),
        (lambda x, y: torch.addcmul(x, 2, x, y), lambda x, y: x + 2 * x * y),
        (lambda x, y: x.clone().addcdiv_(-0.1, x, y), lambda x, y: x - 0.1 * x / y),
        (lambda x, y: x.addmm(0.5, 2, x, y), lambda x, y: 0.5 * x + 2 * x @ y),
        (lambda x, y: x.clone().addmm_(0, x, y), lambda x, y: x @ y),
        (lambda x, y: x[0].addmv(0.5, 2, x, y[0]), lambda x, y: 0.5 * x[0] + 2 * x @ y[0]),
        (lambda x, y: x.addr(0.5, 2, x[0], y[0]), lambda x, y: 0.5 * x + 2 * torch.outer(x[0], y[0])),
        (lambda x, y: x[None].baddbmm(0.5, 2, x[None], y[None]), lambda x, y: (0.5 * x + 2 * x @ y)[None]),
        (lambda x, y: x.addbmm(0.5, 2, x[None], y[None]), lambda x, y: 0.5 * x + 2 * x @ y),
        (lambda x, y: torch.cat(torch.split(x, split_size_or_sections=1)), lambda x, y: x),
    ],
)
def test_numbers_before_tensors(old, want) -> None:
    x, y = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[2.0, -1.0], [0.5, 4.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once in a process
        got = old(x, y)
    assert torch.allclose(got, want(x, y))


def test_old_overloads_are_not_shown() -> None:
    with pytest.raises(TypeError, match=re.escape("add(): argument 'other' (position 2) must be Tensor, not str")):
        torch.add(X, "a")
    with pytest.raises(TypeError) as caught:
        torch.split(X)
    assert "split_size_or_sections" not in str(caught.value)


# ---- what common mistakes say


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: nn.Linear(3, 2)(torch.ones(1, 3).long()), RuntimeError, "mat1 and mat2 must have the same dtype, but got Long and Float"),
        (lambda: F.linear(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2).double()), RuntimeError, "self and mat2 must have the same dtype, but got Double and Float"),
        (lambda: F.linear(torch.ones(2, 3).double(), torch.ones(2, 3)), RuntimeError, "expected m1 and m2 to have the same dtype, but got: double != float"),
        (lambda: torch.addmm(torch.ones(2), torch.eye(2), torch.eye(2).double()), RuntimeError, "self and mat2 must have the same dtype, but got Float and Double"),
        (lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2).double()), RuntimeError, r"Input type \(double\) and bias type \(float\) should be the same"),
        (lambda: nn.BatchNorm1d(2)(torch.ones(2, 2).double()), RuntimeError, r"mixed dtype \(CPU\): all inputs must share same datatype"),
        (lambda: nn.LayerNorm(2)(torch.ones(2, 2).long()), RuntimeError, r"mixed dtype \(CPU\)"),
        (lambda: nn.GroupNorm(1, 2)(torch.ones(1, 2).double()), RuntimeError, r"mixed dtype \(CPU\)"),
        (lambda: F.cross_entropy(torch.ones(1, 3), torch.tensor([1.0])), RuntimeError, "expected target dtype to be Long or Byte, but got Float"),
        (lambda: F.nll_loss(torch.ones(1, 3), torch.tensor([1]).int()), RuntimeError, "expected target dtype to be Long or Byte, but got Int"),
        (lambda: F.nll_loss(torch.ones(2), torch.tensor([0, 1])), ValueError, "For 1D input, 1D target must have size 1, but got target size: 2"),
        (lambda: F.binary_cross_entropy(torch.ones(1), torch.tensor([1])), RuntimeError, "Found dtype Long but expected Float"),
        (lambda: torch.clamp(torch.ones(1)), RuntimeError, "At least one of 'min' or 'max' must not be None"),
        (lambda: torch.softmax(torch.arange(2), 0), NotImplementedError, '"softmax_lastdim_kernel_impl" not implemented for'),
        (lambda: torch.ones(2, 3) + torch.ones(3, 2), RuntimeError, r"size of tensor a \(3\) must match the size of tensor b \(2\) at non-singleton dimension 1"),
        (lambda: torch.broadcast_tensors(torch.ones(2, 3), torch.ones(3, 2)), RuntimeError, "at non-singleton dimension 1"),
        (lambda: torch.ones(2, 3)[0, 5], IndexError, "index 5 is out of bounds for dimension 1 with size 3"),
        (lambda: torch.ones(2, dtype=torch.int32).requires_grad_(), RuntimeError, "only Tensors of floating point dtype can require gradients"),
        (lambda: nn.Parameter(torch.ones(1).long()), RuntimeError, "^Only Tensors of floating point and complex dtype can require gradients"),
        (lambda: torch.einsum("ij,kj", torch.ones(2, 3), torch.ones(2, 2)), RuntimeError, "subscript j has size 2 for operand 1 which does not broadcast with previously seen size 3"),
    ],
)  # fmt: skip
def test_sentences(call, error, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def test_small_things() -> None:
    assert repr(torch.set_grad_enabled(True)) == "torch.autograd.grad_mode.set_grad_enabled(mode=True)"
    assert torch.einsum("ii", torch.tensor([[1.0, 2], [3, 4]])).item() == 5  # what appears twice is summed
    assert isinstance(torch.broadcast_tensors(torch.ones(1, 2), torch.ones(2, 1)), tuple)
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.sum().backward()
    assert y.grad.is_contiguous() and y.grad.tolist() == [1, 1]
    narrow = nn.LayerNorm(4)(torch.ones(2, 4).bfloat16())  # weights in float32 beside narrow input
    assert narrow.shape == (2, 4)


# ---- storages with a dtype


def test_typed_storages() -> None:
    x = torch.arange(6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s = x[2:].storage()
        assert x.storage_type() is torch.FloatStorage
    assert (len(s), s.size(), s.nbytes(), s.element_size(), s.tolist()) == (6, 6, 24, 4, [0, 1, 2, 3, 4, 5])
    assert (s[0], s[-1], s.dtype, str(s.device), s.type(), s.is_cuda) == (0.0, 5.0, torch.float32, "cpu", "torch.FloatStorage", False)
    assert s.data_ptr() == x.data_ptr() and isinstance(s, torch.FloatStorage) and not isinstance(s, torch.DoubleStorage)
    assert torch.is_storage(s) and isinstance(s, torch.storage.TypedStorage) and s.untyped().nbytes() == 24
    s[0] = 9
    assert x[0] == 9 and s.fill_(2).tolist() == [2.0] * 6 and x.sum() == 12
    s.copy_(torch.FloatStorage([1, 2, 3, 4, 5, 6]))
    assert x.tolist() == [1, 2, 3, 4, 5, 6] and s.double().dtype is torch.float64 and s.int().tolist() == [1, 2, 3, 4, 5, 6]
    assert s == torch.FloatStorage(wrap_storage=x.untyped_storage()) and s != s.clone() and hash(s) == hash(s)
    assert repr(torch.IntStorage([1, 2])) == " 1\n 2\n[torch.storage.TypedStorage(dtype=torch.int32, device=cpu) of size 2]"
    assert copy.deepcopy(s).tolist() == pickle.loads(pickle.dumps(s)).tolist() == s.tolist()
    assert torch.tensor([]).set_(s).data_ptr() == x.data_ptr()
    assert torch.tensor([]).set_(s, 1, (2, 2), (2, 1)).tolist() == [[2, 3], [4, 5]]
    assert torch.FloatTensor(torch.FloatStorage([1, 2])).tolist() == [1, 2] and torch.LongStorage(3).size() == 3
    grown = torch.FloatStorage([1, 2])
    assert grown.resizable() and grown.resize_(8).size() == 8 and grown[1] == 2
    assert torch.ByteStorage.from_buffer(b"ab").tolist() == [97, 98] and repr(torch.FloatStorage) == "<class 'torch.FloatStorage'>"
    assert torch.IntStorage.from_buffer(b"\x01\0\0\0", "big").tolist() == [1 << 24]
    for call, error, sentence in (
        (lambda: s[10], IndexError, "index 10 out of range for storage of size 6"),
        (lambda: s[1:3], RuntimeError, "slices are only supported in UntypedStorage"),
        (lambda: s["a"], RuntimeError, "can't index a <class 'torch.storage.TypedStorage'> with <class 'str'>"),
        (lambda: torch.FloatStorage(3, dtype=torch.int32), RuntimeError, "invalid combination of arguments"),
        (lambda: s.copy_(torch.FloatStorage(2)), RuntimeError, "size does not match"),
        (lambda: torch.IntStorage.from_buffer(b"abc"), ValueError, "must be a multiple of element size"),
        (lambda: torch.IntStorage.from_buffer(b"abcd", "odd"), ValueError, "invalid byte_order 'odd'"),
    ):
        with pytest.raises(error, match=sentence):
            call()


# ---- exchange of tensors


class Named(torch.Tensor):
    pass


def test_swapped_tensors() -> None:
    a, b = torch.zeros(1), nn.Parameter(torch.ones(2))
    a.tag = 5
    also = a
    torch.utils.swap_tensors(a, b)
    assert type(a) is nn.Parameter and type(b) is torch.Tensor and b.tag == 5 and not hasattr(a, "tag")
    assert also is a and a.tolist() == [1, 1] and a.requires_grad and b.tolist() == [0]
    layer = nn.Linear(2, 2)
    held, new = layer.weight, nn.Parameter(torch.full((2, 2), 7.0))
    torch.utils.swap_tensors(layer.weight, new)
    assert layer.weight is held and held.sum() == 28
    layer(torch.ones(1, 2)).sum().backward()
    assert held.grad.tolist() == [[1, 1], [1, 1]] and new.grad is None
    x, y = torch.ones(1).as_subclass(Named), torch.zeros(3, requires_grad=True) * 2
    torch.utils.swap_tensors(x, y)
    assert type(y) is Named and type(x) is torch.Tensor and x.grad_fn is not None
    del x, y
    gc.collect()
    watched = torch.ones(1)
    reference = weakref.ref(watched)
    with pytest.raises(RuntimeError, match="Cannot swap t2 because it has weakref associated with it"):
        torch.utils.swap_tensors(a, watched)
    assert reference() is watched


# ---- futures


def test_futures() -> None:
    future, seen = Future(), []
    added, doubled = future.then(lambda f: f.value() + 1), future.then(lambda f: f.wait() * 2)
    future.add_done_callback(lambda f: seen.append(f.value()))
    assert not future.done()
    future.set_result(3)
    future.add_done_callback(lambda f: seen.append("again"))
    assert (added.wait(), doubled.value(), seen, future.done()) == (4, 6, [3, "again"], True)
    with pytest.raises(RuntimeError, match="Attempting to mark a completed Future as complete again"):
        future.set_result(4)
    with pytest.raises(RuntimeError, match="has no value yet"):
        Future().value()
    late = Future()
    threading.Timer(0.01, lambda: late.set_result("late")).start()
    assert late.wait() == "late" and torch.Future is Future
    with pytest.raises(ValueError, match="Expected devices to have indices, got cpu"):
        Future(devices=["cpu"])


def test_errors_in_futures() -> None:
    failed = Future()
    failed.set_exception(KeyError("z"))
    for call in (failed.wait, failed.value, lambda: wait_all([failed]), lambda: collect_all([failed]).wait()):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(RuntimeError, match="Got the following error when running the callback: KeyError: 'z'"):
        failed.then(lambda f: f.wait()).wait()
    assert failed.then(lambda f: 5).wait() == 5
    with pytest.raises(AssertionError, match="3 is of type <class 'int'>, not an Exception"):
        Future().set_exception(3)
    with pytest.warns(UserWarning, match="ZeroDivisionError: division by zero"):
        failed.add_done_callback(lambda f: 1 / 0)


def test_several_futures() -> None:
    parts = [Future(), Future()]
    together = collect_all(parts)
    parts[0].set_result(1)
    assert not together.done()
    parts[1].set_result(X)
    assert together.wait()[0].wait() == 1 and wait_all(parts)[1] is X
    assert collect_all([]).wait() == [] == wait_all([])
    with pytest.raises(TypeError, match="found int"):
        collect_all([1])


def test_kinds_of_loaders() -> None:
    from flambeau.utils.data.dataloader import (
        _DatasetKind,
        _MultiProcessingDataLoaderIter,
        _SingleProcessDataLoaderIter,
    )

    loader = torch.utils.data.DataLoader([1, 2, 3])
    assert loader._dataset_kind == _DatasetKind.Map and isinstance(iter(loader), _SingleProcessDataLoaderIter)
    assert not isinstance(iter(loader), _MultiProcessingDataLoaderIter)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    assert torch.utils.data.DataLoader(Stream())._dataset_kind == _DatasetKind.Iterable


# ---- keywords


def test_keywords_of_random_and_list_functions() -> None:
    x = torch.zeros(2, 3)

    def drawn() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    assert torch.rand_like(x, generator=drawn())[0].tolist() == pytest.approx([0.0042637, 0.1055694, 0.2857824], abs=1e-4)
    assert torch.equal(torch.randn_like(x, generator=drawn()), torch.randn(2, 3, generator=drawn()))
    assert torch.randint_like(x, high=7, generator=drawn()).tolist() == [[5, 3, 3], [4, 0, 6]]
    assert torch.randint_like(x, 1, 7, generator=drawn()).tolist() == [[5, 3, 2], [4, 5, 1]]
    lists = [torch.ones(2), torch.full((1,), 3.0)]
    assert torch._foreach_add_(lists, scalar=1) is lists and lists[1].item() == 4
    assert torch._foreach_lerp(lists, tensors1=lists, weights=lists)[0].tolist() == [2, 2]
    assert torch._foreach_mul(lists, other=lists)[1].item() == 16


def test_keywords_of_views_and_norms() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert x.swapaxes(axis0=0, axis1=1).data_ptr() == x.data_ptr() and torch.equal(torch.swapaxes(x, 0, 1), x.t())
    assert x.norm(2, [1], True, torch.float64).dtype is torch.float64
    made = torch.empty(())
    assert torch.norm(x, 2, None, False, made) is made and made.item() == pytest.approx(55**0.5)
    assert [t.shape for t in torch.atleast_2d([x[0], x])] == [(1, 3), (2, 3)]
    assert torch.zeros(2, 3).copy_(other=x).sum() == 15 and torch.swapdims(x, dim0=0, dim1=1).shape == (3, 2)
    matrix = torch.sparse_csr_tensor(crow_indices=[0, 1, 2], col_indices=[1, 0], values=[1.0, 2.0], size=(2, 2))
    assert matrix.to_dense().tolist() == [[0, 1], [2, 0]]
    assert torch.sparse_csc_tensor([0, 1, 2], row_indices=[1, 0], values=[1.0, 2.0]).to_dense().tolist() == [[0, 2], [1, 0]]


def test_lists_of_dense_tensors_as_one() -> None:
    from flambeau._utils import _flatten_dense_tensors, _unflatten_dense_tensors

    parts = [torch.ones(2, 2), torch.zeros(3)]
    flat = _flatten_dense_tensors(parts)
    assert flat.tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert all(map(torch.equal, _unflatten_dense_tensors(flat, parts), parts))
    with torch.backends.cuda.sdp_kernel(enable_flash=False):
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


def test_parts_that_are_no_number():
    x = torch.arange(6.0)
    assert [len(p) for p in torch.split(x, torch.tensor(4))] == [4, 2]
    for parts, sentence in (
        (True, "argument 'split_size' (position 2) must be int, not bool"),
        ("two", "argument 'split_sizes' (position 2) must be tuple of ints, not str"),
        (torch.tensor(2.0), "argument 'split_sizes' (position 2) must be tuple of ints, not Tensor"),
    ):
        with pytest.raises(TypeError, match=re.escape(sentence)):
            torch.split(x, parts)
        with pytest.raises(TypeError, match=re.escape(sentence)):
            torch.split(x, split_size_or_sections=parts)
