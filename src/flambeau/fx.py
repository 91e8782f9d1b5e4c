"""`fx`: what code says to PyTorch's tracer of modules, which is not here."""

from typing import Any

from flambeau import _suggest

__all__ = ["wrap"]


def wrap(fn_or_name: Any) -> Any:
    """Returns the function, or its name, that PyTorch's tracer would leave as a call.

    Args:
        fn_or_name: a function at the top of a module, or its name.

    Raises:
        RuntimeError: it is neither.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError(
            "Unsupported type for global function! Must be either a callable or string name "
            f"[in fx.wrap: {type(fn_or_name).__name__}]"
        )
    return fn_or_name


__getattr__ = _suggest.suggesting(__name__)
