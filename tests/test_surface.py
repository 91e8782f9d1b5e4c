"""The names that two or more of 151 projects use, called with values: the answers are those recorded from PyTorch.

`tools/record_surface.py` made tests/data/surface.json: all of `torch` and `Tensor`, networks, optimisers, data,
distributions and settings. What is not here stands in `MISSING` with the reason.
"""

import json
import math
import warnings
from pathlib import Path

import pytest

import flambeau as torch

HERE = Path(__file__).parent
NAMES = json.loads((HERE / "data" / "surface.json").read_text())
#: In scope, used by two projects or more, and not here.
SAYS_WHY = {  # there, so that programs can import them, and nothing more
    "torch.nn.parallel.DistributedDataParallel", "torch.nn.parallel.distributed.DistributedDataParallel",
}  # fmt: skip
MISSING = {
    "torch.nn.parallel.DistributedDataParallel": "trains on several machines; says that there is one process",
    "torch.nn.parallel.distributed.DistributedDataParallel": "trains on several machines; says that there is one process",
    "torch.utils.model_zoo": "the older name of torch.hub",
    "torch.utils.model_zoo.load_url": "the older name of torch.hub.load_state_dict_from_url",
    "torch.autograd.profiler.profile": "belongs to profiling, as all of torch.profiler",
    "torch.autograd.profiler.record_function": "belongs to profiling, as all of torch.profiler",
    "torch.utils.flop_counter.FlopCounterMode": "counts operations of PyTorch's own table",
    "torch._utils._rebuild_tensor_v2": "what PyTorch's pickles call; ours are read without calling it",
    "torch.cuda.nccl.version": "there is no NCCL here",
    "torch.serialization.get_unsafe_globals_in_checkpoint": "load names what it refuses",
}


def environment() -> dict:
    scope = {"torch": torch}
    exec((HERE / "surface_setup.py").read_text(), scope)
    return scope


def number(value) -> float:
    return float(value) if isinstance(value, str) else value


def close(got: float, want: float, single: bool) -> bool:
    if math.isnan(want) or math.isnan(got):
        return math.isnan(want) and math.isnan(got)
    return got == want or math.isclose(got, want, rel_tol=2e-5 if single else 1e-9, abs_tol=1e-6 if single else 1e-12)


def compare(got, want, random: bool) -> None:
    if isinstance(want, dict) and "sparse" in want:
        return compare(got.to_dense(), want["sparse"], random)
    if isinstance(want, dict) and "dtype" in want:
        assert isinstance(got, torch.Tensor)
        got = got.detach()
        assert (str(got.dtype), list(got.shape)) == (want["dtype"], want["shape"])
        if not random:
            single = got.dtype in (torch.float32, torch.complex64, torch.float16, torch.bfloat16)
            flat = torch.view_as_real(got.resolve_conj()) if got.is_complex() else got
            for a, b in zip(flat.reshape(-1).tolist(), want["values"], strict=True):
                assert close(a, number(b), single), f"{a!r}, wanted {b!r}"
        return None
    if isinstance(want, list):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            compare(a, b, random)
        return None
    if isinstance(want, dict):
        assert type(got).__name__ == want["type"]
    elif not random:
        assert close(got, number(want), True) if isinstance(want, float) else got == want, f"{got!r}, wanted {want!r}"
    return None


@pytest.mark.parametrize("name", [n for n in NAMES if n not in MISSING])
def test_name(name: str) -> None:
    entry = NAMES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names among them
        result = eval(entry["call"], environment())
    compare(result, entry["result"], entry.get("random", False))


def found(name: str) -> bool:
    thing = torch
    for step in name.split(".")[1:]:
        if not hasattr(thing, step):
            return False
        thing = getattr(thing, step)
    return True


def test_few_names_are_missing() -> None:
    known = {*NAMES, *MISSING}
    assert len(MISSING) <= 0.02 * len(known), f"{len(MISSING)} of {len(known)} names"
    page = (HERE.parent / "docs" / "names.md").read_text()
    assert f"{len(NAMES):,} are here" in page and f"These are not, {100 * len(MISSING) / len(known):.1f} %" in page
    assert [f"| `{name}` | {reason} |" for name, reason in MISSING.items()] == [line for line in page.split("Not counted")[0].splitlines() if "`torch." in line and line[0] == "|"]
    there = {name for name in MISSING if name in NAMES or found(name)}
    assert there == SAYS_WHY, "these are here: they belong to the recorded ones"


def test_old_names_of_tensors() -> None:
    x = torch.arange(6.0)
    with pytest.warns(UserWarning, match="non-inplace resize is deprecated"):
        assert x.resize(2, 3).data_ptr() == x.data_ptr()
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match=r"requested resize to 5 \(5 elements in total\)"):
        x.resize(5)
    with pytest.warns(UserWarning, match="it is recommended to use sourceTensor"):
        assert x.new_tensor(torch.ones(1, dtype=torch.int64)).dtype is torch.float32
    assert x.new_tensor([1, 2], dtype=torch.int8).dtype is torch.int8


def test_lists_of_tensors_at_once() -> None:
    a = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    assert [t.tolist() for t in torch._foreach_add(a, 1)] == [[2, 3], [[4]]]
    assert [t.tolist() for t in torch._foreach_add(a, a, alpha=2)] == [[3, 6], [[9]]]
    assert [t.tolist() for t in torch._foreach_mul(a, [2.0, 3.0])] == [[2, 4], [[9]]]
    assert torch._foreach_mul_(a, torch.tensor(2.0)) is a
    torch._foreach_addcdiv_(a, a, a, torch.tensor([1.0, 2.0]))
    torch._foreach_addcmul_(a, a, a, value=0.0)
    assert [t.tolist() for t in a] == [[3, 5], [[8]]]
    torch._foreach_zero_(a)
    assert torch._foreach_norm(a, 1)[0].item() == 0
    with pytest.raises(RuntimeError, match="Tensor lists must have the same number of tensors, got 2 and 1"):
        torch._foreach_add(a, a[:1])
    with pytest.raises(RuntimeError, match="Tensor list must have at least one tensor"):
        torch._foreach_abs([])
    with pytest.raises(AttributeError):
        torch._foreach_frobnicate  # noqa: B018


def test_checks_as_functions() -> None:
    with pytest.raises(AssertionError, match="^no$"):
        torch._assert(False, "no")
    with pytest.raises(RuntimeError, match="^why$"):
        torch._check(False, lambda: "why")
    with pytest.raises(RuntimeError, match="Expected cond to be True"):
        torch._check(False)
    with pytest.raises(TypeError, match="cond must be a bool"):
        torch._check(1)
    assert torch.get_device_module("cpu") is torch.cpu
    with pytest.raises(RuntimeError, match="Invalid device 'abacus'"):
        torch.get_device_module("abacus")
