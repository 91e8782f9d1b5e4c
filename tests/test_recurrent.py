"""Recurrent layers: the node over all steps against single operators, its gradients, and what takes the other way."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.autograd import grad, gradcheck, gradgradcheck
from flambeau.nn import _sequence

KINDS = {"LSTM": {}, "GRU": {}, "RNN": {}, "RNN relu": {"nonlinearity": "relu"}}


def layer(kind, *sizes, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return getattr(nn, kind.partition(" ")[0])(*sizes, **KINDS[kind], **options).to(dtype)


def start(kind, rows, n, width, dtype=torch.float64):
    state = tuple(torch.randn(rows, n, width, dtype=dtype, requires_grad=True) for _ in range(1 + (kind == "LSTM")))
    return state if kind == "LSTM" else state[0]


def results(model, x, hx):
    out, state = model(x, hx)
    return (out, *state) if isinstance(state, tuple) else (out, state)


def leaves(model, x, hx):
    return [x, *(hx if isinstance(hx, tuple) else [hx]), *model.parameters()]


def loss(tensors):
    return sum((t.sin() * (k + 1)).sum() for k, t in enumerate(tensors))


@pytest.fixture
def by_steps(monkeypatch):
    """Switches the node over all steps off while a function runs."""

    def run(fn):
        with monkeypatch.context() as patch:
            patch.setattr(_sequence, "_fits", lambda *_: False)
            return fn()

    return run


def same(a, b, tolerance=1e-12):
    return all(
        np.allclose(x.detach().numpy(), y.detach().numpy(), tolerance, tolerance) for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"bidirectional": True}, {"bias": False, "batch_first": True}])
def test_the_node_equals_single_operators(kind, options, by_steps, monkeypatch):
    model = layer(kind, 3, 5, 2, **options)
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    n = 4 if "batch_first" in options else 2
    hx = start(kind, 4 if "bidirectional" in options else 2, n, 5)

    def run():
        got = results(model, x, hx)
        return got, grad(loss(got), leaves(model, x, hx))

    forward, calls = _sequence._Sequence.forward, []
    monkeypatch.setattr(_sequence._Sequence, "forward", lambda *a: calls.append(a) or forward(*a))
    got = run()
    nodes = len(calls)
    wanted = by_steps(run)
    assert nodes == len(calls) == model.num_layers * (1 + model.bidirectional)
    assert same(got[0], wanted[0])
    assert same(got[1], wanted[1])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_both_orders(kind):
    model = layer(kind, 2, 3)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    hx = start(kind, 1, 2, 3)
    inputs = leaves(model, x, hx)
    assert gradcheck(lambda *_: results(model, x, hx), inputs)
    assert gradgradcheck(lambda *_: results(model, x, hx), inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_wanted_gets_a_gradient(kind):
    model, x = layer(kind, 3, 4, dtype=torch.float32), torch.randn(5, 2, 3)
    model.weight_ih_l0.requires_grad_(False)
    out = model(x)[0]
    out.sum().backward()
    assert model.weight_ih_l0.grad is None
    assert model.weight_hh_l0.grad.shape == model.weight_hh_l0.shape
    assert model.bias_ih_l0.grad.tolist() is not model.bias_hh_l0.grad.tolist()
    with torch.no_grad():
        again = model(x)[0]
    assert again.grad_fn is None
    assert again.tolist() == out.tolist()


def test_outputs_may_be_changed_and_backward_run_twice():
    model, x = layer("LSTM", 3, 4), torch.randn(5, 2, 3, dtype=torch.float64)
    out = model(x)[0]
    out.mul_(2).sum().backward(retain_graph=True)
    first = model.weight_hh_l0.grad.clone()
    out.sum().backward()
    assert same([model.weight_hh_l0.grad], [2 * first])


def test_no_gradient_of_the_last_state(by_steps):
    model, x = layer("LSTM", 3, 4), torch.randn(5, 2, 3, dtype=torch.float64)
    for pick in (lambda r: r[0], lambda r: r[1][0], lambda r: r[1][1]):
        run = lambda pick=pick: grad(pick(model(x)).sum(), list(model.parameters()))  # noqa: E731
        assert same(run(), by_steps(run))


def test_who_watches_calls_sees_every_step():
    class Watched(torch.Tensor):
        calls = 0

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls += 1
            return super().__torch_function__(func, types, args, kwargs or {})

    model = layer("GRU", 3, 4, dtype=torch.float32)
    model(torch.randn(5, 2, 3).as_subclass(Watched))
    assert Watched.calls > 5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)


@pytest.mark.parametrize(("kind", "whole"), [("LSTM", torch.bfloat16), ("GRU", torch.float32), ("RNN", torch.bfloat16)])
def test_autocast(kind, whole):
    """As in PyTorch: an LSTM over sequences of one length runs in 16 bits, everything else product by product."""
    model, x = layer(kind, 3, 8, dtype=torch.float32), torch.randn(5, 2, 3)
    wanted = model(x)[0]
    with torch.autocast("cpu"):
        got, state = model(x)
        packed = model(nn.utils.rnn.pack_sequence([x[:, 0], x[:3, 1]]))[0].data
    assert got.dtype is whole and packed.dtype is (torch.bfloat16 if kind == "RNN" else torch.float32)
    assert all(t.dtype is whole for t in (state if isinstance(state, tuple) else [state]))
    assert (got - wanted).abs().max() < 0.02
    got.float().sum().backward()
    assert model.weight_hh_l0.grad.dtype is torch.float32


def test_empty_batches_and_single_steps():
    model = layer("LSTM", 3, 4, dtype=torch.float32)
    out, (h, c) = model(torch.randn(4, 0, 3))
    assert (out.shape, h.shape, c.shape) == ((4, 0, 4), (1, 0, 4), (1, 0, 4))
    out, (h, _) = model(torch.randn(1, 2, 3))
    assert out[0].tolist() == h[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_different_lengths(kind, by_steps):
    model = layer(kind, 3, 5, 2, bidirectional=True)
    hx, lengths = start(kind, 4, 4, 5), torch.tensor([2, 6, 1, 6])
    x = torch.randn(6, 4, 3, dtype=torch.float64, requires_grad=True)

    def run():
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, state = model(packed, hx)
        got = [out.data, *(state if isinstance(state, tuple) else [state])]
        return got, grad(loss(got), leaves(model, x, hx))

    got, wanted = run(), by_steps(run)
    assert same(got[0], wanted[0])
    assert same(got[1], wanted[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "width"), [(1, 40), (3, 33), (20, 24), (17, 70), (5, 150)])
def test_sizes_and_threads(kind, n, width, by_steps):
    """Few and many sequences, units that fill no vector, weights that fit the cache or not: one result for any number
    of threads."""
    model = layer(kind, 7, width, dtype=torch.float32)
    x, hx = torch.randn(4, n, 7, requires_grad=True), start(kind, 1, n, width, torch.float32)

    def run():
        got = results(model, x, hx)
        return [*got, *grad(loss(got), leaves(model, x, hx))]

    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        runs.append([t.detach().numpy().tobytes() for t in run()])
    torch.set_num_threads(before)
    assert runs[0] == runs[1] == runs[2]
    assert same(run(), by_steps(run), 2e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_16_bit_floats(kind, dtype, tolerance):
    """Sums are float32: the error is that of a few roundings, whatever the depth."""
    for n, inputs, width in ((2, 6, 10), (18, 5, 32), (6, 40, 31)):
        wide = layer(kind, inputs, width, dtype=torch.float32)
        narrow = layer(kind, inputs, width, dtype=dtype)
        wide.load_state_dict(narrow.state_dict())
        x = torch.randn(5, n, inputs).to(dtype).float().requires_grad_()
        wanted = wide(x)[0]
        narrow_x = x.detach().to(dtype).requires_grad_()
        got = narrow(narrow_x)[0]
        assert got.dtype is dtype
        assert np.abs((got.float() - wanted).detach().numpy()).max() < tolerance
        got.sum().backward()
        wanted.sum().backward()
        for a, b in zip([narrow_x, *narrow.parameters()], [x, *wide.parameters()], strict=True):
            assert a.grad.dtype is dtype
            scale = np.abs(b.grad.numpy()).max()
            assert np.abs((a.grad.float() - b.grad).numpy()).max() < 4 * tolerance * scale


def test_batch_sizes_must_go_down():
    model = layer("GRU", 3, 4, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="batch_sizes"):
        torch.gru(
            torch.randn(6, 3), torch.tensor([2, 3, 1]), torch.zeros(1, 2, 4), list(model.parameters()), True, 1, 0.0,
            False, False,
        )  # fmt: skip
