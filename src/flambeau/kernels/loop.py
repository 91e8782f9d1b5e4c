"""Running what a loop operator's plan returned."""

from collections.abc import Callable

from flambeau import _core
from flambeau.codegen.resolve import compile_program, resolve_family
from flambeau.codegen.target import host
from flambeau.ir.loop import record
from flambeau.ops.launch import Launch
from flambeau.ops.names import operators

_addresses: dict[tuple, int] = {}


def call(entry, in_place: bool, *arguments) -> tuple:
    """What a loop operator's call comes to."""
    plan = entry.body.plan
    if in_place and entry.body.in_place:
        return run(entry.name, plan(operators, *arguments, into=True))
    return run(entry.name, plan(operators, *arguments))


def run(name: str, launch: Launch) -> tuple:
    """Runs the program of a launch over its buffers; returns its results.

    Args:
        name: the operator, for the kernel's key.
        launch: what to run.
    """
    if launch.iterations and not any(b.is_meta for b in launch.buffers):
        dtypes = tuple(b.dtype for b in launch.buffers)
        key = (name, launch.program, launch.attrs, dtypes)
        address = _addresses.get(key) or _resolve(key)
        how = (launch.ints, launch.iterations, launch.work, launch.params)
        _core.run_loop(address, launch.buffers, *how, launch.copied, launch.indices, launch.sizes)
    return launch.results


def _resolve(key: tuple) -> int:
    name, program, attrs, dtypes = key
    codes = tuple(_core.dtype_code(d) for d in dtypes)
    text = f"{name}|{_program_name(program)}|{attrs!r}|{','.join(codes)}||{host().level}"

    def make():
        return compile_program(record(lambda b: program(b, *attrs), codes), host(), "")

    _addresses[key] = resolve_family(text, make)["k"]
    return _addresses[key]


def _program_name(program: Callable) -> str:
    return getattr(program, "__qualname__", type(program).__name__).replace("|", "/")
