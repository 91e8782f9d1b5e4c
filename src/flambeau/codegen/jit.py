"""LLVM IR to machine code: the only file that imports llvmlite, and only when something is compiled.

Kernels come with explicit vectors, so the pipeline is one pass (SROA turns `alloca`s into registers) and the code
generator at level 2: as fast as O3's code, compiled in half the time.
"""

from functools import cache
from typing import Any

from .link import Code, link
from .module import Module


@cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    # A select stays one: as a branch, which LLVM makes of some, it costs a misprediction wherever data decide.
    llvm.set_option("flambeau", "-x86-cmov-converter=false")
    return llvm


@cache
def _machine(triple: str, cpu: str, features: str) -> Any:
    target = _llvm().Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small")


def _lowered(source: Module) -> tuple[Any, Any]:
    llvm, target = _llvm(), source.target
    machine = _machine(target.triple, target.cpu, target.features)
    module = llvm.parse_assembly(source.text())
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2 if source.optimize else 1)
    options.loop_vectorization = source.optimize
    builder = llvm.create_pass_builder(machine, options)
    if source.optimize:
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
    passes.run(module, builder)
    return machine, module


def _set_strength_reduction(on: bool) -> None:
    _llvm().set_option("flambeau", f"-disable-lsr={'false' if on else 'true'}")


def compile_object(module: Module, strength_reduction: bool = True) -> bytes:
    """The object file of a module.

    Args:
        module: what to compile.
        strength_reduction: False where addressing is made by hand and LLVM's loop strength reduction would undo it.
    """
    machine, lowered = _lowered(module)
    if strength_reduction:
        return machine.emit_object(lowered)
    _set_strength_reduction(False)
    try:
        return machine.emit_object(lowered)
    finally:
        _set_strength_reduction(True)


def compile_code(module: Module, strength_reduction: bool = True) -> Code:
    """Flat code of a module for a CPU."""
    return link(compile_object(module, strength_reduction))


def compile_assembly(module: Module) -> str:
    """The assembly of a module: for people, and what a GPU's driver takes (PTX)."""
    machine, lowered = _lowered(module)
    return machine.emit_assembly(lowered)
