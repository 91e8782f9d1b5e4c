"""A fork waits for imports and compilations of other threads: the child would never see their locks released.

Where other threads run, what is otherwise imported when it is first needed is imported before the fork: after that no
thread is ever inside of such an import.
"""

import importlib
import os
import sys
import threading
from typing import Any

_LATE = (
    "flambeau.kernels.scalar", "flambeau.kernels.row", "flambeau.kernels.loop", "flambeau.codegen.jit",
    "flambeau.codegen.elementwise", "flambeau.codegen.contract", "flambeau.codegen.conv", "flambeau.codegen.attention",
    "flambeau.codegen.channels", "flambeau.codegen.narrow", "flambeau.codegen.shifts", "flambeau.autograd.program",
    "llvmlite.binding", "numpy",
)  # fmt: skip
_held: list[Any] = []


def _before() -> None:
    if threading.active_count() > 1:
        for name in _LATE:
            importlib.import_module(name)
    resolver = sys.modules.get("flambeau.codegen.resolve")
    if resolver is not None:
        resolver.compile_lock().acquire()
        _held.append(resolver)


def _after() -> None:
    while _held:
        _held.pop().compile_lock().release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
