"""The elementwise driver: promotion, results' layouts, in-place and overlapping operands, chunks, errors."""

import numpy as np
import pytest

import flambeau as torch

PROMOTIONS = [
    (torch.uint8, torch.int8, torch.int16), (torch.int32, torch.float16, torch.float16),
    (torch.float16, torch.bfloat16, torch.float32), (torch.float64, torch.complex64, torch.complex128),
    (torch.bool, torch.uint8, torch.uint8), (torch.int64, torch.bool, torch.int64),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "want"), PROMOTIONS)
def test_two_dtypes_promote(a, b, want):
    assert (torch.ones(2, dtype=a) + torch.ones(2, dtype=b)).dtype == want
    assert (torch.ones(2, dtype=b) * torch.ones(2, dtype=a)).dtype == want


def test_numbers_and_scalars_take_part_weakly():
    half = torch.ones(3, dtype=torch.float16)
    assert (half * 2.5).dtype == torch.float16
    assert (half * torch.tensor(2.5, dtype=torch.float64)).dtype == torch.float16
    assert (torch.ones(3, dtype=torch.int32) * 2.5).dtype == torch.float32
    assert (torch.ones(3, dtype=torch.bool) + 1).dtype == torch.int64
    assert (torch.ones(3) * 1j).dtype == torch.complex64
    assert (torch.ones(3, dtype=torch.int8) / 2).dtype == torch.float32


def test_a_number_beside_bfloat16_is_not_rounded_first():
    x = torch.tensor([3.0], dtype=torch.bfloat16)
    want = torch.tensor([np.float32(3.0) * np.float32(0.1)]).to(torch.bfloat16)
    assert (x * 0.1).item() == want.item()


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("elu", [1, 1, 1, 0]), ("celu", [1, 1, 1, 0]), ("selu", [1.0507009873554805] * 3 + [0]),
        ("hardswish", [1, 1, 1, 0]), ("silu", [1, 1, None, None]), ("softplus", [1, 1, 1, 0]),
    ],
)  # fmt: skip
def test_activations_of_large_numbers_have_gradients(name, want):
    x = torch.tensor([100.0, 1e4, np.inf, -np.inf], requires_grad=True)
    getattr(torch.nn.functional, name)(x).sum().backward()
    for got, wanted in zip(x.grad.tolist(), want, strict=True):
        assert wanted is None or got == pytest.approx(wanted)


