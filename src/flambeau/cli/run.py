"""`flambeau run program.py`: a program that says `import torch` runs on Flambeau."""

import argparse
import runpy
import sys
from pathlib import Path

from flambeau import alias


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", dest="module", action="store_true", help="the program is a module, as in python -m")
    parser.add_argument("program", help="a file, or with -m a module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")


def run(options: argparse.Namespace) -> int:
    """Runs the program as `__main__`; its exit status and its exceptions are its own."""
    if not options.module and not Path(options.program).exists():
        print(f"flambeau run: there is no file {options.program}", file=sys.stderr)
        return 2
    alias.install()
    sys.argv = [options.program, *options.arguments]
    if options.module:
        sys.path.insert(0, "")
        runpy.run_module(options.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(options.program).resolve().parent))
        runpy.run_path(options.program, run_name="__main__")
    return 0
