"""What every test shares: processes that tests start see the same tree."""

import os
from pathlib import Path

import flambeau

os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(flambeau.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)
