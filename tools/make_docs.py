"""Writes what follows from the table for readers and type checkers.

    PYTHONPATH=src python tools/make_docs.py pages build/docs      a Markdown page for each namespace
    PYTHONPATH=src python tools/make_docs.py stubs FOLDER          .pyi files beside the package's modules in FOLDER

A wheel is built with the stubs in it.
"""

import argparse
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = """# Made from the table of operators; not to be edited.
# mypy: disable-error-code="overload-overlap,overload-cannot-match"
import builtins
from collections.abc import Callable, Sequence
from typing import Any, overload

"""
CORE_CLASSES = ("Generator", "Size", "Tensor", "UntypedStorage", "device", "dtype", "layout", "memory_format")


def load(core: str | None) -> None:
    """Makes the package of this tree importable, with the extension module where it was built."""
    sys.path.insert(0, str(ROOT / "src"))
    if core:
        spec = importlib.util.spec_from_file_location("flambeau._core", core)
        module = importlib.util.module_from_spec(spec)
        sys.modules["flambeau._core"] = module
        spec.loader.exec_module(module)


def is_operator(value: object) -> bool:
    from flambeau import _core

    return isinstance(value, _core.OpFunction | _core.OpMethod)


def functions(names: dict, method: bool = False, indent: str = "") -> list[str]:
    """Stub lines of the operators among some names."""
    from flambeau.ops import pages

    lines = []
    for name, value in sorted(names.items()):
        if not is_operator(value) or not name.isidentifier():
            continue
        made = [
            line for entry, signature in pages.entries_of(value) for line in pages.stubs(name, entry, signature, method)
        ]
        made = list(dict.fromkeys(made)) or [f"def {name}({'self, ' * method}*args: Any, **kwargs: Any) -> Any: ..."]
        for line in made:
            lines += [f"{indent}@overload"] * (len(made) > 1) + [f"{indent}{line}"]
    return lines


def core_stub() -> str:
    """The Tensor type with its methods, and the other types of the core."""
    from flambeau import _core

    lines = [HEADER + "Number = builtins.int | builtins.float | builtins.complex | builtins.bool"]
    for name in CORE_CLASSES:
        kind = getattr(_core, name)
        lines += ["", f"class {name}(tuple[builtins.int, ...]):" if name == "Size" else f"class {name}:"]
        members = {n: v for n, v in vars(kind).items() if not n.startswith("__") or n in ("__getitem__", "__len__")}
        body = functions(members, True, "    ") if name == "Tensor" else []
        body += [f"    {n}: Any" for n, v in sorted(members.items()) if not is_operator(v) and not callable(v)]
        body += [
            f"    def {n}(self, *args: Any, **kwargs: Any) -> Any: ..."
            for n, v in sorted(members.items())
            if not is_operator(v) and callable(v)
        ]
        if name == "Tensor":
            body += python_operators()
        body.append("    def __init__(self, *args: Any, **kwargs: Any) -> None: ...")
        lines += body
    others = {n: v for n, v in vars(_core).items() if n not in CORE_CLASSES and not n.startswith("_")}
    lines += [""] + [f"{n}: {type_of(v)}" for n, v in sorted(others.items()) if not is_operator(v) and not callable(v)]
    lines += [f"def {n}(*args: Any, **kwargs: Any) -> Any: ..." for n, v in sorted(others.items()) if plain(v)]
    lines += [f"class {n}: ..." for n, v in sorted(others.items()) if inspect.isclass(v)]
    return "\n".join([*lines, *functions(others)]) + "\n"


def type_of(value: object) -> str:
    name = type(value).__name__
    return name if name in CORE_CLASSES else "Any"


def plain(value: object) -> bool:
    return callable(value) and not is_operator(value) and not inspect.isclass(value)


def python_operators() -> list[str]:
    """What Python's operators give for tensors."""
    binary = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]
    names = [f"__{p}{n}__" for n in (*binary, "lshift", "rshift") for p in ("", "r", "i")]
    lines = [f"    def {n}(self, other: Any) -> Tensor: ..." for n in names]
    lines += [f"    def __{n}__(self, other: Any) -> Tensor: ...  # type: ignore[override]" for n in ("eq", "ne")]
    lines += [f"    def __{n}__(self, other: Any) -> Tensor: ..." for n in ("lt", "le", "gt", "ge")]
    lines += [f"    def __{n}__(self) -> Tensor: ..." for n in ("neg", "pos", "abs", "invert")]
    lines += [f"    def __{n}__(self) -> builtins.{n}: ..." for n in ("bool", "int", "float", "complex")]
    lines.append("    def __setitem__(self, index: Any, value: Any) -> None: ...")
    return [*lines, "    def __index__(self) -> builtins.int: ..."]


