"""Calls so small that only their overhead counts."""


def tiny_add(torch):
    """Two tensors of four elements."""
    a, b = torch.rand(4), torch.rand(4)
    return lambda: a + b


def tiny_add_grad(torch):
    """The same, recorded on the tape."""
    a, b = torch.rand(4, requires_grad=True), torch.rand(4)
    return lambda: a + b


def tiny_backward(torch):
    """Multiply, sum, backward."""
    x, y = torch.rand(4, requires_grad=True), torch.rand(4, requires_grad=True)

    def step():
        (x * y).sum().backward()

    return step


def tiny_view(torch):
    """A transposed view."""
    a = torch.rand(4, 4)
    return lambda: a.t()


def tiny_scalar(torch):
    """Tensor times Python number."""
    a = torch.rand(4)
    return lambda: a * 2.0


def tiny_topk(torch):
    """The greatest two of four."""
    a = torch.rand(4, 4)
    return lambda: a.topk(2)


def tiny_cumsum(torch):
    """Running sums."""
    a = torch.rand(4, 4)
    return lambda: a.cumsum(1)


def tiny_max_pool(torch):
    """An image of 4x4."""
    a = torch.rand(1, 1, 4, 4)
    return lambda: torch.nn.functional.max_pool2d(a, 2)


_TINY = (
    tiny_add, tiny_add_grad, tiny_backward, tiny_view, tiny_scalar, tiny_topk, tiny_cumsum, tiny_max_pool,
)  # fmt: skip
WORKLOADS = {f.__name__: f for f in _TINY}
