"""What every test shares: the processes that tests start see the same tree and the same cache of kernels."""

import os
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.codegen.target import LEVELS, Target
from machines import MACHINES, Emulated, Native

ROOT = Path(__file__).parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(flambeau.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# The user's own cache stays as it is.
os.environ.setdefault("FLAMBEAU_CACHE", str(ROOT / "build" / "test-cache"))


@pytest.fixture(autouse=True)
def same_numbers_in_any_order(request):
    """A module's RANDOM starts anew for each test: which tests ran before it in the same process is chance."""
    random = getattr(request.module, "RANDOM", None)
    if random is not None:
        random.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(scope="module", params=MACHINES, ids=lambda p: "-".join(p))
def target_and_where(request: pytest.FixtureRequest) -> tuple[Target, str]:
    """What a family of kernels is compiled for, and where it runs; a module may have its own."""
    level, where = request.param
    return LEVELS[level], where


@pytest.fixture
def machine(family):
    """Runs the kernels of the module's `family`: (target, where, dtype, code)."""
    _, where, _, code = family
    made = Emulated(code) if where == "emulated" else Native(code, where == "end")
    yield made
    made.close()