def package_stub() -> str:
    """The public names of the package."""
    import flambeau
    from flambeau import _core

    lines = [HEADER.rstrip()]
    elsewhere = flambeau._WHERE
    own = {n: v for n, v in vars(flambeau).items() if not n.startswith("_") and n not in elsewhere}
    own.update(flambeau.ops.names.namespace())
    for name in sorted(flambeau._SUBMODULES):
        lines.append(f"from flambeau import {name} as {name}")
    for name, module in sorted(elsewhere.items()):
        made = module == "_tensor_types"  # names that the module makes as it is loaded
        lines.append(f"{name}: Any" if made else f"from flambeau.{module} import {name} as {name}")
    core = [n for n in sorted(own) if n in vars(_core) and not is_operator(own[n])]
    lines += [f"from flambeau._core import {n} as {n}" for n in core]
    lines.append("from flambeau._core import Number")
    modules = [n for n, v in sorted(own.items()) if inspect.ismodule(v) and v.__name__ == f"flambeau.{n}"]
    lines += [f"from flambeau import {n} as {n}" for n in modules if n not in flambeau._SUBMODULES]
    rest = {n: v for n, v in own.items() if n not in core and not is_operator(v) and not inspect.ismodule(v)}
    for name, value in sorted(rest.items()):
        module = getattr(value, "__module__", None) or ""
        if module.startswith("flambeau.") and hasattr(sys.modules.get(module), name):
            lines.append(f"from {module} import {name} as {name}")
        elif name not in ("Any",):
            lines.append(f"{name}: {'builtins.float' if isinstance(value, float) else 'Any'}")
    lines.append("__version__: builtins.str")
    return "\n".join([*lines, "", *functions(own)]) + "\n"


def functional_stub() -> str:
    """nn.functional: operators of the table and functions written in Python."""
    functional = importlib.import_module("flambeau.nn.functional")
    lines = [HEADER.rstrip()]
    lines += [f"from flambeau._core import {n}" for n in ("Number", "Tensor", "device", "dtype", "layout")]
    lines += [f"from flambeau._core import {n}" for n in ("Generator", "memory_format")]
    own = {n: v for n, v in vars(functional).items() if not n.startswith("_")}
    for name, value in sorted(own.items()):
        module = getattr(value, "__module__", "") or ""
        if not is_operator(value) and module.startswith("flambeau.nn"):
            lines.append(f"from {module} import {name} as {name}")
    return "\n".join([*lines, "", *functions(own)]) + "\n"


def write_stubs(folder: Path) -> None:
    for place, text in {"_core": core_stub, "__init__": package_stub, "nn/functional": functional_stub}.items():
        target = folder / f"{place}.pyi"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text())


def write_pages(folder: Path) -> None:
    """A page for each namespace, an entry for each operator."""
    import flambeau
    from flambeau.ops import names, pages

    folder.mkdir(parents=True, exist_ok=True)
    spaces = {"torch": names.namespace(), "Tensor": {n: v for n, v in vars(flambeau.Tensor).items() if is_operator(v)}}
    spaces |= {p: names.namespace(p) for p in sorted(names._modules) if p}
    index = ["# Operators", ""]
    for space, members in spaces.items():
        lines = [f"# {space}", ""]
        shown = [(n, v) for n, v in sorted(members.items()) if is_operator(v) and pages.entries_of(v)]
        for name, value in shown:
            lines += [f"## {space}.{name}", "", "```text", pages.page(name, value), "```", ""]
        (folder / f"{space}.md").write_text("\n".join(lines))
        index.append(f"- [{space}]({space}.md): {len(shown)} operators")
    (folder / "index.md").write_text("\n".join(index) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pages", "stubs"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--core", help="the extension module, where it stands outside of the tree")
    options = parser.parse_args()
    load(options.core)
    {"pages": write_pages, "stubs": write_stubs}[options.what](options.folder)


if __name__ == "__main__":
    main()
