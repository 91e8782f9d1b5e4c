#!/usr/bin/env python
"""Records PyTorch's results for tests/nn_cases.py. Run by an interpreter that has PyTorch:

python tools/record_nn_reference.py > tests/data/nn_reference.json
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from nn_cases import REPRS, programs, run

if __name__ == "__main__":
    reference = {
        "version": torch.__version__,
        "values": {title: run(torch, program) for title, program in programs().items()},
        "reprs": {title: repr(program(torch)) for title, program in REPRS.items()},
    }
    print(json.dumps(reference, separators=(",", ":")).replace('],"', '],\n"'))