def test_gradients_of_logit_at_its_ends():
    x = torch.tensor([-0.5, 0.0, 0.2, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    (bare,) = torch.autograd.grad(torch.logit(x).sum(), x)
    np.testing.assert_allclose(bare.numpy(), [np.nan, np.inf, 6.25, np.inf, np.nan], rtol=1e-15)
    (kept,) = torch.autograd.grad(torch.logit(x, 0.1).sum(), x)
    np.testing.assert_allclose(kept.numpy(), [0, 0, 6.25, 0, 0], rtol=1e-15)
    inside = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    for eps in (None, 0.05):
        assert torch.autograd.gradcheck(lambda v: torch.logit(v, eps), inside)  # noqa: B023
        assert torch.autograd.gradgradcheck(lambda v: torch.logit(v, eps), inside)  # noqa: B023


def test_gradients_where_a_factor_is_zero():
    zero, y = torch.zeros(4, requires_grad=True), torch.tensor([2.0, 0.5, 0.0, -1.0], requires_grad=True)
    to_zero, to_y = torch.autograd.grad(torch.xlogy(zero, y).sum(), [zero, y])
    np.testing.assert_allclose(to_zero.numpy(), [np.log(2), np.log(0.5), 0, 0], rtol=1e-6)
    assert to_y.tolist() == [0, 0, 0, 0]
    (to_zero,) = torch.autograd.grad(torch.special.xlog1py(zero, y - 1).sum(), zero)
    np.testing.assert_allclose(to_zero.numpy(), [np.log(2), np.log(0.5), 0, 0], rtol=1e-6)
    assert not torch.xlogy(zero, y).signbit().any() and torch.xlogy(zero, np.nan).isnan().all()
    x = torch.tensor([0.0, -0.0, 2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(x.pow(-2).sum(), x)
    assert slope.tolist() == [-np.inf, np.inf, -0.25]


def test_sgn_of_complex_zero_has_no_gradient():
    x = torch.tensor([0j, 3 + 4j], dtype=torch.complex128, requires_grad=True)
    (g,) = torch.autograd.grad(x.abs().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(g.real.sum(), x)
    assert again[0] == 0 and again[1].item() == pytest.approx((16 - 12j) / 125)


@pytest.mark.parametrize("source", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "target", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint64, torch.bool]
)
def test_one_element_is_cast_as_many_are(source, target):
    numbers = [np.nan, np.inf, -np.inf, 3e9, -3e9, 2.0**31, -(2.0**31), 1.5e19, 2.0**64, 300.7, -1.5, 65000.0, 0.0]
    x = torch.tensor(numbers, dtype=torch.float64).to(source)
    many = x.to(target)
    for one, want in zip(x, many, strict=True):
        assert one.to(target).tolist() == want.tolist()
        assert torch.zeros(2, dtype=target).copy_(one).tolist() == [want.tolist()] * 2


def test_results_keep_the_operands_permutation():
    x = torch.ones(2, 3, 4, 5).permute(0, 2, 3, 1)
    assert (x + x).stride() == x.stride() and torch.exp(x).stride() == x.stride()
    assert (x + torch.ones(3)).shape == x.shape


def test_broadcast_in_all_directions():
    a, b = np.arange(12.0).reshape(3, 1, 4), np.arange(10.0).reshape(5, 1, 2, 1)
    got = torch.from_numpy(a) - torch.from_numpy(b)
    assert np.array_equal(got.numpy(), a - b)


@pytest.mark.parametrize("n", [1, 31, 32767, 32768, 100_003])
def test_long_tensors_are_cut_without_a_seam(n):
    x = np.arange(n, dtype=np.float32)
    assert np.array_equal((torch.from_numpy(x) * 2 + 1).numpy(), x * 2 + 1)
    assert np.array_equal(torch.from_numpy(x)[::3].neg().numpy(), -x[::3])


@pytest.mark.parametrize("shape", [(1000, 70), (70, 1000), (3, 300, 200)])
def test_transposed_copies(shape):
    for dtype in (np.uint8, np.float16, np.float32, np.float64, np.complex128):
        x = (np.arange(np.prod(shape)) % 97).reshape(shape).astype(dtype)
        got = torch.from_numpy(x).transpose(0, -1).contiguous().numpy()
        assert np.array_equal(got, np.swapaxes(x, 0, -1))


def test_writing_to_an_operand():
    x = torch.arange(4.0)
    assert x.add_(x) is x and x.tolist() == [0, 2, 4, 6]
    assert x.mul_(torch.tensor([2], dtype=torch.int64)).tolist() == [0, 4, 8, 12]


def test_what_may_not_be_written():
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.arange(3).add_(1.5)
    with pytest.raises(RuntimeError, match="output with shape"):
        torch.ones(3).add_(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        torch.ones(1).expand(3).add_(1)
    x = torch.arange(6.0)
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor"):
        x[1:].add_(x[:-1])
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


ERRORS = [
    (
        lambda: torch.ones(2, 3) + torch.ones(4),
        RuntimeError,
        r"The size of tensor a \(3\) must match the size of tensor b",
    ),
    (
        lambda: torch.add(torch.arange(2), 1, alpha=1.5),
        RuntimeError,
        "argument alpha must not be a floating point number",
    ),
    (
        lambda: torch.ones(2, dtype=torch.bool) - torch.ones(2, dtype=torch.bool),
        RuntimeError,
        "Subtraction, the `-` operator",
    ),
    (lambda: -torch.ones(2, dtype=torch.bool), RuntimeError, "Negation, the `-` operator"),
    (lambda: torch.ones(2) & torch.ones(2), NotImplementedError, "\"bitwise_and_cpu\" not implemented for 'Float'"),
    (lambda: torch.where(torch.ones(2), 1.0, 2.0), RuntimeError, "expected condition to be a boolean tensor"),
    (lambda: torch.arange(3) ** -1, RuntimeError, "Integers to negative integer powers are not allowed"),
    (lambda: torch.div(torch.ones(2), 1, rounding_mode="up"), RuntimeError, "but found 'up'"),
]


@pytest.mark.parametrize("case", ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_errors(case):
    call, exception, sentence = case
    with pytest.raises(exception, match=sentence):
        call()


def test_complex_numbers_and_real_ones_together():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    z = torch.tensor([1 + 2j, 3 - 1j])
    (x * z).abs().sum().backward()
    assert np.allclose(x.grad.numpy(), np.abs(z.numpy()), rtol=1e-6)


def test_gradients_of_broadcast_operands_are_summed():
    a, b = torch.ones(3, 1, requires_grad=True), torch.ones(4, requires_grad=True)
    (a * b * 2).sum().backward()
    assert a.grad.tolist() == [[8.0]] * 3 and b.grad.tolist() == [6.0] * 4


def test_short_powers():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.tensor([-2.0, -0.5, 0.0, 3.0, float("inf"), float("nan")], dtype=dtype)
        for exponent in (3, -2, 3.0, -2.0):
            want = torch.tensor([v**exponent if v or exponent > 0 else float("inf") for v in x.tolist()], dtype=dtype)
            assert torch.equal((x**exponent).nan_to_num(7.0), want.nan_to_num(7.0))
            assert torch.equal(x.clone().pow_(exponent).nan_to_num(7.0), want.nan_to_num(7.0))
    y = torch.tensor([1.5, -2.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: v**3 + v**-2, y)
    assert (torch.tensor([2, -3]) ** 3).tolist() == [8, -27]


@pytest.mark.parametrize("shape", [(64, 9, 24, 512), (60, 49, 64, 40), (3, 3000, 15, 50), (2, 3, 300_000, 4)])
def test_large_copies_of_short_rows(shape):
    """Groups of rows that one task copies whole, several at a time, or in parts."""
    x = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    got = torch.from_numpy(x).permute(0, 2, 1, 3).contiguous()
    assert np.array_equal(got.numpy(), x.transpose(0, 2, 1, 3))


@pytest.mark.parametrize("size", [(256 << 10) - 1, (256 << 10) + 13, (64 << 20) + 75])
@pytest.mark.parametrize("value", [0, 7])
def test_fills_of_all_sizes_write_their_own_bytes_only(size, value):
    whole = np.full(size + 64, 255, "u1")
    start = 17  # not where a cache line begins
    torch.from_numpy(whole)[start : start + size].fill_(value)
    assert whole[start : start + size].min() == whole[start : start + size].max() == value
    assert whole[:start].min() == whole[start + size :].min() == 255
    if not value:
        del whole
        assert not torch.zeros(size, dtype=torch.uint8).numpy().any()
        assert not torch.zeros_like(torch.full((size,), 3, dtype=torch.uint8)).numpy().any()


NARROWER = ["bfloat16", "float16", "bool", "uint8", "int64"]


@pytest.mark.parametrize("pair", [("float32", d) for d in NARROWER] + [("float64", "float32"), ("float64", "int32")])
@pytest.mark.parametrize("rows", [20, 300])
def test_operands_beside_wider_ones(pair, rows):
    """Small ones are cast first, large ones are read as they are: the results are the same."""
    wide, dtype = (getattr(torch, name) for name in pair)
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((rows, 150))).to(wide)
    b = torch.from_numpy(3 * np.random.default_rng(1).standard_normal((rows, 150)).clip(0)).to(dtype)
    calls = [
        lambda b: a + b, lambda b: b * a, lambda b: torch.where(a < b, a, b), lambda b: a.clone().add_(b, alpha=3),
        lambda b: torch.addcmul(a, b, b), lambda b: torch.atan2(b, a), lambda b: a == b,
    ]  # fmt: skip
    for call in calls:
        for change in (lambda t: t, lambda t: t.t().contiguous().t(), lambda t: t[:, :1].expand(t.shape)):
            got, want = call(change(b)), call(change(b).to(wide))
            assert got.dtype is want.dtype
            assert torch.equal(got, want)
    leaf = a.clone().requires_grad_()
    ((leaf * b).exp() / b.add(1)).sum().backward()
    x, y = a.double().numpy(), b.double().numpy()
    assert leaf.grad.dtype is wide
    assert np.allclose(leaf.grad.numpy(), y * np.exp(x * y) / (y + 1), rtol=1e-2 if dtype.itemsize == 2 else 1e-4)


def test_numbers_that_widen_integers():
    """What is computed in shows in no operand of the kernel."""
    n = torch.full((200, 200), 7)
    assert torch.equal(n * 1.5, torch.full((200, 200), 10.5))
    assert torch.equal(n / torch.full((200, 200), 2, dtype=torch.int32), torch.full((200, 200), 3.5))
    assert torch.equal(n.clamp(0.5, 6.5), torch.full((200, 200), 6.5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("rows", [20, 300])
def test_gradients_of_operands_of_two_dtypes(dtype, rows):
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((rows, 150)).astype("f4")).requires_grad_()
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((rows, 150))).to(dtype)
    leaf = b.clone().requires_grad_()
    (leaf * a).sum().backward()
    assert leaf.grad.dtype is dtype
    assert torch.equal(leaf.grad, a.to(dtype))
    assert a.grad.dtype is torch.float32
    assert torch.equal(a.grad, b.float())


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_integers_are_not_divided_by_zero(name, dtype):
    divide = getattr(torch, name)
    x, zeros = torch.arange(70_000).to(dtype), torch.ones(70_000, dtype=dtype)
    zeros[-1] = 0
    before = x.clone()
    for by in (zeros, zeros.flip(0), zeros.expand(2, 70_000)[1], torch.stack((zeros, zeros), 1)[:, 1], 0, zeros[-1]):
        with pytest.raises(RuntimeError, match="^ZeroDivisionError: other holds a 0"):
            divide(x, by)
    with pytest.raises(RuntimeError, match="^ZeroDivisionError"):
        getattr(x, f"{name}_")(zeros)
    assert x.equal(before)
    assert divide(x[:-1], zeros[:-1]).equal(x[:-1] if name == "floor_divide" else zeros[:-1] - 1)
    assert divide(x[:0], 0).shape == (0,)
    assert divide(x.to("meta"), 0).is_meta
    assert not divide(x.float(), 0).isfinite().any()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_quotients_of_integers_are_exact(dtype):
    """Divided as floats where those hold them: numbers of all sizes, alone and beside others that do not fit."""
    limits, rng = np.iinfo(dtype), np.random.default_rng(0)
    a, b = (rng.integers(limits.min, limits.max, 5000, dtype, endpoint=True) for _ in range(2))
    a[::3] >>= 5
    b[1::3] >>= limits.bits // 2
    b[::5] //= 31
    a[::7], a[::11], b[::13], b[::17] = limits.min, limits.max, 1, -1 if limits.min else 3
    a[2500:], b[2500:] = a[2500:] % 100, b[2500:] % 10
    b[b == 0] = 7
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    with np.errstate(over="ignore"):
        for name in ("floor_divide", "remainder", "fmod"):
            np.testing.assert_array_equal(getattr(torch, name)(x, y), getattr(np, name)(a, b))
            np.testing.assert_array_equal(getattr(torch, name)(x, 7), getattr(np, name)(a, a.dtype.type(7)))
        positive = (a != limits.min) & (b != limits.min)
        np.testing.assert_array_equal(torch.gcd(x, y)[positive], np.gcd(a, b)[positive])


@pytest.mark.parametrize("dtype, m, n", [("float32", 2051, 2063), ("float64", 1603, 1401), ("uint8", 4201, 4099)])
def test_large_results_of_turned_operands_begin_anywhere(dtype, m, n):
    """Rows that begin anywhere in a cache line are written past the caches; what lies between them stays."""
    x = np.random.default_rng(0).integers(0, 100, (m, n)).astype(dtype)
    t = torch.tensor(x)
    np.testing.assert_array_equal(t.t().contiguous().numpy(), x.T)
    assert torch.equal(t.t() + 1, torch.tensor(x.T.copy()) + 1)
    space = torch.full((n, m + 7), 111, dtype=t.dtype)
    space[:, 3:-4] = t.t()
    np.testing.assert_array_equal(space[:, 3:-4].numpy(), x.T)
    assert space[:, :3].eq(111).all() and space[:, -4:].eq(111).all()


NAN = float("nan")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_bound_that_is_nan_gives_nan(dtype):
    x, nan = torch.tensor([1.0, 2.0, NAN, 3.0] * 9, dtype=dtype), torch.tensor([0.0, NAN, 0.0, 9.0] * 9, dtype=dtype)
    for got in (x.clamp(min=nan), x.clamp_min(nan), x.clamp(max=nan), x.clamp_max(nan), x.clamp(0, nan)):
        assert got.isnan().tolist() == [False, True, True, False] * 9
    for got in (x.clamp(NAN), x.clamp_(max=NAN), torch.clamp_min(x.clone(), NAN)):
        assert got.isnan().all()
    assert torch.tensor([1, 5]).clamp(2).tolist() == [2, 5]
    assert torch.ones(2).clamp(torch.tensor([0, 3])).tolist() == [1, 3]


def test_a_step_is_0_at_nan_as_in_pytorch():
    x = torch.tensor([NAN, -1.0, 0.0, 2.0])
    assert torch.heaviside(x, torch.tensor(0.5)).tolist() == [0, 0, 0.5, 1]


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-6), ("float64", 2e-15)])
def test_the_derivative_of_sinc_near_0(dtype, bound):
    mpmath = pytest.importorskip("mpmath")
    points = np.concatenate([np.logspace(-37, 0.5, 60), -np.logspace(-20, 0.5, 30)]).astype(dtype)
    x = torch.from_numpy(points.copy()).requires_grad_()
    (got,) = torch.autograd.grad(torch.sinc(x).sum(), x)

    def slope(at):
        s = mpmath.mpf(float(at)) * mpmath.pi
        near = -mpmath.pi * s / 3
        return near if abs(s) < 1e-15 else mpmath.pi * (s * mpmath.cos(s) - mpmath.sin(s)) / s**2

    with mpmath.workdps(60):
        want = np.array([float(slope(at)) for at in points])
    np.testing.assert_allclose(got.numpy(), want, rtol=bound, atol=1e-36)


def test_numbers_that_integers_cannot_hold():
    for value in (-8.5, -0.5, 255.5, 300, NAN):
        for call in (
            lambda v: torch.full((2,), v, dtype=torch.uint8),
            lambda v: torch.zeros(2, dtype=torch.uint8).fill_(v),
            lambda v: torch.zeros(2, dtype=torch.uint8).masked_fill(torch.tensor([True, False]), v),
        ):
            with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
                call(value)
    assert torch.full((1,), -1, dtype=torch.uint8).item() == 255
    assert torch.full((1,), 254.5, dtype=torch.uint8).item() == 254


def test_float_power_of_numbers_and_in_place():
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert torch.float_power(2, x.float()).tolist() == [2, 4] and torch.float_power(2, x.float()).dtype is torch.float64
    assert x.float_power_(3) is x and x.tolist() == [1, 8]
    assert torch.float_power(1j, x[:1]).dtype is torch.complex128


def test_powers_of_bools_by_bools_are_bools():
    x = torch.tensor([True, False])
    assert torch.pow(x, True).tolist() == [True, False] and torch.pow(x, False).tolist() == [True, True]
    assert x.clone().pow_(False).tolist() == [True, True] and torch.pow(x, 2).dtype is torch.int64


def test_hardswish_at_minus_infinity_is_nan():
    y = torch.nn.functional.hardswish(torch.tensor([-np.inf, -9.0, np.inf]))
    assert y[0].isnan() and y[1:].tolist() == [0, np.inf]


def test_hardtanh_of_bytes():
    assert torch.nn.functional.hardtanh(torch.tensor([0, 5, 200], dtype=torch.uint8), 1, 9).tolist() == [1, 5, 9]
