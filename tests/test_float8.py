"""Numbers of 8 bits: stored, cast, compared, copied, printed, saved; no arithmetic."""

import copy
import io
import itertools
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.ir import interp, types
from flambeau.serialization import safetensors

# name, bits of the exponent and of the significand, bias, the largest, and what numbers beyond it become
FORMATS = {
    "float8_e4m3fn": (4, 3, 7, 448.0, 448.0),
    "float8_e5m2": (5, 2, 15, 57344.0, math.inf),
    "float8_e4m3fnuz": (4, 3, 8, 240.0, math.nan),
    "float8_e5m2fnuz": (5, 2, 16, 57344.0, math.nan),
}
EACH = pytest.mark.parametrize("name", FORMATS)


def value_of(bits: int, name: str) -> float:
    """What the bits mean, from the format's definition."""
    exponent_bits, significand_bits, bias, largest, _ = FORMATS[name]
    sign = -1.0 if bits & 0x80 else 1.0
    if name.endswith("uz") and bits == 0x80:
        return math.nan
    exponent, significand = bits >> significand_bits & (1 << exponent_bits) - 1, bits & (1 << significand_bits) - 1
    unit = 2.0**-significand_bits
    if exponent == 0:
        return sign * significand * unit * 2.0 ** (1 - bias)
    value = (1 + significand * unit) * 2.0 ** (exponent - bias)
    if name == "float8_e5m2" and exponent == 31:
        return sign * math.inf if significand == 0 else math.nan
    return sign * value if value <= largest else math.nan


def rounded(x: float, name: str) -> float:
    """The nearest number of the format, that with even bits between two; far from all of them what stands for that."""
    largest, beyond = FORMATS[name][3:]
    if math.isnan(x):
        return math.nan
    codes = [(value_of(b, name), b) for b in range(128) if math.isfinite(value_of(b, name))]
    step = codes[-1][0] - codes[-2][0]
    if abs(x) >= largest + step / 2:
        return math.copysign(beyond, x)
    nearest = min(codes, key=lambda c: (abs(c[0] - abs(x)), c[1] & 1))[0]
    return nearest if nearest == 0 and name.endswith("uz") else math.copysign(nearest, x)


def same(got: list[float], want: list[float]) -> None:
    for g, w in zip(got, want, strict=True):
        assert (math.isnan(g) and math.isnan(w)) or (g == w and math.copysign(1, g) == math.copysign(1, w)), (g, w)


def all_of(name: str) -> torch.Tensor:
    return torch.arange(256).to(torch.uint8).view(getattr(torch, name))


@EACH
def test_every_number(name: str) -> None:
    want = [value_of(b, name) for b in range(256)]
    x = all_of(name)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        same(x.to(dtype).tolist(), want)
    same(x.tolist(), want)
    same([x[b].item() for b in range(256)], want)
    same(x.to(torch.complex64).real.tolist(), want)
    whole = [0 if math.isnan(w) or math.isinf(w) else int(w) for w in want]
    finite = [i for i, w in enumerate(want) if math.isfinite(w)]
    assert [x.int().tolist()[i] for i in finite] == [whole[i] for i in finite]
    assert x.bool().tolist() == [w != 0 for w in want]
    assert torch.isnan(x).tolist() == [math.isnan(w) for w in want]
    same(torch.abs(x).tolist(), [abs(w) for w in want])
    if name != "float8_e4m3fn":
        kept = [b for b in range(256) if not math.isnan(want[b])]
        assert x.float().to(x.dtype).view(torch.uint8)[kept].tolist() == kept


@EACH
def test_rounding(name: str) -> None:
    dtype = getattr(torch, name)
    rng = np.random.default_rng(0)
    finite = sorted({abs(v) for b in range(256) if math.isfinite(v := value_of(b, name))})
    middles = [(a + b) / 2 for a, b in itertools.pairwise(finite)]
    near = [math.nextafter(m, side) for m in middles for side in (0, math.inf)]
    drawn = (rng.standard_normal(500) * 10.0 ** rng.integers(-6, 6, 500)).tolist()
    odd = [0.0, -0.0, math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-30, 464.0, 465.0, 480.0, 248.0, 61440.0, 61439.0]
    values = np.float32([*finite, *middles, *near, *drawn, *odd])
    want = [rounded(float(v), name) for v in values]
    x = torch.from_numpy(values)
    same(x.to(dtype).tolist(), want)
    same(x.double().to(dtype).tolist(), want)
    same([torch.tensor(float(v)).to(dtype).item() for v in values[:50]], want[:50])
    same(torch.tensor(values.tolist(), dtype=dtype).tolist(), want)
    same(torch.full((3,), 0.3, dtype=dtype).tolist(), [rounded(0.3, name)] * 3)
    for narrow in (torch.float16, torch.bfloat16):
        same(x.to(narrow).to(dtype).tolist(), [rounded(v, name) for v in x.to(narrow).tolist()])
    same(torch.arange(-500, 500).to(dtype).tolist(), [rounded(float(v), name) for v in range(-500, 500)])
    other = torch.float8_e5m2 if name != "float8_e5m2" else torch.float8_e4m3fn
    same(all_of(name).to(other).tolist(), [rounded(value_of(b, name), str(other)[6:]) for b in range(256)])


