"""safetensors files, against the library."""

import contextlib
import json
import random
import struct

import pytest

import flambeau as torch
from flambeau.serialization.safetensors import SafetensorError, load_file, safe_open, save_file

library = pytest.importorskip("safetensors")
library_numpy = pytest.importorskip("safetensors.numpy")


def tensors():
    return {
        "f32": torch.arange(12.0).reshape(3, 4),
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
        "f16": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "i64": torch.tensor([-(2**40), 3]),
        "u8": torch.tensor([[1], [255]], dtype=torch.uint8),
        "bool": torch.tensor(True),
        "empty": torch.empty(0, 3),
        "größe": torch.tensor(2.5, dtype=torch.float64),
    }


def test_the_library_reads_what_we_write_byte_for_byte(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    save_file(tensors(), ours, {"epoch": "3"})
    read = library_numpy.load_file(ours)
    assert {name: array.tolist() for name, array in read.items()} == {n: t.tolist() for n, t in tensors().items()}
    library_numpy.save_file(read, theirs, {"epoch": "3"})
    assert ours.read_bytes() == theirs.read_bytes()


def test_we_read_what_the_library_writes(tmp_path):
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "x"
    library_numpy.save_file({"a": numpy.arange(6.0, dtype="f4").reshape(2, 3), "b": numpy.array(7, "i2")}, path)
    loaded = load_file(path)
    assert loaded["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and loaded["b"].item() == 7
    assert loaded["a"].dtype == torch.float32 and loaded["b"].dtype == torch.int16


def test_bfloat16_and_complex_round_trip(tmp_path):
    path = tmp_path / "x"
    save_file({"b": torch.tensor([0.5, -2.0], dtype=torch.bfloat16), "c": torch.tensor([1 + 2j])}, path)
    loaded = load_file(path)
    assert loaded["b"].dtype == torch.bfloat16 and loaded["b"].tolist() == [0.5, -2.0]
    assert loaded["c"].tolist() == [1 + 2j]


def test_open_reads_in_part(tmp_path):
    path = tmp_path / "x"
    save_file(tensors(), path, {"k": "v"})
    with safe_open(path) as file:
        assert file.keys() == sorted(tensors()) and file.metadata() == {"k": "v"}
        assert file.get_slice("f32")[1:, 2].tolist() == [6.0, 10.0]
        assert file.get_slice("f32").get_shape() == [3, 4] and file.get_slice("f32").get_dtype() == "F32"
        kept = file.get_tensor("transposed")
        with pytest.raises(SafetensorError, match="does not contain tensor nothing"):
            file.get_tensor("nothing")
    assert kept.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_shared_memory_is_refused(tmp_path):
    base = torch.zeros(4, 4)
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        save_file({"a": base, "b": base[1]}, tmp_path / "x")
    save_file({"a": base[0], "b": base[1]}, tmp_path / "x")
    with pytest.raises(ValueError, match=r"expected torch\.Tensor"):
        save_file({"a": 1}, tmp_path / "x")


def entry(shape=(1,), offsets=(0, 4), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "header, size, text",
    [
        ({"a": entry(offsets=(0, 8))}, 8, "8 bytes where shape"),
        ({"a": entry(offsets=(4, 8))}, 8, "overlap or are missing"),
        ({"a": entry(), "b": entry()}, 4, "overlap or are missing"),
        ({"a": entry()}, 8, "8 bytes of data where the header states 4"),
        ({"a": entry(shape=(-1,))}, 4, "whole numbers"),
        ({"a": entry(dtype="X7")}, 4, "dtype 'X7'"),
        ({"a": entry(shape=(2**62, 2**62, 0), offsets=(0, 0))}, 4, "states 0"),
        ({"a": {}}, 0, "must have dtype"),
        ({"__metadata__": {"a": 1}}, 0, "metadata must be text"),
        ([], 0, "JSON object"),
    ],
)
def test_bad_headers(tmp_path, header, size, text):
    path = tmp_path / "x"
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(size))
    with pytest.raises(SafetensorError, match=text):
        load_file(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\1", struct.pack("<Q", 2**63), b"\x10" + bytes(30), struct.pack("<Q", 90_000) + b"[" * 90_000,
     struct.pack("<Q", 18) + b'{"a": {}, "a": {}}'],
)  # fmt: skip
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(SafetensorError):
        load_file(path)


def test_damaged_files(tmp_path):
    path = tmp_path / "x"
    save_file(tensors(), path)
    whole = path.read_bytes()
    rng = random.Random(3)
    for trial in range(300):
        data = bytearray(whole)
        if trial % 2:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(SafetensorError):
            load_file(path)
