"""Writes the checkpoints that tests/test_serialization.py reads, with PyTorch itself (2.13). The results are committed.

    /path/to/python-with-torch tools/record_checkpoints.py
"""

from collections import OrderedDict
from pathlib import Path

import torch

TARGET = Path(__file__).parents[1] / "tests" / "data" / "checkpoints"
base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
tensors = {
    "base": base,
    "transposed": base.t(),
    "row": base[1],
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "bool": torch.tensor([True, False]),
    "int8": torch.tensor([-1, 2], dtype=torch.int8),
    "int64": torch.tensor([-(2**40), 3]),
    "float16": torch.tensor([0.5, -2.0], dtype=torch.float16),
    "bfloat16": torch.tensor([0.5, -2.0], dtype=torch.bfloat16),
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "complex64": torch.tensor([1 + 2j]),
    "parameter": torch.nn.Parameter(torch.tensor([1.0, 2.0])),
}
containers = {
    "size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "ordered": OrderedDict(a=1, b=[2, (3, None)]),
    "set": {1, 2},
    "bytes": b"\x00\xff",
    "big": 10**30,
    "complex": 1 + 2j,
    "text": "größer",
}
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
for parameter in model.parameters():
    torch.nn.init.ones_(parameter)
torch.save({**tensors, **containers}, TARGET / "zip.pt")
torch.save(model.state_dict(), TARGET / "state_dict.pt")
torch.save(model, TARGET / "module.pt")
legacy = {key: value for key, value in tensors.items() if key != "uint16"}
torch.save({**legacy, **containers}, TARGET / "legacy.pt", _use_new_zipfile_serialization=False)
