"""The command `flambeau`."""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS = {
    "demo": "train a small network on handwritten digits and show what it learned",
    "doctor": "say what this machine and this installation can do",
    "run": "run a program that says `import torch`",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flambeau", description="A deep-learning framework with PyTorch's interface.")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, text in COMMANDS.items():
        import_module(f"flambeau.cli.{name}").add_arguments(commands.add_parser(name, help=text, description=text))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.version:
        from flambeau.version import __version__

        print(f"flambeau {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    command: Callable[[argparse.Namespace], int] = import_module(f"flambeau.cli.{options.command}").run
    try:
        return command(options)
    except (OSError, ValueError) as error:
        # What a user can mend: a missing file, a full disk. Anything else is a fault and shows its traceback.
        if options.command == "run":
            raise
        print(f"flambeau {options.command}: {error}", file=sys.stderr)
        return 1
