"""The house keeps its shape: imports and includes point downward, nothing heavy at import, files stay readable."""

import ast
import os
import re
import resource
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "flambeau"
# Lower first. What is not named here stands at `*` and may not form a cycle either; `flambeau` is the public namespace.
LAYERS = (
    *("_core", "version", "ir", "codegen", "ops", "_printing", "_subclasses", "storage", "tensor", "*", "nn", "func", "jit", "optim", "serialization", "hub", "vision"),
    *("flambeau", "alias", "cli", "__main__"),
)
ONLY = {"ir": {"ir"}, "codegen": {"codegen", "ir", "_core", "version"}, "ops": {"ops", "ir", "_core"}}
NATIVE_LAYERS = ("core", "runtime", "autograd", "bind")
HEAVY = ("llvmlite", "scipy", "scipy_openblas32", "numpy", "matplotlib", "PIL", "tqdm", "torch")
IMPORT_BUDGET_SECONDS = 0.150
FILE_BUDGET_LINES = 800


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def statements(node: ast.AST):
    """All statements, those inside functions too, less what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from statements(child)


def imported(name: str, path: Path) -> set[str]:
    """Modules of flambeau that this one imports; `from package import name` means the submodule where there is one."""
    found = set()
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES or full == "flambeau._core" else base)
    return {module for module in found if module.split(".")[0] == "flambeau"} - {name}


GRAPH = {name: imported(name, path) for name, path in MODULES.items()}


def unit(module: str) -> str:
    return module.split(".")[1] if "." in module else "flambeau"


def rank(module: str) -> int:
    return LAYERS.index(unit(module) if unit(module) in LAYERS else "*")


def acyclic(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("cycle: " + " <- ".join(error.args[1]))


def test_python_imports_point_downward():
    upward = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if rank(other) > rank(name)
        or (unit(name) in ONLY and unit(other) not in ONLY[unit(name)])
    ]
    assert not upward, "\n".join(upward)


def test_python_has_no_cycle():
    acyclic(GRAPH)
    units: dict[str, set[str]] = {}
    for name, others in GRAPH.items():
        units.setdefault(unit(name), set()).update({unit(other) for other in others} - {unit(name)})
    acyclic(units)


def native_files() -> list[Path]:
    return [path for suffix in ("*.h", "*.cpp") for path in sorted((ROOT / "csrc").rglob(suffix))]


def test_native_includes_point_downward():
    graph: dict[str, set[str]] = {}
    problems = []
    for path in native_files():
        here = path.relative_to(ROOT / "csrc")
        for quoted, angled in re.findall(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', path.read_text(), re.M):
            if re.match(r"(Python\.h|nanobind/|structmember\.h)", quoted or angled) and here.parts[0] != "bind":
                problems.append(f"{here} includes {quoted or angled}: only bind may")
            if not quoted:
                continue
            graph.setdefault(str(here), set()).add(quoted)
            assert (ROOT / "csrc" / quoted).exists(), f"{here} includes {quoted}: paths start in csrc"
            if NATIVE_LAYERS.index(Path(quoted).parts[0]) > NATIVE_LAYERS.index(here.parts[0]):
                problems.append(f"{here} includes {quoted}")
    assert not problems, "\n".join(problems)
    acyclic(graph)


def python(code: str, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_import_loads_nothing_heavy():
    loaded = python("import sys, flambeau; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert not set(loaded) & set(HEAVY)


def seconds(code: str, environment: dict[str, str]) -> float:
    """Processor time of a process: other work on the machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(code, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.skipif("FLAMBEAU_GUARD" in os.environ, reason="the budget is the ordinary build's, not that of guard mode")
def test_import_is_quick(tmp_path):
    """Least of runs in turn, compiled to bytecode as after an installation; three attempts."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    python("import flambeau", environment)
    excess = []
    for _ in range(3):
        runs = [(seconds("import flambeau", environment), seconds("pass", environment)) for _ in range(7)]
        excess.append(min(a for a, _ in runs) - min(b for _, b in runs))
        if excess[-1] <= IMPORT_BUDGET_SECONDS:
            return
    pytest.fail(f"import flambeau takes {min(excess):.3f} s over bare Python; the budget is {IMPORT_BUDGET_SECONDS} s")


def test_files_are_short():
    folders = ("src", "tests", "tools", "bench", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files + native_files()}
    assert not {str(path): length for path, length in lengths.items() if length > FILE_BUDGET_LINES}
