"""Which Flambeau this is, and what it was built with."""

__version__ = "0.1.0"
interface = "2.13.0"  # of the PyTorch whose interface this is
debug = False
git_version = "Unknown"
cuda: str | None = None
hip: str | None = None
rocm: str | None = None
xpu: str | None = None
