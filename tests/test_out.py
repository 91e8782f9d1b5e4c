"""`out=`, what is written in place, and numbers that must fit: dtypes, sizes, overlap, history."""

import numpy as np
import pytest

import flambeau as torch
from memory import peak_of

F = torch.arange(6.0).view(2, 3)
N = torch.arange(6).view(2, 3)


def empty(*size: int, dtype=torch.float32):
    return torch.empty(size, dtype=dtype)


# ---- dtypes of out=


@pytest.mark.parametrize(
    ("call", "size"),
    [
        (lambda out: torch.zeros(3, out=out), (3,)),
        (lambda out: torch.full((2,), 2.5, out=out), (2,)),
        (lambda out: torch.linspace(0, 3, 4, out=out), (4,)),
        (lambda out: torch.eye(2, out=out), (2, 2)),
        (lambda out: torch.arange(3, out=out), (3,)),
        (lambda out: torch.cumsum(F, 0, out=out), (2, 3)),
        (lambda out: torch.prod(F, 0, out=out), (3,)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.int8])
def test_results_are_made_in_the_dtype_of_out(call, size, dtype) -> None:
    out = empty(*size, dtype=dtype)
    assert call(out) is out
    assert out.shape == size
    assert torch.equal(out, call(None).to(dtype))


def test_elementwise_results_are_cast_where_they_can_be() -> None:
    assert torch.add(N, N, out=empty(2, 3, dtype=torch.float64)).tolist() == (2 * N).tolist()
    assert torch.eq(F, F, out=empty(2, 3)).tolist() == [[1] * 3] * 2
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.add(F, F, out=empty(2, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    "call",
    [
        lambda out: torch.mm(F, F.t(), out=out),
        lambda out: torch.softmax(F, 0, out=out),
        lambda out: torch.amax(F, 0, out=out),
        lambda out: torch.dot(F[0], F[1], out=out),
    ],
)
def test_other_results_need_their_own_dtype(call) -> None:
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float, but got double instead"):
        call(empty(0, dtype=torch.float64))


def test_sentences_of_their_own() -> None:
    with pytest.raises(RuntimeError, match="multinomial expects Long tensor out, got: Double"):
        torch.multinomial(torch.ones(3), 1, out=empty(0, dtype=torch.float64))
    for f in (torch.complex, torch.polar):
        with pytest.raises(
            RuntimeError, match="scalar type ComplexFloat but got scalar type ComplexDouble for argument 'out'"
        ):
            f(F, F, out=empty(2, 3, dtype=torch.complex128))
        with pytest.raises(
            RuntimeError, match="Expected both inputs to be Half, Float or Double tensors but got Float and Long"
        ):
            f(F, N)
        with pytest.raises(RuntimeError, match="scalar type Float but got scalar type Double for second argument"):
            f(F, F.double())


def test_several_outputs() -> None:
    values, places = empty(0), empty(0, dtype=torch.int64)
    result = torch.max(F, 0, out=(values, places))
    assert result.values is values and result.indices is places
    assert (values.tolist(), places.tolist()) == ([3, 4, 5], [1, 1, 1])
    with pytest.raises(TypeError, match="expected tuple of 2 elements but got 1"):
        torch.max(F, 0, out=(values,))
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype long int, but got float instead"):
        torch.max(F, 0, out=(values, empty(3)))


def test_out_that_overlaps_itself_is_refused() -> None:
    out = empty(3).expand(2, 3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        torch.add(F, F, out=out)


def test_out_does_not_take_part_in_gradients() -> None:
    with pytest.raises(RuntimeError, match=r"add\(\): functions with out=... arguments don't support automatic diff"):
        torch.add(F.clone().requires_grad_(), F, out=empty(2, 3))


# ---- numbers that must fit


def test_out_that_fits_is_written_straight() -> None:
    a, b = torch.randn(300, 300), torch.randn(300, 300)
    out = torch.zeros(3, 300, 300)
    for call in (lambda **k: torch.add(a, b, **k), lambda **k: torch.mm(a, b, **k), lambda **k: torch.exp(a, **k)):
        want, version = call(), out._version
        middle = out[1]
        used, result = peak_of(lambda call=call, middle=middle: call(out=middle))
        assert result is middle and torch.equal(out[1], want) and out._version > version
        assert used < out.nbytes / 3
        assert not out[0].any() and not out[2].any()


def test_out_that_is_read_as_well() -> None:
    a = torch.arange(16.0).view(4, 4)
    for call in (lambda x, **k: torch.add(x, 1, **k), lambda x, **k: torch.mm(x, a, **k), lambda x, **k: x.mul(x, **k)):
        x = a.clone()
        assert call(x, out=x) is x and torch.equal(x, call(a))
    x = a.clone()
    torch.mm(x, x.t(), out=x)
    assert torch.equal(x, a @ a.t())
    shared = torch.arange(20.0)
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to a single"):
        torch.add(shared[:16], 1, out=shared[4:])
    assert torch.equal(shared, torch.arange(20.0))
    torch.mm(shared[:16].view(4, 4), a, out=shared[4:].view(4, 4))
    assert torch.equal(shared[4:].view(4, 4), a @ a)


def test_out_of_inference_mode_and_of_what_was_saved() -> None:
    x = torch.ones(3)
    with torch.inference_mode():
        torch.exp(x, out=x)
    assert not x.is_inference() and x.requires_grad_().requires_grad
    w = torch.ones(3, requires_grad=True)
    saved = w * 2
    loss = saved.exp().sum()
    squares = (saved * saved).sum()
    with torch.no_grad():
        torch.mul(saved, 3, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()
    loss.backward()


def test_numbers_that_are_filled_in() -> None:
    mask = N > 2
    assert N.masked_fill(mask, 1.5).tolist() == [[0, 1, 2], [1, 1, 1]]
    for self, value, name in (
        (N, float("inf"), "int64_t"), (N, 1j, "int64_t"), (N.int(), 2**40, "int"), (F, 1j, "float"),
        (N, torch.tensor(1j), "int64_t"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=f"value cannot be converted to type {name} without overflow"):
            self.masked_fill(mask, value)
    with pytest.raises(
        RuntimeError, match=r"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with 1"
    ):
        F.masked_fill(mask, torch.ones(1))
    assert F.masked_fill(mask, torch.tensor(7.0)).sum().item() == 24


def test_arange_with_a_step_that_is_cast_to_zero() -> None:
    for options in ({"dtype": torch.int64}, {"out": empty(0, dtype=torch.int64)}):
        with pytest.raises(ValueError, match="step must be nonzero"):
            torch.arange(0, 5, 0.5, **options)
    with pytest.raises(RuntimeError, match="step must be nonzero"):
        torch.arange(0, 5, 0)


def test_factors_of_integer_products_are_whole() -> None:
    a = torch.tensor([[1, 2], [3, 4]])
    assert torch.addmm(a, a, a, beta=0.5, alpha=1.7).tolist() == (a @ a).tolist()
    assert torch.addmv(a[0], a, a[0], alpha=2.9).tolist() == [11, 24]
    b = torch.tensor([[True, False], [False, False]])
    assert torch.addr(b, b[0], ~b[0]).tolist() == [[True, True], [False, False]]
    assert torch.addr(b, b[0], b[0], alpha=0).tolist() == b.tolist()
    assert torch.addr(b, b[0], ~b[0], beta=0).tolist() == [[False, True], [False, False]]
    with pytest.raises(RuntimeError, match="argument beta must not be a floating point number"):
        torch.addr(a, a[0], a[0], beta=1.5)
    with pytest.raises(RuntimeError, match="Boolean alpha only supported for Boolean results"):
        torch.addr(F[:, :2], F[0, :2], F[1, :2], alpha=True)
    scalar = torch.tensor(1)
    assert scalar.addbmm_(a[None], a[None]).tolist() == (a @ a + 1).tolist()


def test_comparisons_of_two_dtypes_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Float did not match Double"):
        torch.isclose(F, F.double())
    with pytest.raises(RuntimeError, match="rtol must be greater than or equal to zero, but got -1"):
        torch.allclose(F, F, rtol=-1)


# ---- in place on integers


def test_integers_take_values_without_their_history() -> None:
    x = F.clone().requires_grad_()
    i = torch.zeros(2, 3, dtype=torch.int64)
    assert i.copy_(x) is i
    assert not i.requires_grad and i.tolist() == N.tolist()
    i[0] = x[1]
    assert i[0].tolist() == [3, 4, 5]


# ---- operators that a test elsewhere does not reach


def test_squares_of_bools_are_integers() -> None:
    assert torch.square(torch.tensor([True, False])).dtype is torch.int64
    assert torch.square(torch.tensor([2.0, 3.0])).tolist() == [4, 9]


def test_nextafter_of_short_floats() -> None:
    for dtype, step in ((torch.bfloat16, 2**-7), (torch.float16, 2**-10)):
        one, zero = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
        assert torch.nextafter(one, 2 * one).item() == 1 + step
        assert torch.nextafter(one, zero).item() == 1 - step / 2
        assert torch.nextafter(-one, zero).item() == -1 + step / 2
        assert torch.nextafter(one, one).item() == 1
        least = torch.nextafter(zero, one).item()
        assert 0 < least < 1e-7 and torch.nextafter(zero, -one).item() == -least
        assert torch.nextafter(one, one / 0 * 0).isnan().all()
        assert torch.nextafter(torch.tensor([float("inf")], dtype=dtype), zero).isfinite().all()


def test_constant_pad_nd() -> None:
    x = torch.tensor(np.random.default_rng(3).standard_normal((2, 3, 4)))
    want = np.pad(x.numpy(), ((0, 0), (2, 0), (1, 3)), constant_values=7)
    assert np.array_equal(torch.constant_pad_nd(x, [1, 3, 2, 0], 7).numpy(), want)
    assert np.array_equal(torch.constant_pad_nd(x, [-1, -2]).numpy(), x.numpy()[..., 1:2])
    assert torch.constant_pad_nd(N, [1, 0], 2.9)[0, 0].item() == 2
    assert torch.autograd.gradcheck(lambda x: torch.constant_pad_nd(x, [1, -1, -1, 2]), (x.requires_grad_(),))
    with pytest.raises(RuntimeError, match="Length of pad must be even but instead it equals 1"):
        torch.constant_pad_nd(x, [1])
    with pytest.raises(
        RuntimeError, match="no more than twice the number of dimensions of the input. Pad length is 8while"
    ):
        torch.constant_pad_nd(x, [1] * 8)
    with pytest.raises(RuntimeError, match="value cannot be converted to type int64_t without overflow"):
        torch.constant_pad_nd(N, [1, 1], 1j)


def test_grid_samplers_take_modes_by_number() -> None:
    rng = np.random.default_rng(4)
    image, places = torch.tensor(rng.standard_normal((1, 2, 3, 4))), torch.tensor(rng.uniform(-1, 1, (1, 5, 2, 2)))
    for i, mode in enumerate(("bilinear", "nearest", "bicubic")):
        for j, padding in enumerate(("zeros", "border", "reflection")):
            want = torch.nn.functional.grid_sample(image, places, mode, padding, True)
            assert torch.equal(torch.grid_sampler_2d(image, places, i, j, True), want)
            assert torch.equal(torch.grid_sampler(image, places, i, j, True), want)
    volume, points = torch.ones(1, 1, 2, 2, 2), torch.zeros(1, 1, 1, 1, 3)
    assert torch.grid_sampler_3d(volume, points, 0, 0, True).item() == 1
    with pytest.raises(RuntimeError, match=r"grid_sampler_2d\(\): expected 4D input"):
        torch.grid_sampler_2d(volume, points, 0, 0, True)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_gradients_of_complex_convolutions(n: int) -> None:
    rng = np.random.default_rng(n)

    def draw(*shape):
        return torch.tensor(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), requires_grad=True)

    x, w, t = draw(1, 2, *(3,) * n), draw(2, 2, *(2,) * n), draw(2, 2, *(2,) * n)
    for f, inputs in (
        (lambda x, w: getattr(torch, f"conv{n}d")(x, w, padding=1), (x, w)),
        (lambda x, t: getattr(torch, f"conv_transpose{n}d")(x, t, stride=2), (x, t)),
    ):
        assert torch.autograd.gradcheck(f, inputs)
        assert torch.autograd.gradgradcheck(f, inputs)


@pytest.mark.parametrize("options", [
    {"stride": 1, "output_padding": (0, 1), "dilation": (1, 2), "padding": (0, 1)},
    {"stride": (2, 1), "output_padding": (3, 1), "dilation": 4, "padding": 2},
])  # fmt: skip
def test_gradients_of_transposed_convolutions_with_much_output_padding(options) -> None:
    rng = np.random.default_rng(9)
    x = torch.tensor(rng.standard_normal((1, 2, 3, 3)), requires_grad=True)
    w = torch.tensor(rng.standard_normal((2, 2, 2, 2)), requires_grad=True)

    def f(x, w):
        return torch.nn.functional.conv_transpose2d(x, w, **options)

    assert torch.autograd.gradcheck(f, (x, w))
    assert torch.autograd.gradgradcheck(f, (x, w))


def test_resize_to_the_same_sizes_keeps_strides() -> None:
    x = torch.zeros(2, 3).t()
    assert x.resize_((3, 2)).stride() == (1, 3)
    assert x.resize_as_(torch.zeros(3, 2)).stride() == (1, 3)
    assert x.resize_((3, 2), memory_format=torch.contiguous_format).stride() == (2, 1)
