"""Weights by their address, and models of a folder. Addresses are those of files here."""

import hashlib
from pathlib import Path

import pytest

import flambeau as torch
from flambeau import hub


@pytest.fixture
def cache(tmp_path):
    before = hub._dir
    hub.set_dir(tmp_path / "hub")
    yield tmp_path / "hub" / "checkpoints"
    hub._dir = before


def test_weights_by_their_address(tmp_path, cache, capsys):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(2)}, path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(tmp_path / f"weights-{digits}.pth")
    assert hub.load_state_dict_from_url(path.as_uri(), progress=False, check_hash=True)["a"].tolist() == [1, 1]
    assert capsys.readouterr().out.startswith(f'Downloading: "{path.as_uri()}" to ')
    path.unlink()
    again = hub.load_state_dict_from_url(path.as_uri(), map_location="meta")
    assert again["a"].device.type == "meta" and not capsys.readouterr().out
    assert [p.name for p in cache.iterdir()] == [path.name]


def test_another_hash_leaves_nothing(tmp_path, cache):
    path = tmp_path / "weights-00000000.pth"
    path.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match='invalid hash value .expected "00000000", got "f41f3f'):
        hub.load_state_dict_from_url(path.as_uri(), progress=False, check_hash=True)
    assert not [*cache.iterdir()]


def test_where_things_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert hub.get_dir() == str(tmp_path / "hub")
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert hub.get_dir() == str(Path("~/.cache/torch/hub").expanduser())


CONF = """
dependencies = ["numpy"]
_hidden = 1

def model(size=1):
    "A model of a size."
    return [0] * size
"""


def test_models_of_a_folder(tmp_path):
    (tmp_path / "hubconf.py").write_text(CONF)
    assert hub.load(tmp_path, "model", source="local", size=3, trust_repo=True) == [0, 0, 0]
    assert hub.list(tmp_path) == ["model"] and hub.help(tmp_path, "model") == "A model of a size."
    with pytest.raises(RuntimeError, match="Cannot find callable other in hubconf"):
        hub.load(tmp_path, "other")
    with pytest.raises(ValueError, match='Unknown source: "github"'):
        hub.load("owner/name", "model", source="github")
    with pytest.raises(FileNotFoundError, match="no hubconf.py"):
        hub.load(tmp_path / "nowhere", "model")
    (tmp_path / "hubconf.py").write_text(CONF.replace("numpy", "no_such_package"))
    with pytest.raises(RuntimeError, match="Missing dependencies: no_such_package"):
        hub.load(tmp_path, "model")
