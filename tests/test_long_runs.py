"""A process that trains for long needs no more at its end than near its beginning."""

import gc

import flambeau as torch
from flambeau import _core, nn


def held() -> dict[str, int]:
    """What the process holds: bytes of tensors, bytes kept for later, blocks asked of the system, Python's objects."""
    gc.collect()
    stats = _core.memory_stats()
    kept = ("live_bytes", "cached_bytes", "allocations")
    return {**{name: stats[name] for name in kept}, "objects": len(gc.get_objects())}


def trainer():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(32, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)

    def step(i: int) -> torch.Tensor:
        rows = 2 + i % 31
        loss = nn.functional.cross_entropy(net(torch.rand(rows, 8)), torch.randint(0, 3, (rows,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.detach()

    return step


def test_ten_thousand_training_steps_grow_nothing():
    step = trainer()
    for i in range(1000):
        step(i)
    before = held()
    for i in range(1000, 11_000):
        step(i)
    after = held()
    # Python's own caches move by a few objects; a step that left one behind would leave thousands.
    assert after.pop("objects") < before.pop("objects") + 100
    assert after == before


def test_a_step_that_keeps_its_loss_is_seen():
    step = trainer()
    for i in range(100):
        step(i)
    before = held()
    losses = [step(i) for i in range(100, 600)]
    after = held()
    assert len(losses) == 500
    assert after["live_bytes"] > before["live_bytes"] and after["objects"] >= before["objects"] + 100


def test_steps_of_varying_large_sizes_keep_what_the_largest_needs():
    torch.cpu.empty_cache()

    def step(i: int) -> int:
        rows = 300 + 37 * (i % 61)
        a = torch.rand(rows, 1000, requires_grad=True)  # 1.2 to 10 MB
        ((a * 2).exp() * a).sum().backward()
        return a.nbytes

    largest = max(step(i) for i in range(61))
    before = held()
    for i in range(61, 305):
        step(i)
    after = held()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["cached_bytes"] <= before["cached_bytes"] + largest
    assert after["allocations"] <= before["allocations"] + 4
