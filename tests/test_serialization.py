"""Checkpoints: what PyTorch 2.13 wrote loads here; what a file can do to a process, and a crash to a file."""

import contextlib
import io
import os
import pickle
import random
import stat
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import pytest

import flambeau as torch
from flambeau import nn, serialization
from flambeau.serialization.archive import Writer

DATA = Path(__file__).parent / "data" / "checkpoints"
TENSORS = {
    "base": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
    "transposed": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
    "row": [3.0, 4.0, 5.0],
    "scalar": 2.5,
    "empty": [],
    "bool": [True, False],
    "int8": [-1, 2],
    "int64": [-(2**40), 3],
    "float16": [0.5, -2.0],
    "bfloat16": [0.5, -2.0],
    "uint16": [1, 65535],
    "complex64": [1 + 2j],
    "parameter": [1.0, 2.0],
}
DTYPES = {"base": "float32", "scalar": "float64", "bool": "bool", "transposed": "float32", "row": "float32"}
CONTAINERS = {
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


def check_recorded(loaded, without=()):
    for name, expected in TENSORS.items():
        if name in without:
            continue
        tensor = loaded[name]
        assert tensor.tolist() == expected, name
        named = DTYPES.get(name, {"empty": "float32", "parameter": "float32"}.get(name, name))
        assert tensor.dtype == getattr(torch, named), name
    assert loaded["empty"].shape == (0, 3)
    assert loaded["transposed"].stride() == (1, 3)
    assert isinstance(loaded["parameter"], nn.Parameter) and loaded["parameter"].requires_grad
    assert {name: loaded[name] for name in CONTAINERS} == CONTAINERS
    # Views of one storage still are.
    loaded["row"][0] = -1.0
    assert loaded["base"][1, 0].item() == -1.0 and loaded["transposed"][0, 1].item() == -1.0


def round_trip(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, **options)


@pytest.mark.parametrize("mmap", [False, True])
def test_reads_what_pytorch_wrote(mmap):
    check_recorded(torch.load(DATA / "zip.pt", mmap=mmap))


def test_reads_the_format_before_1_6():
    check_recorded(torch.load(DATA / "legacy.pt"), without=("uint16",))


def test_mmap_leaves_the_file_alone(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    before = path.read_bytes()
    loaded = torch.load(path, mmap=True)["a"]
    loaded += 1
    assert loaded.sum().item() == 1000.0
    assert path.read_bytes() == before


def test_reads_a_state_dict_with_its_metadata():
    loaded = torch.load(DATA / "state_dict.pt")
    assert list(loaded) == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                            "1.num_batches_tracked"]  # fmt: skip
    assert loaded["0.weight"].tolist() == [[1.0, 1.0]] * 3
    assert loaded._metadata["1"] == {"version": 2}


def test_round_trip_keeps_values_views_and_attributes():
    base = torch.arange(12.0).reshape(3, 4)
    tagged = torch.ones(2)
    tagged.label = "mine"
    parameter = nn.Parameter(torch.ones(2), requires_grad=False)
    parameter.label = "ours"
    value = {"base": base, "column": base[:, 1], "again": base, "tagged": tagged, "parameter": parameter, **CONTAINERS,
             "frozen": frozenset([1]), "counts": Counter("aab"), "default": defaultdict(list, a=[1]),
             "meta": torch.empty(3, 2, device="meta"), 5: ("deep", {"er": [1.5, -7, 2**70, None, True]})}  # fmt: skip
    loaded = round_trip(value)
    assert loaded["again"] is loaded["base"]
    loaded["column"][0] = 100.0
    assert loaded["base"][0, 1].item() == 100.0 and base[0, 1].item() == 1.0
    assert loaded["tagged"].label == "mine" and loaded["parameter"].label == "ours"
    assert not loaded["parameter"].requires_grad
    assert loaded["meta"].device.type == "meta" and loaded["meta"].shape == (3, 2)
    for name in (*CONTAINERS, "frozen", "counts", "default", 5):
        assert loaded[name] == value[name] and type(loaded[name]) is type(value[name]), name


def test_numpy_values_are_read():
    numpy = pytest.importorskip("numpy")
    loaded = round_trip({"a": numpy.arange(6.0).reshape(2, 3).T, "s": numpy.float32(3.5), "i": numpy.int64(4)})
    assert loaded["a"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert loaded["s"] == numpy.float32(3.5) and type(loaded["i"]) is numpy.int64


def test_what_is_written_has_pytorchs_shape(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(5), "b": torch.zeros(3, dtype=torch.uint16)}, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        program = archive.read("model/data.pkl")
    assert names == ["model/data.pkl", "model/byteorder", "model/data/0", "model/data/1", "model/version",
                     "model/.data/serialization_id"]  # fmt: skip
    for text in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ctorch\nuint16\n"):
        assert text in program
    raw = path.read_bytes()
    start = raw.index(b"\0\0\x80\x3f" * 5)
    assert start % 64 == 0


def test_map_location():
    path = DATA / "zip.pt"
    assert torch.load(path, map_location="meta")["base"].device.type == "meta"
    assert torch.load(path, map_location={"cpu": "meta"})["base"].device.type == "meta"
    assert torch.load(path, map_location=torch.device("cpu"))["base"].device.type == "cpu"
    seen = []
    torch.load(path, map_location=lambda storage, location: seen.append(location))
    assert set(seen) == {"cpu"}


class Innocent:
    def __init__(self):
        self.x = 1


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must not run >&2; exit 1",)


def test_globals_outside_the_list_are_named_and_not_touched(capfd):
    with pytest.raises(pickle.UnpicklingError, match=r"Weights only load failed.*GLOBAL posix.system .*state_dict"):
        round_trip(Evil(), weights_only=False)
    assert "must not run" not in capfd.readouterr().err
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL torch\.nn\.modules\.linear\.Nothing"):
        program(b"ctorch.nn.modules.linear\nNothing\n)\x81.")


def test_whole_modules_of_the_library_are_built():
    model = torch.load(DATA / "module.pt", weights_only=False)
    assert isinstance(model, nn.Sequential) and isinstance(model[0], nn.Linear)
    assert model(torch.ones(4, 2)).shape == (4, 3)
    again = round_trip(model)
    assert repr(again) == repr(model) and again.state_dict().keys() == model.state_dict().keys()
    assert again[0].weight.tolist() == [[1.0, 1.0]] * 3
    with pytest.raises(pickle.UnpicklingError, match="cannot set 'forward'"):
        program(b"ctorch.nn.modules.linear\nLinear\n)\x81}X\x07\0\0\0forwardK\x01sb.")


def test_functions_that_modules_hold(tmp_path):
    functional = nn.functional
    held = (functional.gelu, functional.relu, torch.relu, functional.cosine_similarity, functional.cross_entropy)
    model = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, 16, activation=f) for f in held[:3])).eval()
    model.append(nn.TripletMarginWithDistanceLoss(distance_function=held[3]))
    again = round_trip(model)
    assert [layer.activation for layer in again[:3]] == list(held[:3])
    assert again[3].distance_function is held[3]
    x = torch.linspace(-1, 1, 48).view(2, 3, 8)
    assert torch.equal(again[:3](x), model[:3](x))
    assert round_trip(list(held)) == list(held)
    assert pickle.loads(pickle.dumps(held)) == held
    # PyTorch's own names: of torch.relu, and of functional.gelu
    relu = b"cbuiltins\ngetattr\nctorch._C\n_VariableFunctionsClass\nX\x04\0\0\0relu\x86R."
    assert program(relu) is torch.relu
    assert program(b"ctorch._C._nn\ngelu\n.") is functional.gelu
    for harmful in (b"ctorch\nload\n.", b"ctorch\nrelu\n)R.", relu.replace(b"relu", b"load"), b"ctorch._C._nn\nwarnings\n."):
        with pytest.raises(pickle.UnpicklingError):
            program(harmful)


