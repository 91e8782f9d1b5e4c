"""Where operators are reached: `flambeau.exp`, `Tensor.exp`, `nn.functional.gelu`, `special.expit`.

Entries of several overloads share a name (`max`, `max.dim`): their functions are merged into one that tries them in the
order of definition.
"""

from collections.abc import Mapping
from typing import Any

from flambeau import _core

# What Python's operators call.
_SLOTS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
    "neg": "neg", "abs": "abs", "invert": "bitwise_not", "positive": "positive",
    "lt": "lt", "le": "le", "eq": "eq", "ne": "ne", "gt": "gt", "ge": "ge", "unbind": "unbind",
}  # fmt: skip
_IN_PLACE_SLOTS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"
)  # fmt: skip

_PACKAGE = __name__.partition(".")[0]

_parts: dict[
    str, list[Any]
] = {}  # public name -> the functions that share it; "<name>" -> those of an entry's own name
_merged: dict[str, Any] = {}
_open = False  # the namespaces were handed out: new names go there at once
_modules: dict[str, dict[str, Any]] = {}  # prefix -> namespace that users see


class Operators:
    """The namespace `o` that composites and gradients receive: every operator by its base name."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(_core, name, None)
        if not isinstance(value, _core.dtype):  # `float` is a dtype, and a method of tensors
            value = function(name) if name in _parts or f"<{name}>" in _parts else value
        if value is None:
            raise AttributeError(f"there is no operator {name!r}")
        self.__dict__[name] = value
        return value


operators = Operators()


def place(base: str, functions: Mapping[str, Any], names: tuple, inplace_names: tuple) -> None:
    """Gives the functions of one entry their names."""
    for name, f in functions.items():
        own = inplace_names if name == f"{base}_" else names
        for public in {f"<{name}>": None, **dict.fromkeys(own)}:
            _parts.setdefault(public, []).append(f)
            _merged.pop(public, None)
        _merged.pop(name, None)
        if _open:
            operators.__dict__.pop(name, None)
            for public in own:
                _attach(public)
        _visible.update(dict.fromkeys(own))


_visible: dict[str, None] = {}  # in the order of definition


def function(public: str) -> Any:
    """The function of a public name."""
    found = _merged.get(public)
    if found is None:
        known = public if public in _parts else f"<{public}>"
        parts = _parts[known]
        found = parts[0] if len(parts) == 1 else _core.merge_functions(_shown(public), parts)
        _merged[public] = found
    return found


def _shown(public: str) -> str:
    """The name of a function in messages: `linalg_pinv`, but `gelu` and `max`."""
    prefix, _, name = public.rpartition(".")
    return f"{prefix}_{name}" if prefix in ("linalg", "special", "fft") else name


def _attach(public: str) -> None:
    """Puts a function into its place, by which it is pickled."""
    prefix, _, name = public.rpartition(".")
    found = function(public)
    if prefix == "Tensor":
        found = found.method
        setattr(_core.Tensor, name, found)
        if not vars(found).get("__qualname__", "").startswith("Tensor."):  # a function's, or none
            found.__module__, found.__qualname__ = _PACKAGE, public
    else:
        _modules.setdefault(prefix, {})[name] = found
        if "__qualname__" not in vars(found):
            found.__module__, found.__qualname__ = f"{_PACKAGE}.{prefix}".rstrip("."), name


def namespace(prefix: str = "") -> dict[str, Any]:
    """The functions under a prefix (`""`, `nn.functional`, `special`, ...), by name. Later ones are added to it."""
    global _open
    if not _open:
        _open = True
        for public in _visible:
            _attach(public)
        _core.set_operators(operators)
        _set_slots()
    return _modules.setdefault(prefix, {})


def _set_slots() -> None:
    """Python's operators call the method where there is one, so that function modes see its name."""
    for slot, name in _SLOTS.items():
        if name in _parts or f"<{name}>" in _parts:
            _core.set_slot(slot, function(_method_name(name)).method)
    for slot in _IN_PLACE_SLOTS:
        _core.set_slot(f"i{slot}", function(_method_name(f"{_SLOTS[slot]}_")).method)


def _method_name(name: str) -> str:
    return f"Tensor.{name}" if f"Tensor.{name}" in _parts else name
