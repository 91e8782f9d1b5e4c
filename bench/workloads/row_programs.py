"""Softmax, losses and normalisation layers, forward and backward."""


def _forward(size, call):
    def make(torch):
        x = torch.randn(size)
        rest = [torch.rand(size[1]), torch.rand(size[1])]
        return lambda: call(torch, x, *rest)

    return make


def _both(size, call):
    def make(torch):
        x = torch.randn(size, requires_grad=True)
        rest = [torch.rand(size[1], requires_grad=True) for _ in range(2)]

        def step():
            y = call(torch, x, *rest)
            y.backward(torch.ones_like(y)) if y.dim() else y.backward()
            x.grad = None

        return step

    return make


def _loss(size, name):
    def make(torch):
        x = torch.randn(size, requires_grad=True)
        target = torch.randint(0, size[1], (size[0],)) if name == "cross_entropy" else torch.rand(size)
        loss = getattr(torch.nn.functional, name)

        def step():
            loss(x, target).backward()
            x.grad = None

        return step

    return make


def _ctc(steps, n, classes, longest):
    def make(torch):
        x = torch.randn(steps, n, classes, requires_grad=True)
        target = torch.randint(1, classes, (n, longest))

        def step():
            torch.nn.functional.ctc_loss(x.log_softmax(2), target, [steps] * n, [longest] * n).backward()
            x.grad = None

        return step

    return make


_ROWS = {
    "softmax": lambda t, x, w, b: t.softmax(x, 1),
    "log_softmax": lambda t, x, w, b: t.log_softmax(x, 1),
    "layer_norm": lambda t, x, w, b: t.nn.functional.layer_norm(x, x.shape[1:], w, b),
    "rms_norm": lambda t, x, w, b: t.nn.functional.rms_norm(x, x.shape[1:], w),
}
_IMAGES = {
    "batch_norm": lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True),
    "group_norm": lambda t, x, w, b: t.nn.functional.group_norm(x, 8, w, b),
    "instance_norm": lambda t, x, w, b: t.nn.functional.instance_norm(x, None, None, w, b),
}
WORKLOADS = {}
for _sizes, _calls in (
    ({"64x100": (64, 100), "4096x768": (4096, 768), "256x32K": (256, 32768)}, _ROWS),
    ({"8x16x8": (8, 16, 8, 8), "32x64x56": (32, 64, 56, 56)}, _IMAGES),
):
    for _name, _call in _calls.items():
        for _n, _size in _sizes.items():
            WORKLOADS[f"{_name}_{_n}"] = _forward(_size, _call)
            WORKLOADS[f"{_name}_both_{_n}"] = _both(_size, _call)
WORKLOADS["softmax_0_1024"] = _forward((1024, 1024), lambda t, x, w, b: t.softmax(x, 0))
for _n, _size in {"64x10": (64, 10), "4096x768": (4096, 768), "256x32K": (256, 32768)}.items():
    WORKLOADS[f"cross_entropy_{_n}"] = _loss(_size, "cross_entropy")
    WORKLOADS[f"mse_loss_{_n}"] = _loss(_size, "mse_loss")
WORKLOADS["ctc_loss_100x16x50"] = _ctc(100, 16, 50, 20)
WORKLOADS["ctc_loss_500x32x80"] = _ctc(500, 32, 80, 100)
