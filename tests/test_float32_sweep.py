"""Every float32 input of the elementary functions: what docs/numerics.md records."""

import re

import numpy as np
import pytest

import float32_sweep
import kernels
from flambeau.ir.program import In, trace
from test_ir_math import stated

RECORDED = {
    name: float(worst) for name, worst in re.findall(r"^\| (\w+) \| ([\d.]+) \|", float32_sweep.PAGE.read_text(), re.M)
}


@pytest.mark.slow
@pytest.mark.parametrize("name", float32_sweep.ELEMENTARY)
def test_elementary_functions(name):
    worst, place = float32_sweep.sweep(name)
    assert worst <= 2.0, place
    assert abs(worst - RECORDED[name]) <= 0.001, "docs/numerics.md is not up to date"


def test_a_disagreement_is_seen():
    got = np.array([1.0, 1.0 + 2**-23, np.inf, np.nan, 3.4028235e38, 0.0, np.inf, 1e-45], np.float32)
    exact = np.array([1.0, 1.0, 1.0, 1.0, np.inf, 2.0**-149, np.inf, 0.0])
    errors = kernels.run(trace(float32_sweep.distance, [In("f32"), In("f64")]), [got, exact])[0]
    assert errors.tolist() == [0, 1, np.inf, np.inf, 0, 1, 0, 1]


def test_the_page_names_every_function():
    assert list(RECORDED) == list(float32_sweep.ELEMENTARY)


def test_documentation_states_the_errors():
    for name in set(float32_sweep.ELEMENTARY) - {"softplus", "log_sigmoid"}:
        assert RECORDED[name] <= stated(name)[0] <= 2, name
