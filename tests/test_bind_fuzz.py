"""Odd calls of operators raise; none ends the process."""

import flambeau as torch
from flambeau import _core


def outcome(call):
    try:
        call()
    except Exception as error:
        return type(error)
    return None


def test_calls_without_arguments():
    for name in dir(torch.Tensor):
        method = getattr(torch.Tensor, name)
        if isinstance(method, _core.OpMethod):
            assert outcome(method) in (TypeError, None), name


def test_numbers_where_a_tensor_is_written():
    x = torch.ones(2)
    for name in ("add_", "mul_", "sub_", "div_", "pow_", "remainder_", "copy_", "fill_", "zero_", "exp_"):
        assert outcome(lambda name=name: getattr(torch.Tensor, name)(1, x)) is TypeError, name
        assert outcome(lambda name=name: getattr(torch.Tensor, name)(1)) is TypeError, name
