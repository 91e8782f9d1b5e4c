"""Results of 16 bits that need no rounding, on every bfloat16 and float16."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.ir import fn
from flambeau.ir.exact import without_rounding
from flambeau.ir.program import In, trace

EVERY = np.arange(1 << 16, dtype=np.uint16)


def every(dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(EVERY.astype(np.int32)).to(torch.int16).view(dtype)


def bits(x: torch.Tensor) -> np.ndarray:
    return x.view(torch.int16).numpy().view(np.uint16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_signs_change_one_bit(dtype):
    x, y = every(dtype), every(dtype).flip(0)
    np.testing.assert_array_equal(bits(-x), EVERY ^ 0x8000)
    np.testing.assert_array_equal(bits(x.abs()), EVERY & 0x7FFF)
    np.testing.assert_array_equal(bits(torch.copysign(x, y)), (EVERY & 0x7FFF) | (bits(y) & 0x8000))
    np.testing.assert_array_equal(bits(-x[1::2]), EVERY[1::2] ^ 0x8000)


@pytest.mark.parametrize(
    "change",
    [
        torch.relu, torch.floor, torch.ceil, torch.trunc, torch.round, torch.nn.functional.hardtanh,
        lambda x: torch.maximum(x, x.flip(0)), lambda x: torch.where(x > 1, x, x.flip(0)), lambda x: x.clamp(min=0.1),
        lambda x: torch.where(x > 1, x, 0.1), torch.nn.functional.leaky_relu, lambda x: torch.maximum(x * 0.3, x),
        torch.nn.functional.relu6, lambda x: (x > 0).to(x.dtype),
    ],
)  # fmt: skip
def test_choices_are_those_of_float32(change):
    x = every(torch.bfloat16)
    got, want = change(x), change(x.float()).bfloat16()
    known = ~want.isnan().numpy()
    np.testing.assert_array_equal(got.isnan().numpy(), ~known)
    np.testing.assert_array_equal(bits(got)[known], bits(want)[known])


def stored(body, *inputs: str) -> list[str]:
    program = trace(body, [In(d) for d in inputs], outputs=["bf16"])
    return list(without_rounding(program.lowered, program.outputs, program.inputs).outputs)


def test_only_what_is_exact_goes_without_rounding():
    assert stored(lambda x: -x, "bf16") == ["i16"]
    assert stored(lambda x, y: fn.where(x > y, x, 0.5), "bf16", "f32") == ["i16"]
    assert stored(lambda x, y: fn.maximum(x, y), "bf16", "f32") == ["bf16"]
    assert stored(lambda x: fn.where(x > 0, x, 0.1), "bf16") == ["bf16"]
    assert stored(lambda x: x + x, "bf16") == ["bf16"]
    assert stored(lambda x: x * 0.5, "bf16") == ["bf16"]
    assert stored(lambda x: fn.cast(x, "f32"), "i16") == ["bf16"]