def test_module_classes_have_pytorchs_names(tmp_path):
    modules = {
        nn.MultiheadAttention(4, 2): "activation", nn.LazyLinear(3): "linear", nn.LazyConv1d(3, 2): "conv",
        nn.Upsample(scale_factor=2): "upsampling", nn.Fold(4, 2): "fold", nn.PixelShuffle(2): "pixelshuffle",
        nn.ChannelShuffle(2): "channelshuffle",
    }  # fmt: skip
    for module, file in modules.items():
        path = tmp_path / "module.pt"
        torch.save(module, path)
        with zipfile.ZipFile(path) as archive:
            text = archive.read("module/data.pkl")
        assert f"ctorch.nn.modules.{file}\n{type(module).__name__}\n".encode() in text
        if not hasattr(module, "cls_to_become"):  # lazy ones hold hooks, which are code
            assert type(torch.load(path)) is type(module)


def test_what_the_user_allows_is_built():
    with pytest.raises(pickle.UnpicklingError, match="Innocent"):
        round_trip(Innocent())
    with serialization.safe_globals([Innocent]):
        assert round_trip(Innocent()).x == 1
    assert serialization.get_safe_globals() == []


def archive(records):
    """A file of these records."""
    buffer = io.BytesIO()
    with Writer(buffer.write, "x") as writer:
        for name, content in records.items():
            writer.add(name, content)
    buffer.seek(0)
    return buffer


