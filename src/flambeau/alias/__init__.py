"""The name `torch` for programs that want it: after `install()`, `import torch` gives Flambeau.

    import flambeau.alias
    flambeau.alias.install()
    import torch.nn.functional as F      # flambeau.nn.functional
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

OURS, THEIRS = "flambeau", "torch"


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


class AliasFinder(MetaPathFinder):
    """Finds `torch` and everything below it."""

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
