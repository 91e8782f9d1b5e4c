"""Compiles and runs the C++ checks of csrc/core, the pool and the generators, plainly and in guard mode."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler")
    program = tmp_path_factory.mktemp("cpp") / "core_checks"
    sources = [ROOT / "tests/cpp/core_checks.cpp", *sorted((ROOT / "csrc/core").glob("*.cpp"))]
    sources += [ROOT / "csrc/runtime" / f"{name}.cpp" for name in ("pool", "random", "random_fill", "box_muller", "mersenne")]
    flags = ["-std=c++20", "-O1", f"-I{ROOT / 'csrc'}", "-pthread", "-ldl"]
    subprocess.run([compiler, *map(str, sources), "-o", str(program), *flags], check=True)
    return program


@pytest.mark.parametrize("guard", ["0", "end", "start", "1"])
def test_core_checks(checks: Path, guard: str) -> None:
    done = subprocess.run(
        [str(checks)], env={**os.environ, "FLAMBEAU_GUARD": guard}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
