"""Kernels of scalar operators: what C++ asks for when its table of kernels misses."""

import hashlib
from types import CodeType

from flambeau.codegen import resolve as resolver
from flambeau.codegen.target import host
from flambeau.ops.programs import provider
from flambeau.ops.table import TABLE, Entry


def resolve(key: str) -> int:
    """The address of the kernel for `operator|variant|attributes|dtypes|classes` on this machine."""
    return resolver.resolve(f"{key}|{host().level}")


def _code_text(code: CodeType) -> str:
    """What a function does, without where it stands."""
    inner = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{inner}"


def _salt(name: str) -> str:
    """A text that changes with the formula of an operator from outside of the package: no digest covers its source."""
    entry = TABLE.get(name)
    while entry is not None and not entry.user and hasattr(entry.body, "parent"):
        entry = entry.body.parent
    return hashlib.sha256(_formula(entry).encode()).hexdigest()[:16] if entry is not None and entry.user else ""


def _formula(entry: Entry) -> str:
    fn = entry.body.fn
    cells = [c.cell_contents for c in fn.__closure__ or ()]
    return f"{entry.signatures}{_code_text(fn.__code__)}{fn.__defaults__}{cells}"


resolver.set_provider(provider, _salt)
