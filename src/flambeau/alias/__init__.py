"""The name `torch` for programs that want it: after `install()`, `import torch` gives Flambeau.

    import flambeau.alias
    flambeau.alias.install()
    import torch.nn.functional as F      # flambeau.nn.functional

Programs decide by `torch.__version__` what they may use: there it is that of the PyTorch whose interface this is.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import flambeau
from flambeau.torch_version import TorchVersion
from flambeau.version import interface

OURS, THEIRS = "flambeau", "torch"
_ANYTHING = DistributionFinder.Context()


def our_name(name: str) -> str:
    """`torch.nn` -> `flambeau.nn`."""
    return OURS + name.removeprefix(THEIRS)


class AliasLoader(Loader):
    """Hands out the module of ours that a name stands for, as it is."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(our_name(spec.name))
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec into the module; it keeps its own.
        module.__spec__ = self.spec


class AliasDistribution(Distribution):
    """What `importlib.metadata.version("torch")` reads: libraries ask it instead of the module."""

    def read_text(self, filename: str) -> str | None:
        text = f"Metadata-Version: 2.1\nName: {THEIRS}\nVersion: {interface}\n"
        return text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        return Path(flambeau.__file__).parent / str(path)


class AliasFinder(MetaPathFinder):
    """Finds `torch` and everything below it."""

    def find_distributions(self, context: DistributionFinder.Context = _ANYTHING) -> Iterator[Distribution]:
        if context.name in (None, THEIRS):
            yield AliasDistribution()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS and not fullname.startswith(THEIRS + "."):
            return None
        if find_spec(our_name(fullname)) is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r} [torch stands for Flambeau here, which has no {our_name(fullname)}]",
                name=fullname,
            )
        return ModuleSpec(fullname, AliasLoader(), is_package=True)


def install() -> None:
    """Lets `import torch` give Flambeau in this process.

    Raises:
        RuntimeError: PyTorch itself is imported already.
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    if THEIRS in sys.modules:
        raise RuntimeError("PyTorch itself is imported already [in alias.install]. Install the alias first.")
    sys.meta_path.insert(0, AliasFinder())
    flambeau.__version__ = TorchVersion(interface)
