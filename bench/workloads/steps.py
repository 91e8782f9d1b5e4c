"""Whole training steps: forward, backward, optimizer."""

import itertools


def _trainer(torch, model, x, y, optimizer):
    loss_fn = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def _mlp(torch, sizes, batch, classes):
    nn = torch.nn
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    x, y = torch.randn(batch, sizes[0]), torch.randint(0, classes, (batch,))
    return _trainer(torch, model, x, y, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))


def mlp_tiny(torch):
    """4-64-64-2, batch 32."""
    return _mlp(torch, (4, 64, 64, 2), 32, 2)


def mlp(torch):
    """784-512-512-10, batch 64."""
    return _mlp(torch, (784, 512, 512, 10), 64, 10)


def lenet(torch):
    """LeNet-5 on 28x28 images, batch 64."""
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    return _trainer(torch, model, x, y, torch.optim.Adam(model.parameters(), lr=1e-3))


WORKLOADS = {f.__name__: f for f in (mlp_tiny, mlp, lenet)}
