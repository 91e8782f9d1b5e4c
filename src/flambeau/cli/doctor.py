"""`flambeau doctor`: what this machine and this installation can do, and what is missing."""

import argparse
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import flambeau
from flambeau.cli import machine
from flambeau.codegen import resolve, target
from flambeau.codegen.cache import Cache, root

REQUIRED = ("numpy", "llvmlite", "scipy-openblas32")
OPTIONAL = {"matplotlib": "demo", "tqdm": "demo", "pillow": "demo"}


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def versions() -> Iterator[tuple[str, str]]:
    yield "flambeau", f"{flambeau.__version__} in {Path(flambeau.__file__).parent}"
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "system", platform.platform()
    for package in REQUIRED:
        yield package, installed(package) or f"MISSING: pip install {package}"
    for package, extra in OPTIONAL.items():
        yield package, installed(package) or f'not installed (optional; comes with pip install "flambeau[{extra}]")'


def hardware() -> Iterator[tuple[str, str]]:
    yield "cpu", machine.cpu_name()
    yield "instruction sets", " ".join(machine.instruction_sets()) or "unknown"
    yield "threads", f"{flambeau.get_num_threads()}; CPUs: {machine.usable_cpus()}"
    yield "caches", machine.caches() or "unknown"
    yield "memory", machine.memory() or "unknown"
    yield "gpu", machine.gpu()


def kernels() -> Iterator[tuple[str, str]]:
    """Where kernels come from, shown by running one."""
    try:
        yield "kernels for", target.host().level
    except RuntimeError as error:
        yield "kernels for", f"none: {error}"
    cache = Cache(resolve.digest())
    files = list(cache.folder.glob("*.bin")) if cache.folder else []
    size = sum(file.stat().st_size for file in files)
    kept = f"{len(files)} kernels of these sources, {size / 2**20:.1f} MiB"
    yield "kernel cache", f"{root()}: " + (f"not usable: {cache.problem}" if cache.problem else kept)
    try:
        flambeau.ones(8).add(1)
        yield "a first kernel", " ".join(f"{name} {value:.4g}" for name, value in resolve.stats().items())
    except Exception as error:
        yield "a first kernel", f"FAILED: {error}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Prints the report; the status is 1 when something that everything needs is missing or fails."""
    lines = [*versions(), *hardware(), *kernels()]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")
    return int(any(text.startswith(("MISSING", "FAILED")) for _, text in lines))
