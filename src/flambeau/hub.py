"""`hub`: weights by their address, and models that a folder's `hubconf.py` makes.

Weights are read like any checkpoint, without running code. A `hubconf.py` is code: it runs because you name its folder.
"""

import hashlib
import importlib.util
import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from flambeau import _suggest
from flambeau.serialization import load as _load_file
from flambeau.serialization.atomic import replacing as _replacing

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # of resnet18-f37072fd.pth
_CHUNK = 1 << 17
_dir: str | None = None


def get_dir() -> str:
    """The folder for what is downloaded: that of `set_dir`, or `hub` in $TORCH_HOME, or in ~/.cache/torch."""
    if _dir is not None:
        return _dir
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))
    return os.path.join(home, "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Sets the folder for what is downloaded.

    Args:
        d: the folder.
    """
    global _dir
    _dir = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetches a file, which appears when it is whole.

    Args:
        url: its address.
        dst: where it shall stand.
        hash_prefix: how its SHA-256 begins, in hexadecimal digits; None: anything will do.
        progress: show how far it is, where tqdm is installed.

    Raises:
        RuntimeError: it has another hash; nothing is written then.
    """
    digest = hashlib.sha256()
    with urlopen(Request(url, headers={"User-Agent": "flambeau.hub"})) as source:
        size = int(source.headers.get("Content-Length") or 0)
        with _replacing(dst, size, "download_url_to_file") as file, _bar(size, progress) as bar:
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                if bar is not None:
                    bar.update(len(chunk))
            found = digest.hexdigest()
            if hash_prefix is not None and not found.startswith(hash_prefix):
                raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')


def _bar(size: int, progress: bool) -> AbstractContextManager[Any]:
    if not progress or importlib.util.find_spec("tqdm") is None:
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=size or None, unit="B", unit_scale=True, unit_divisor=1024)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """Loads a checkpoint, which is fetched unless it is there already.

    Args:
        url: its address.
        model_dir: where it is kept; None: `checkpoints` in `get_dir()`.
        map_location: as for `load`.
        progress: show how far it is, where tqdm is installed.
        check_hash: the file's name ends with the first digits of its SHA-256, `name-<digits>.ext`, which are compared.
        file_name: its name in the folder; None: that of the address.
        weights_only: accepted for compatibility; loading is always as strict as True.

    Raises:
        RuntimeError: it has another hash.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        sys.stdout.write(f'Downloading: "{url}" to {path}\n')
        digits = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, digits.group(1) if digits else None, progress)
    return _load_file(path, map_location=map_location)


def _hubconf(folder: str, source: str) -> ModuleType:
    """The module of a folder, what it depends on being there."""
    if source != "local":
        raise ValueError(
            f'Unknown source: "{source}". Allowed values: "local". [Fetch the repository and name its folder with '
            'source="local": then you see what will run]'
        )
    path = Path(folder, "hubconf.py")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no hubconf.py in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.fspath(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(os.fspath(folder))
    missing = [d for d in getattr(module, "dependencies", ()) if importlib.util.find_spec(d) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _entry(module: ModuleType, name: str) -> Any:
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    found = getattr(module, name, None)
    if found is None or not callable(found):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def load(
    repo_or_dir: str, model: str, *args: Any, source: str = "local", trust_repo: Any = None,
    force_reload: bool = False, verbose: bool = True, skip_validation: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """Calls a function of a folder's `hubconf.py`, and returns what it makes.

    Args:
        repo_or_dir: the folder.
        model: the function's name.
        args, kwargs: its arguments.
        source: "local".
        trust_repo, force_reload, verbose, skip_validation: taken so that programs run unchanged.

    Raises:
        ValueError: another source.
        RuntimeError: there is no such function, or what it depends on is not installed.
    """
    return _entry(_hubconf(repo_or_dir, source), model)(*args, **kwargs)


def list(github: str, *, source: str = "local", **options: Any) -> Any:
    """The names of the functions of a folder's `hubconf.py`."""
    module = _hubconf(github, source)
    return [n for n in dir(module) if callable(getattr(module, n)) and not n.startswith("_")]


def help(github: str, model: str, *, source: str = "local", **options: Any) -> str | None:
    """What a function of a folder's `hubconf.py` says of itself."""
    return _entry(_hubconf(github, source), model).__doc__


__getattr__ = _suggest.suggesting(__name__)