def program(body: bytes):
    """Loads a checkpoint whose pickle program is `body`."""
    return torch.load(archive({"data.pkl": b"\x80\x02" + body}))


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
ATTACKS = {
    "call what is not callable": b"ctorch\nTensor\n)R.",
    "allocate by an integer": b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "a string longer than the file": b"X\xff\xff\xff\xffabc.",
    "an integer longer than the file": b"\x8b\xff\xff\xff\x7fabc.",
    "a key that hashes for ever": b"})" + b"2\x86" * 60 + b"K\x01s.",
    "a key that overflows the stack": b"})" + b"\x85" * 100_000 + b"K\x01s.",
    "copies without end": b"B\0\0\x10\0" + bytes(1 << 20) + b"q\x000](" + b"c__builtin__\nbytearray\nh\0\x85R" * 99
    + b"e.",
    "a method replaced": b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsK\x01sb.",
    "a class replaced": b"ccollections\nOrderedDict\n)R}X\x09\0\0\0__class__K\x01sb.",
    "a storage that is not there": STORAGE + b"K\x04tQ.",
    "an array of objects": b"cnumpy\ndtype\nX\x01\0\0\0O\x85R.",
    "an empty stack": b"0000R.",
    "an unknown opcode": b"\xff.",
    "no end": b"K\x01",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_in_an_error(name):
    with pytest.raises((pickle.UnpicklingError, EOFError, RuntimeError)):
        program(ATTACKS[name])


def test_a_tensor_outside_its_storage():
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x02tQK\x01K\x02\x85K\x01\x85\x89NtR."
    with pytest.raises(RuntimeError, match="storage offset 1, and itemsize 4 requiring a storage size of 12"):
        torch.load(archive({"data.pkl": b"\x80\x02" + rebuild, "data/0": bytes(8)}))


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "state_dict.pt"])
def test_damaged_files_end_in_an_error(name):
    whole = (DATA / name).read_bytes()
    rng = random.Random(7)
    for trial in range(400):
        data = bytearray(whole)
        if trial % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data) if trial % 3 == 1 else 700)] = rng.randrange(256)
        with contextlib.suppress(pickle.UnpicklingError, EOFError, RuntimeError):
            torch.load(io.BytesIO(data))


@pytest.mark.parametrize(
    "content, error, text",
    [
        (b"", EOFError, "Ran out of input .* is empty"),
        (b"PK\3\4 not really", RuntimeError, "failed finding central directory"),
        (b"hello, world", pickle.UnpicklingError, "Weights only load failed"),
        (b"\x80\x02K\x05.", RuntimeError, "Invalid magic number; corrupt file"),
    ],
)
def test_foreign_files(tmp_path, content, error, text):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(error, match=text):
        torch.load(path)


def test_wrong_arguments(tmp_path):
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "nothing.pt")
    with pytest.raises(RuntimeError, match=r"Parent directory .* does not exist\."):
        torch.save({}, tmp_path / "no" / "x.pt")
    with pytest.raises(AttributeError, match="'write' attribute"):
        torch.save({}, 5)
    with pytest.raises(AttributeError, match="seekable"):
        torch.load(object())
    with pytest.raises(ValueError, match="f must be a file path"):
        torch.load(io.BytesIO(), mmap=True)
    with pytest.raises(IsADirectoryError):
        torch.save({}, tmp_path)


def test_a_failed_save_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": 1}, path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        torch.save({"a": lambda: 0}, path)
    assert torch.load(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    torch.save({"a": 1}, path)
    usage = type("usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"No space left on device \[in save: .* 100 free"):
        torch.save({"a": torch.zeros(1000)}, path)
    monkeypatch.undo()
    assert torch.load(path) == {"a": 1}


def test_a_link_and_a_mode_are_kept(tmp_path):
    path, link = tmp_path / "x.pt", tmp_path / "latest.pt"
    torch.save({"a": 1}, path)
    path.chmod(0o640)
    link.symlink_to(path)
    torch.save({"a": 2}, link)
    assert link.is_symlink() and torch.load(path) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_kill_while_saving_leaves_a_file_that_loads(tmp_path):
    path = tmp_path / "x.pt"
    code = f"""
import flambeau as torch
n = 0
while True:
    torch.save({{"n": n, "a": torch.full((1000,), float(n))}}, {str(path)!r})
    n += 1
    print(n, flush=True)
"""
    for lines in (1, 3, 8):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            for _ in range(lines):
                assert child.stdout.readline()
            child.kill()
        loaded = torch.load(path)
        assert (loaded["a"] == float(loaded["n"])).all()


def test_one_storage_as_two_dtypes_is_refused():
    a = torch.zeros(4)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        round_trip([a, a.view(torch.int32)])


def test_big_endian_files():
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x02tQK\x00K\x02\x85K\x01\x85\x89NtR."
    records = {"data.pkl": b"\x80\x02" + rebuild, "byteorder": b"big", "data/0": b"\x3f\x80\0\0\x40\0\0\0"}
    assert torch.load(archive(records)).tolist() == [1.0, 2.0]