@pytest.mark.parametrize("code", types.FLOATS8)
def test_the_interpreter_agrees(code: str) -> None:
    bits = np.arange(256, dtype=np.uint8)
    name = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2", "e4m3z": "float8_e4m3fnuz", "e5m2z": "float8_e5m2fnuz"}[
        code
    ]
    wide = interp.widen(bits, code)
    same(wide.tolist(), [value_of(int(b), name) for b in bits])
    x = np.float32(np.random.default_rng(1).standard_normal(1000) * 300)
    assert interp.narrow(x, code).tolist() == torch.from_numpy(x).to(getattr(torch, name)).view(torch.uint8).tolist()


def test_layouts() -> None:
    dtype = torch.float8_e4m3fn
    y = torch.arange(24.0).reshape(2, 3, 4).to(dtype)
    x = y.float()  # rounded
    for change in (
        lambda t: t.transpose(0, 2), lambda t: t[:, ::2, 1:], lambda t: t[0, 0].expand(3, 4), lambda t: t.flip(1),
        lambda t: t.permute(2, 0, 1).contiguous(), lambda t: t.reshape(-1), lambda t: torch.cat([t, t], 1),
        lambda t: torch.stack([t, t]), lambda t: t.repeat(1, 2, 1), lambda t: t.roll(1, 0), lambda t: t[x > 7],
        lambda t: t[torch.tensor([1, 0])], lambda t: t.index_select(2, torch.tensor([3, 0])), lambda t: t.unfold(2, 2, 1),
        lambda t: torch.where(x > 5, t, 1.0), lambda t: torch.nn.functional.pad(t, (1, 2)), lambda t: t.diagonal(0, 1, 2),
        lambda t: t.masked_select(x > 3), lambda t: t.clone(memory_format=torch.preserve_format), lambda t: t[:0],
    ):  # fmt: skip
        got = change(y)
        assert got.dtype is dtype
        assert torch.equal(got.float(), change(x))
    z = torch.zeros(3, 4, dtype=dtype)
    z[1] = 2.0
    z[:, 2] = torch.tensor([1.0, 3.0, 0.3])
    assert z.float().tolist() == [[0, 0, 1, 0], [2, 2, 3, 2], [0, 0, 0.3125, 0]]
    assert z.t().copy_(torch.ones(4, 3)).float().eq(1).all()
    wide = torch.empty(5, dtype=dtype)
    for n in range(34):  # every rest of a vector
        assert torch.arange(n).float().to(dtype).float().tolist() == [
            rounded(float(i), "float8_e4m3fn") for i in range(n)
        ]
    assert wide.view(torch.uint8).shape == (5,)
    assert y.view(torch.int16).shape == (2, 3, 2)


def test_questions() -> None:
    x = torch.tensor([1.0, 2.0, -0.5, 0.0]).to(torch.float8_e4m3fn)
    assert (x == x).tolist() == [True] * 4
    assert (x == 1).tolist() == [True, False, False, False]
    assert (x != torch.zeros_like(x)).tolist() == [True, True, True, False]
    assert (x.any().item(), x.all().item(), bool(x[0]), float(x[1]), int(x[1])) == (True, False, True, 2.0, 2)
    assert (x.is_floating_point(), x.element_size(), x.dtype.itemsize, x.is_signed()) == (True, 1, 1, True)
    assert x.type() == "torch.Float8_e4m3fnTensor"
    assert x.new_tensor([1.5]).dtype is torch.eye(2, dtype=x.dtype).dtype is torch.ones_like(x).dtype is x.dtype
    assert x.to("meta").dtype is x.dtype
    assert torch.can_cast(x.dtype, torch.float32)
    assert torch.result_type(x, 1.0) is x.dtype
    assert repr(x) == "tensor([ 1.0000,  2.0000, -0.5000,  0.0000], dtype=torch.float8_e4m3fn)"
    assert str(torch.finfo(torch.float8_e4m3fn)) == (
        "finfo(resolution=1, min=-448, max=448, eps=0.125, smallest_normal=0.015625, tiny=0.015625, dtype=float8_e4m3fn)"
    )


@EACH
def test_limits(name: str) -> None:
    info = torch.finfo(getattr(torch, name))
    finite = [v for b in range(128) if math.isfinite(v := value_of(b, name))]
    assert (info.max, info.min, info.bits) == (max(finite), -max(finite), 8)
    exponent_bits, significand_bits, bias = FORMATS[name][:3]
    assert info.tiny == info.smallest_normal == 2.0 ** (1 - bias)
    # PyTorch states twice the true value for this one.
    assert info.eps == (2.0**-significand_bits if name != "float8_e5m2fnuz" else 0.125)
    assert exponent_bits + significand_bits == 7


