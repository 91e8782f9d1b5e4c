"""The same bits for any number of threads, from run to run, and with unaligned inputs: a training, and the workloads of
bench/, which hold every kind of kernel at sizes that are shared by threads."""

import pytest

import bench_modules
import flambeau as torch
from flambeau.cli import demo

STEPS = 100
worker = bench_modules.load("worker")
WORKLOADS = worker.workloads()


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def unaligned(tensor):
    """A copy that begins one element behind an aligned address."""
    moved = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)[1:].view(tensor.shape)
    return moved.copy_(tensor)


def trained(threads, change=lambda tensor: tensor):
    """Every loss and every weight of a short training, as bits."""
    torch.set_num_threads(threads)
    torch.manual_seed(3)
    split, _ = demo.load_data("digits", None, 3)
    model = demo.Net(8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=demo.LEARNING_RATE)
    model.train()
    losses = []
    for _ in range(STEPS):
        rows = torch.randint(len(split), (demo.BATCH,))
        losses.append(demo.step(model, optimizer, change(split.images[rows]), split.labels[rows])[0])
    weights = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    return [loss.hex() for loss in losses], weights


@pytest.fixture(scope="module")
def one_thread():
    return trained(1)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads(one_thread, threads):
    losses, weights = trained(threads)
    assert losses == one_thread[0]
    assert weights == one_thread[1]


def test_unaligned_inputs(one_thread):
    assert trained(2, unaligned) == one_thread


def bits(result):
    """The bytes of all tensors of a result."""
    if isinstance(result, torch.Tensor):
        t = result.detach()
        t = t.view(torch.int16) if t.dtype in (torch.bfloat16, torch.float16) else t
        return [t.numpy().tobytes()]
    return [b for part in result for b in bits(part)] if isinstance(result, list | tuple) else [repr(result).encode()]


def results(make, threads):
    """What two calls of a workload give. Their operands are made by two threads."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    call = make(torch)
    torch.set_num_threads(threads)
    return [bits(call()) for _ in range(2)]


QUICK = worker.declared()[0]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow, id=n) for n in WORKLOADS]
)
def test_workloads(name):
    wanted = results(WORKLOADS[name], 1)
    assert wanted[0], "the workload returns nothing that could be compared"
    for threads in (1, 2, 3, 7):
        assert results(WORKLOADS[name], threads) == wanted, f"{threads} threads give other bits than one"
