"""The checks of table entries find what is wrong: each is shown an entry that lies."""

import pytest

import flambeau as torch
import opcheck
from flambeau.ir import fn
from flambeau.ops.table import Composite, Scalar, op


def entry(name, body, ref=lambda np, x: x * x, **fields):
    return op(f"{name}(Tensor self) -> Tensor", names=(), body=body, ref=ref, samples=("unary", 0.5, 2), **fields)


def test_a_right_entry_passes():
    right = entry("opcheck_right", Scalar(lambda x: x * x), dtypes=(torch.float64, torch.float32))
    opcheck.check_entry(right.name)


def test_wrong_values_are_found():
    wrong = entry("opcheck_values", Scalar(lambda x: x * x + 1e-3), dtypes=(torch.float64,))
    with pytest.raises(AssertionError, match="expected"):
        opcheck.check_forward(wrong)


def test_a_wrong_gradient_is_found():
    wrong = entry("opcheck_gradient", Scalar(lambda x: fn.detach(x) * x), dtypes=(torch.float64,))
    with pytest.raises((AssertionError, RuntimeError)):
        opcheck.check_gradient(wrong)


def test_a_result_that_depends_on_the_layout_is_found():
    def body(o, self):
        return self * self if self.is_contiguous() else self * self + 1

    with pytest.raises(AssertionError, match=r"transposed|every other|padded"):
        opcheck.check_layouts(entry("opcheck_layout", Composite(body), dtypes=(torch.float32,)))


def test_a_wrong_meta_result_is_found():
    def body(o, self):
        return self.reshape(-1) if self.is_meta else self * self

    with pytest.raises(AssertionError, match="meta"):
        opcheck.check_forms(entry("opcheck_meta", Composite(body), dtypes=(torch.float32,)))


def test_a_missing_error_is_found():
    silent = entry("opcheck_errors", Scalar(lambda x: x * x), errors=((lambda s: (s.x(2),), RuntimeError, "never"),))
    with pytest.raises(AssertionError, match="did not fail"):
        opcheck.check_errors(silent)
