"""What every test shares: the processes that tests start see the same tree and the same cache of kernels."""

import os
from pathlib import Path

import numpy as np
import pytest

import flambeau

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
