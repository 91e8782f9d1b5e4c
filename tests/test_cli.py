"""The command `flambeau`: what it prints, what it leaves behind, what it says when something is wrong."""

import gzip
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau import cli
from flambeau.cli import idx

LAST_LINE = re.compile(r"held-out accuracy: (\d+\.\d)%")
PNG = b"\x89PNG\r\n"


def flambeau(*arguments, code="from flambeau.cli import main; sys.exit(main())", **options):
    command = [sys.executable, "-c", f"import sys; {code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def test_usage(capsys):
    assert cli.main([]) == 0
    assert "flambeau command" in capsys.readouterr().out
    assert cli.main(["dmeo"]) == 2
    assert "Did you mean demo?" in capsys.readouterr().err
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"flambeau \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_shipped_digits():
    pixels, shape, labels = idx.read_digits()
    assert shape == (1797, 8, 8) and len(pixels) == 1797 * 64
    assert max(pixels) == 16 and sum(pixels) == 561718
    assert list(labels[:12]) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (idx.DIGITS / "LICENSE.digits.txt").read_text().count("BSD") == 1


def idx_file(shape, elements, kind=8):
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + elements


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_idx_files_plain_and_compressed(tmp_path, pack):
    path = tmp_path / ("x.gz" if pack is gzip.compress else "x")
    path.write_bytes(pack(idx_file((2, 3), bytes(range(6)))))
    assert idx.read_idx(path) == (bytearray(range(6)), (2, 3))


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("x", b"", "not an idx file"),
        ("x", b"hello world", "not an idx file"),
        ("x", idx_file((2,), b"12", kind=9), "not an idx file"),
        ("x", b"\0\0\x08\x02\0\0", "truncated"),
        ("x", idx_file((4,), b"123"), "damaged: 4 elements"),
        ("x", idx_file((2,), b"123"), "damaged: 2 elements"),
        ("x", idx_file((1 << 31, 1 << 31), b""), "more than"),
        ("x.gz", b"not gzip", "damaged"),
        # Names of tests hold the content: both processes of a run must see the same, so no time stands in it.
        ("x.gz", gzip.compress(idx_file((2,), b"12"), mtime=0)[:-9], "damaged"),
        ("x.gz", gzip.compress(idx_file((1 << 20,), bytes(1 << 20)), mtime=0)[:100], "damaged"),
    ],
)
def test_foreign_idx_files(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(idx.IdxError, match=text):
        idx.read_idx(path)


def write_set(folder, images, labels):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def test_sets_are_found_and_checked(tmp_path):
    write_set(tmp_path / "FashionMNIST" / "raw", idx_file((2, 4, 4), bytes(32)), idx_file((2,), b"\1\2"))
    assert idx.read_split(tmp_path, "test")[1:] == ((2, 4, 4), bytearray(b"\1\2"))
    with pytest.raises(idx.IdxError, match=r"train-images-idx3-ubyte \(or .*\) is not in .*--root"):
        idx.read_split(tmp_path / "nowhere", "train")
    write_set(tmp_path, idx_file((2, 4, 4), bytes(32)), idx_file((3,), b"\1\2\3"))
    with pytest.raises(idx.IdxError, match="not images and their labels"):
        idx.read_split(tmp_path, "train")
    write_set(tmp_path, idx_file((1, 4, 4), bytes(16)), idx_file((1,), b"\x0b"))
    with pytest.raises(idx.IdxError, match="class 11"):
        idx.read_split(tmp_path, "train")


def check_model(path, height=8):
    import flambeau
    from flambeau.cli.demo import Net

    model = Net(height, height)
    model.load_state_dict(flambeau.load(path))
    return model


def test_demo_trains_saves_and_draws(tmp_path):
    done = flambeau("demo", "--epochs", 4, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(LAST_LINE.fullmatch(done.stdout.splitlines()[-1])[1]) >= 90.0
    assert "loss" in done.stderr and "accuracy" in done.stderr
    check_model(tmp_path / "model.pt")
    for name in ("curves.png", "predictions.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
        assert name in done.stdout


def test_demo_without_the_extras(tmp_path):
    absent = "sys.modules.update(matplotlib=None, tqdm=None, PIL=None); from flambeau.cli import main; sys.exit(main())"
    done = flambeau("demo", "--epochs", 1, "--out", tmp_path, code=absent)
    assert done.returncode == 0, done.stderr
    assert LAST_LINE.fullmatch(done.stdout.splitlines()[-1])
    assert 'pip install "flambeau[demo]"' in done.stdout
    assert "s left, loss" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    check_model(tmp_path / "model.pt")


def test_demo_on_idx_files(tmp_path):
    images = b"".join(bytes([25 * (n % 10)] * 784) for n in range(80))
    labels = bytes(n % 10 for n in range(80))
    write_set(tmp_path / "data", idx_file((80, 28, 28), images), idx_file((80,), labels))
    arguments = ("demo", "--data", "fashion-mnist", "--epochs", 1, "--out", tmp_path / "out", "--root")
    done = flambeau(*arguments, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    check_model(tmp_path / "out" / "model.pt", height=28)
    done = flambeau(*arguments, tmp_path)
    assert done.returncode == 1 and "--root" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_ends_early_leaves_a_model_that_loads(tmp_path, ending):
    model = tmp_path / "model.pt"
    command = [sys.executable, "-m", "flambeau", "demo", "--epochs", "100000", "--out", str(tmp_path)]
    # Tests that run in the background of a shell would hand on that interrupts are ignored.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as child:
        for _ in range(3000):
            if model.exists() or child.poll() is not None:
                break
            try:
                child.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        child.send_signal(ending)
        errors = child.communicate(timeout=60)[1]
    assert child.returncode == (130 if ending == signal.SIGINT else -9), errors
    check_model(model)
    if ending == signal.SIGINT:
        assert "Interrupted after" in errors and "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_demo_reaches_97_percent(tmp_path, seed):
    done = flambeau("demo", "--seed", seed, "--out", tmp_path)
    assert float(LAST_LINE.fullmatch(done.stdout.splitlines()[-1])[1]) >= 97.0
    assert float(re.search(r"trained in ([\d.]+) s", done.stdout)[1]) < 20


def test_doctor():
    done = flambeau("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("flambeau", "python", "llvmlite", "instruction sets", "threads", "caches", "gpu"):
        assert re.search(rf"^{word}\b", done.stdout, re.M), word


def test_run_gives_flambeau_the_name_torch(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nimport helper\nimport torch, torch.nn as nn\nimport torch.nn.functional as F\n"
        "from torch.utils.data import DataLoader\n"
        "print(torch.__name__, nn.Linear.__module__.split('.')[0], F.__spec__.name, sys.argv[1:], __name__, helper.x)\n"
        "print(F.relu(torch.tensor([-1.0, 2.0])).tolist())\n"
        "try:\n    import torch.nothing\nexcept ModuleNotFoundError as error:\n    print(error)\n"
    )
    (tmp_path / "helper.py").write_text("x = 7\n")
    done = flambeau("run", program, "--flag", "a")
    assert done.stdout.splitlines() == [
        "flambeau flambeau flambeau.nn.functional ['--flag', 'a'] __main__ 7",
        "[0.0, 2.0]",
        "No module named 'torch.nothing' [torch stands for Flambeau here, which has no flambeau.nothing]",
    ], done.stderr
    assert flambeau("run", tmp_path / "missing.py").returncode == 2


def test_module_and_script_are_one_command():
    done = subprocess.run([sys.executable, "-m", "flambeau", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"flambeau {cli.__version__}\n"
    assert Path(cli.__file__).exists()
