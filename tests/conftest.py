"""What every test shares: the processes that tests start see the same tree and the same cache of kernels."""

import os
from pathlib import Path

import flambeau

ROOT = Path(__file__).parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(flambeau.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# The user's own cache stays as it is.
os.environ.setdefault("FLAMBEAU_CACHE", str(ROOT / "build" / "test-cache"))
