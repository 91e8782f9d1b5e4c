"""The idx files of MNIST and its kin (and of the digits shipped here): read with every size checked first."""

import gzip
import math
import struct
from pathlib import Path

DIGITS = Path(__file__).parent / "data"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FOLDERS = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "fashion-mnist")
UNSIGNED_BYTE = 8
# The largest of the family (EMNIST) has 550 MB of images.
MAX_BYTES = 1 << 30


class IdxError(ValueError):
    """An idx file is missing, truncated or something else."""


def read_idx(path: Path) -> tuple[bytearray, tuple[int, ...]]:
    """Reads a file of unsigned bytes, gzip-compressed or not: its elements and its shape.

    Raises:
        IdxError: the file is truncated, longer than it says, or no idx file.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            return read_elements(file, path)
    except (EOFError, gzip.BadGzipFile) as error:
        raise IdxError(f"{path} is damaged: {error}. Fetch it again.") from error


def read_elements(file, path: Path) -> tuple[bytearray, tuple[int, ...]]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != UNSIGNED_BYTE or not 1 <= head[3] <= 3:
        raise IdxError(f"{path} is not an idx file of unsigned bytes (it begins with {head.hex(' ') or 'nothing'}).")
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise IdxError(f"{path} is truncated: its sizes are missing. Fetch it again.")
    shape = struct.unpack(f">{head[3]}I", sizes)
    count = math.prod(shape)
    if count > MAX_BYTES:
        raise IdxError(f"{path} states {count:,} elements; more than {MAX_BYTES:,} are not read.")
    data = bytearray(file.read(count))
    if len(data) != count or file.read(1):
        raise IdxError(f"{path} is damaged: {count:,} elements were stated, and more or fewer follow. Fetch it again.")
    return data, shape


def find(root: Path, name: str) -> Path:
    """The file `name` or `name.gz` in `root` or where the usual programs put it below."""
    for folder in FOLDERS:
        for ending in ("", ".gz"):
            path = root / folder / (name + ending)
            if path.is_file():
                return path
    raise IdxError(
        f"{name} (or {name}.gz) is not in {root}. Name the folder that holds the raw files with --root "
        "(Debian and Ubuntu: apt install dataset-fashion-mnist puts those of Fashion-MNIST into /usr/share/datasets)."
    )


def read_pair(images: Path, labels: Path) -> tuple[bytearray, tuple[int, ...], bytearray]:
    """Images, their shape, and their labels."""
    pixels, shape = read_idx(images)
    classes, count = read_idx(labels)
    if len(shape) != 3 or len(count) != 1 or shape[0] != count[0] or 0 in shape:
        raise IdxError(f"{images} holds {shape} and {labels} {count}: these are not images and their labels.")
    if max(classes) > 9:
        raise IdxError(f"{labels} names class {max(classes)}; the classes are 0 to 9.")
    return pixels, shape, classes


def read_digits() -> tuple[bytearray, tuple[int, ...], bytearray]:
    """The 1,797 digits of 8 by 8 pixels, 0 to 16, that come with Flambeau."""
    return read_pair(DIGITS / "digits-images-idx3-ubyte.gz", DIGITS / "digits-labels-idx1-ubyte.gz")


def read_split(root: Path, part: str) -> tuple[bytearray, tuple[int, ...], bytearray]:
    """`train` or `test` of MNIST or Fashion-MNIST."""
    images, labels = FILES[part]
    return read_pair(find(root, images), find(root, labels))
