"""The command `flambeau`."""

import argparse
import difflib
import sys
from importlib import import_module

from flambeau.version import __version__

COMMANDS = {
    "demo": "train a small network on handwritten digits and show what it learned",
    "doctor": "say what this machine and this installation can do",
    "run": "run a program that says `import torch`",
}


def usage() -> str:
    lines = [f"  {name:<8} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: flambeau command [--help] ...", "", *lines, "", "flambeau --version prints the version."])


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "--version"):
        print(f"flambeau {__version__}" if name == "--version" else usage())
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        print(f"flambeau: there is no command {name!r}.{hint}\n\n{usage()}", file=sys.stderr)
        return 2
    return run_command(name, rest)


def run_command(name: str, arguments: list[str]) -> int:
    command = import_module(f"flambeau.cli.{name}")
    parser = argparse.ArgumentParser(prog=f"flambeau {name}", description=COMMANDS[name])
    command.add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        return command.run(options)
    except (OSError, ValueError) as error:
        # What a user can mend: a missing file, a full disk. A program that is run keeps its own exceptions.
        if name == "run":
            raise
        print(f"flambeau {name}: {error}", file=sys.stderr)
        return 1
