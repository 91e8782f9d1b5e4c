"""The CPU."""

from flambeau.codegen import target

__all__ = ["get_cpu_capability"]

_CAPABILITIES = {"x86-64-v3": "AVX2", "x86-64-v4": "AVX512"}


def get_cpu_capability() -> str:
    """The widest instructions that kernels use: `AVX2`, `AVX512` or `DEFAULT`."""
    try:
        return _CAPABILITIES.get(target.host().level, "DEFAULT")
    except RuntimeError:  # no kernels for this machine: the interpreter computes
        return "DEFAULT"
