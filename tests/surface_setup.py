"""What the recorded calls of tests/data/surface.json may name; `torch` is there already."""

import io

x = torch.tensor([[0.5, 0.25, 0.75], [0.125, 0.625, 0.875]], dtype=torch.float64)  # noqa: F821
m = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]], dtype=torch.float64)  # noqa: F821
v = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)  # noqa: F821
n = torch.tensor([[12, 7, 9], [4, 6, 10]])  # noqa: F821
i = torch.tensor([[0, 2, 1], [2, 1, 0]])  # noqa: F821
k = torch.tensor([1, 0])  # noqa: F821
c = torch.complex(x, -x)  # noqa: F821


def grad_mode(context):
    """Whether gradients are recorded inside a context."""
    with context:
        return torch.is_grad_enabled()  # noqa: F821


def saved_and_loaded(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)  # noqa: F821
    buffer.seek(0)
    return torch.load(buffer)  # noqa: F821


def in_place(function, tensors, *arguments):
    """The tensors after a call that changes copies of them."""
    copies = [t.clone() for t in tensors]
    function(copies, *arguments)
    return copies


def gradient(run):
    leaf = x.clone().requires_grad_()
    run(leaf)
    return leaf.grad


def value(thing):
    """A thing that is no function and no module: a dtype, a number."""
    if callable(thing) or hasattr(thing, "__loader__"):
        raise TypeError("has to be called")
    return thing
