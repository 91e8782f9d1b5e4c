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


WORKLOADS = {f.__name__: f for f in (tiny_add, tiny_add_grad, tiny_backward, tiny_view, tiny_scalar)}
