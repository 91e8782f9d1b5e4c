"""Writes the digits that Flambeau ships from scikit-learn's copy. Run once: the result is committed.

    python tools/prepare_digits.py
"""

import gzip
import struct
from pathlib import Path

from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src" / "flambeau" / "cli" / "data"


def write(name: str, shape: tuple[int, ...], elements: bytes) -> None:
    head = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    # A fixed time and no name: the same bytes whenever it runs.
    (TARGET / name).write_bytes(gzip.compress(head + elements, 9, mtime=0))


digits = load_digits()
write("digits-images-idx3-ubyte.gz", digits.images.shape, digits.images.astype("u1").tobytes())
write("digits-labels-idx1-ubyte.gz", digits.target.shape, digits.target.astype("u1").tobytes())
