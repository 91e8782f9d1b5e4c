#!/usr/bin/env python
"""Records PyTorch's random numbers for tests/random_cases.py. Run by an interpreter that has PyTorch:

python tools/record_random_reference.py > tests/data/random_reference.json
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from random_cases import SEEDS, SEQUENCES, numbers


def record() -> dict[str, object]:
    reference: dict[str, object] = {"version": torch.__version__}
    for name, programs in SEQUENCES.items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            values = {title: numbers(program(torch)) for title, program in programs.items()}
            state = hashlib.sha256(bytes(torch.get_rng_state().tolist())).hexdigest()
            reference[f"{name}-{seed}"] = {"values": values, "state": state}
    return reference


if __name__ == "__main__":
    text = json.dumps(record(), separators=(",", ":"))
    print(text.replace('"values"', '\n"values"').replace("]],", "]],\n"))
