"""Looking at what is generated: the program, the LLVM IR and the PTX of a scalar operator."""

from collections.abc import Sequence

from flambeau import _core
from flambeau.codegen import resolve
from flambeau.codegen.jit import compile_assembly
from flambeau.codegen.module import Module
from flambeau.codegen.target import by_level, host
from flambeau.ir.program import ScalarProgram
from flambeau.ops.programs import canonical_dtypes, program_of
from flambeau.ops.table import TABLE


def program(op: str, dtype: str = "float32", attributes: str = "") -> ScalarProgram:
    """The program of a scalar operator for operands of one dtype.

    Args:
        op: name in the table.
        dtype: of the operands.
        attributes: static ones, as kernel keys spell them.
    """
    entry = TABLE[op]
    code = _core.dtype_code(getattr(_core, dtype))
    return program_of(entry, attributes, canonical_dtypes(entry, frozenset(), code))


def _module(op: str, dtype: str, level: str, attributes: str) -> Module:
    made = program(op, dtype, attributes)
    module = Module(by_level(level))
    resolve.emit_program(module, made, "c" * (len(made.outputs) + len(made.inputs)), op.replace(".", "_"))
    return module


def llvm_ir(op: str, dtype: str = "float32", attributes: str = "") -> str:
    """The LLVM IR of the operator's kernel for this machine, for contiguous operands."""
    return _module(op, dtype, host().level, attributes).text()


def ptx(op: str, dtypes: Sequence[str] = ("float32",), level: str = "sm_80", attributes: str = "") -> str:
    """The PTX of the operator's kernel, for contiguous operands."""
    return compile_assembly(_module(op, dtypes[0], level, attributes))
