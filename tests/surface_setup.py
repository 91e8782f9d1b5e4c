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


def filled(module):
    """A module of float64 whose parameters count from -0.5 to 0.5."""
    module = module.double()
    for parameter in module.parameters():
        count = torch.arange(parameter.numel(), dtype=torch.float64)  # noqa: F821
        parameter.data = (count / max(parameter.numel() - 1, 1) - 0.5).reshape(parameter.shape)
    return module


def with_buffer(register):
    """What a module holds after something was registered."""
    module = torch.nn.Module()  # noqa: F821
    register(module)
    return module.state_dict()["b"]


def clipped(clip):
    parameter = torch.nn.Parameter(v.clone())  # noqa: F821
    parameter.grad = v.clone()
    return clip(parameter), parameter.grad


def trained(kind, closure=False):
    """A parameter after three steps of an optimiser towards 0."""
    parameter = torch.nn.Parameter(v.clone())  # noqa: F821
    optimizer = kind([parameter], lr=0.1)

    def loss():
        optimizer.zero_grad()
        value = (parameter * parameter).sum()
        value.backward()
        return value

    for _ in range(3):
        if closure:
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
    return parameter


def rates(make, *metrics):
    """The learning rates of five epochs."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(v.clone())], lr=0.1)  # noqa: F821
    schedule, seen = make(optimizer), []
    for _ in range(5):
        optimizer.step()
        schedule.step(*metrics)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def averaged(kind):
    model = filled(torch.nn.Linear(3, 2))  # noqa: F821
    average = kind(model)
    average.update_parameters(model)
    model.weight.data += 1
    average.update_parameters(model)
    return average.module.weight


def differentiated(run):
    return run(x.clone().requires_grad_())


def custom(base):
    """The gradient of a function of one's own."""

    class Double(base):
        @staticmethod
        def forward(ctx, value):
            ctx.save_for_backward(value)
            return value * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2 + ctx.saved_tensors[0]

    return gradient(lambda value: Double.apply(value).sum().backward())


def resolved(kind):
    future = kind()
    later = future.then(lambda done: done.wait() + 1)
    future.set_result(1)
    return later.wait()


def swapped(swap):
    one, other = x.clone(), v.clone()
    swap(one, other)
    return one, other


def eager(attention, *operands):
    """PyTorch's own runs without its compiler only where this is set."""
    import sys

    sys.modules[attention.__module__]._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True
    return attention(*operands)


def part(path):
    """A module by its path below the package."""
    import importlib

    return importlib.import_module(f"{torch.__name__}.{path}")  # noqa: F821
