"""Optimizers over many small and over few large parameters."""

_MANY, _LARGE = (200, 64, 64), (4, 1024, 1024)


def _case(name, shapes, **options):
    def make(torch):
        count, *shape = shapes
        params = [torch.randn(shape, requires_grad=True) for _ in range(count)]
        for p in params:
            p.grad = torch.randn(shape)
        optimizer = getattr(torch.optim, name)(params, lr=1e-3, **options)

        def step():
            optimizer.step()
            return params[0]

        return step

    return make


def zero_grad(torch):
    """Dropping the gradients of 200 parameters."""
    params = [torch.randn(64, 64, requires_grad=True) for _ in range(200)]
    optimizer = torch.optim.SGD(params, lr=1e-3)
    return lambda: optimizer.zero_grad()


def clip(torch):
    """The norm of 200 gradients, which are scaled to it."""
    params = [torch.randn(64, 64, requires_grad=True) for _ in range(200)]
    for p in params:
        p.grad = torch.randn(64, 64)
    return lambda: torch.nn.utils.clip_grad_norm_(params, 1.0)


WORKLOADS = {}
_KINDS = {"sgd": ("SGD", {}), "momentum": ("SGD", {"momentum": 0.9}), "adam": ("Adam", {}), "adamw": ("AdamW", {})}
for _name, (_kind, _options) in _KINDS.items():
    for _size, _shapes in (("many", _MANY), ("large", _LARGE)):
        WORKLOADS[f"{_name}_{_size}"] = _case(_kind, _shapes, **_options)
        WORKLOADS[f"{_name}_{_size}_fused"] = _case(_kind, _shapes, **_options, fused=True)
WORKLOADS.update(zero_grad=zero_grad, clip=clip)
# Bytes of a step: parameter, gradient and state are read, parameter and state are written.
_NUMBERS = 4.0 * _LARGE[0] * _LARGE[1] * _LARGE[2]
WORK = {f"{name}_large": ("copy", n * _NUMBERS) for name, n in (("sgd", 3), ("momentum", 5), ("adam", 7), ("adamw", 7))}
QUICK = ("adamw_many", "adamw_many_fused", "adam_large")
