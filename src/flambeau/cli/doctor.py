"""`flambeau doctor`: what this machine and this installation can do, and what is missing."""

import argparse
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import flambeau
from flambeau.cli import machine

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
    yield "kernels for", machine.level()
    yield "caches", machine.caches() or "unknown"
    yield "threads", f"{flambeau.get_num_threads()} of {machine.usable_cpus()} CPUs"
    yield "memory", machine.memory() or "unknown"
    yield "gpu", machine.gpu()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Prints the report; the status is 1 when a package that everything needs is missing."""
    lines = [*versions(), *hardware()]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:<{width}}  {text}")
    return int(any(text.startswith("MISSING") for _, text in lines))