@EACH
def test_files(name: str, tmp_path) -> None:
    x = all_of(name).reshape(16, 16)
    buffer = io.BytesIO()
    torch.save({"x": x, "t": x.t()}, buffer)
    buffer.seek(0)
    back = torch.load(buffer)
    assert back["t"].dtype is x.dtype and torch.equal(back["t"].view(torch.uint8), x.t().view(torch.uint8))
    assert torch.equal(copy.deepcopy(x).view(torch.uint8), x.view(torch.uint8))
    if not name.endswith("uz"):
        safetensors.save_file({"x": x, "y": torch.ones(3)}, tmp_path / "x.safetensors")
        again = safetensors.load_file(tmp_path / "x.safetensors")["x"]
        assert again.dtype is x.dtype and torch.equal(again.view(torch.uint8), x.view(torch.uint8))
    assert torch.from_dlpack(x).dtype is x.dtype


def test_gradients_pass_through_casts() -> None:
    x = torch.tensor([1.0, 300.0, -2.3], requires_grad=True)
    (x.to(torch.float8_e5m2).float() * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]
    one = torch.tensor(2.0, requires_grad=True)
    one.to(torch.float8_e4m3fn).backward()
    assert one.grad.item() == 1.0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: x + x, "\"add_stub\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x - 1, "\"sub_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x.exp(), "\"exp_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x.sum(), "\"sum_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x.relu(), "\"relu_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x < x, "\"lt_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: torch.isinf(x), "\"isinf\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: torch.rand(3, dtype=x.dtype), "\"check_uniform_bounds\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: torch.arange(3, dtype=x.dtype), "\"arange_cpu\" not implemented for 'Float8_e4m3fn'"),
        (lambda x: x.sort(), "Float8_e4m3fn numbers are stored and cast only"),
        (lambda x: torch.randint(3, (2,), dtype=x.dtype), "Float8_e4m3fn numbers are stored and cast only"),
        (lambda x: x.reshape(2, 2) @ x.reshape(2, 2), "Float8_e4m3fn numbers are stored and cast only"),
    ],
)
def test_there_is_no_arithmetic(call, sentence: str) -> None:
    with pytest.raises(NotImplementedError, match=sentence):
        call(torch.ones(4).to(torch.float8_e4m3fn))


def test_promotion() -> None:
    x = torch.ones(2).to(torch.float8_e5m2)
    with pytest.raises(RuntimeError, match="not supported, attempted to promote Float and Float8_e5m2"):
        torch.ones(2) + x
    with pytest.raises(RuntimeError, match="attempted to promote Float8_e5m2 and Bool"):
        torch.promote_types(x.dtype, torch.bool)
    assert torch.promote_types(x.dtype, x.dtype) is x.dtype
    with pytest.raises(TypeError, match="Got unsupported ScalarType Float8_e5m2"):
        x.numpy()
    with pytest.raises(BufferError, match="float8_e5m2 has no buffer format"):
        memoryview(x)
    with pytest.raises(TypeError, match="couldn't find storage object Float8_e5m2Storage"):
        torch.set_default_dtype(torch.float8_e5m2)


def test_sentences_name_them() -> None:
    x = torch.ones(2).to(torch.float8_e4m3fnuz)
    with pytest.raises(RuntimeError, match="Found dtype Half but expected Float8_e4m3fnuz"):
        torch.binomial(x, torch.ones(2, dtype=torch.float16))


def test_scaled_products() -> None:
    a, b = torch.arange(32.0).reshape(2, 16).sin(), torch.arange(48.0).reshape(16, 3).cos()
    x, y = a.to(torch.float8_e4m3fn), b.to(torch.float8_e5m2)
    exact = x.double() @ y.double()
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    got = torch._scaled_mm(x, y, two, one, out_dtype=torch.float32)
    assert torch.allclose(got.double(), 2 * exact, atol=1e-6)
    rows, columns = torch.tensor([[2.0], [0.5]]), torch.tensor([[1.0, 2.0, 4.0]])
    got = torch._scaled_mm(x, y, rows, columns, bias=torch.ones(3), out_dtype=torch.bfloat16)
    assert torch.equal(got, (exact * rows * columns + 1).to(torch.bfloat16))
    assert torch._scaled_mm(x, y, one, one).dtype is torch.float8_e4m3fn
    with pytest.raises(ValueError, match=r"^Invalid scaling configuration\."):
        torch._scaled_mm(a, b, one, one)
    with pytest.raises(ValueError, match=r"^Invalid scaling configuration\."):
        torch._scaled_mm(x, y, torch.ones(3), one)
    with pytest.raises(RuntimeError, match=r"mat_a and mat_b shapes cannot be multiplied \(2x16 and 8x3\)"):
        torch._scaled_mm(x, y[:8], one, one)
    with pytest.raises(RuntimeError, match="mat1 must be a matrix"):
        torch._scaled_mm(x[0], y, one, one)
