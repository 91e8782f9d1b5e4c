# ruff: noqa: UP006, UP035, UP045
"""What programs and libraries written for PyTorch ask before they use it: version, jit, distributed, its core."""

import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.torch_version import TorchVersion

PROGRAM = """
import importlib.metadata
import torch
import torch.distributed as dist
from torch.distributed import nn as dist_nn
from torch.nn.parallel import DistributedDataParallel

assert torch.__version__ >= "2.9" and torch.__version__ == importlib.metadata.version("torch") == "2.13.0"
assert importlib.metadata.version("numpy")
assert not (dist.is_available() or dist.is_initialized())
torch._C._log_api_usage_once("a library")

@torch.jit.script
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

model = torch.jit.trace(torch.nn.Linear(2, 3), torch.ones(1, 2))
print(double(model(torch.ones(4, 2))).shape, torch.jit.is_scripting())
"""


def test_a_program_that_asks(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    done = subprocess.run([sys.executable, "-m", "flambeau", "run", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "torch.Size([4, 3]) False\n"


def test_versions_compare_by_their_numbers() -> None:
    version = TorchVersion("2.13.0")
    assert version > "2.9" and version >= (2, 13) and version <= "2.13" and version < "3" and version == "2.13.0+cpu"
    assert version != "2.13.1" and version != "two" and version.startswith("2.")
    assert {version: 1}["2.13.0"] == 1
    with pytest.raises(TypeError):
        assert version < 3


def test_script_and_trace_give_back_what_they_are_given() -> None:
    model = nn.Linear(2, 2)
    function = len
    for compiled in (
        torch.jit.script(model), torch.jit.trace(model, torch.ones(1, 2)), torch.jit.freeze(model.eval()),
        torch.jit.trace_module(model, {}), torch.jit.optimize_for_inference(model), torch.jit.annotate(object, model),
        torch.jit.Attribute(model, nn.Module),
    ):  # fmt: skip
        assert compiled is model
    for decorate in (torch.jit.ignore, torch.jit.ignore(drop=True), torch.jit.unused, torch.jit.export):
        assert decorate(function) is function
    with pytest.raises(RuntimeError, match="Freezing is currently only implemented for modules in eval mode. Please call"):
        torch.jit.freeze(model.train())
    assert isinstance(torch.jit.ScriptModule(), nn.Module)
    assert torch.jit.wait(torch.jit.fork(torch.add, torch.ones(1), 2)).item() == 3
    for call in (torch.jit.save, torch.jit.load):
        with pytest.raises(RuntimeError, match="TorchScript archives"):
            call(model, "model.pt") if call is torch.jit.save else call("model.pt")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ([1, 2], List[int], True), ([1, "b"], List[int], False), ({"a": 1.0}, Dict[str, float], True),
        ({1: 1.0}, Dict[str, float], False), (None, Optional[int], True), ("x", Optional[int], False),
        ((1, "b"), tuple[int, str], True), ((1, 2, 3), tuple[int, str], False), ((1, 2), tuple[int, ...], True),
        (1, (str, int), True), ([[1], [2]], list[list[int]], True), ({1, 2}, list[int], False),
    ],
)  # fmt: skip
def test_types_that_say_what_they_hold(value: object, kind: object, expected: bool) -> None:
    assert torch.jit.isinstance(value, kind) is expected


def test_what_needs_a_group_of_processes_says_that_there_is_none() -> None:
    for call in (torch.distributed.get_rank, torch.distributed.barrier, torch.distributed.nn.all_reduce):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            call()
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="one process so far .in init_process_group: backend=gloo"):
        torch.distributed.init_process_group("gloo")


def test_a_bool_stands_for_a_float() -> None:
    x = torch.ones(2)
    assert nn.functional.pad(x, (1, 1), value=True).tolist() == [1, 1, 1, 1]
    assert torch.allclose(x, x, rtol=True) and torch.dropout(x, True, False).tolist() == [1, 1]
    with pytest.raises(TypeError, match="must be int, not bool"):
        torch.cumsum(x, True)


def test_marks_for_tracers_and_recorders_change_nothing() -> None:
    assert torch.fx.wrap(len) is len and torch.fx.wrap("len") == "len"
    with pytest.raises(RuntimeError, match="Unsupported type for global function"):
        torch.fx.wrap(3)
    dynamo = torch._dynamo
    assert dynamo.disable(len) is len and not dynamo.is_compiling()
    assert dynamo.mark_dynamic(torch.ones(2), 0, min=1) is None and dynamo.graph_break() is None


def test_parts_of_checkpointing() -> None:
    from flambeau.utils import checkpoint

    x = torch.ones(2, requires_grad=True)
    assert checkpoint.get_device_states(x, [x]) == ([], []) and checkpoint.set_device_states([], []) is None
    detached, text = checkpoint.detach_variable((x * 2, "text"))
    assert detached.requires_grad and detached.is_leaf and text == "text"
    with pytest.raises(RuntimeError, match="^Only tuple of tensors is supported. Got Unsupported input type: list$"):
        checkpoint.detach_variable([x])
    checkpoint.check_backward_validity([x])
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint.check_backward_validity([x.detach()])
