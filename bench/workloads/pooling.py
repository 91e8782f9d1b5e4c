"""Pooling of images, forward and with its gradient."""


def _case(shape, call, backward, last=False):
    def make(torch):
        x = torch.randn(shape)
        x = (x.contiguous(memory_format=torch.channels_last) if last else x).requires_grad_(backward)
        if not backward:
            return lambda: call(torch.nn.functional, x)
        g = torch.randn(call(torch.nn.functional, x).shape)
        return lambda: torch.autograd.grad(call(torch.nn.functional, x), x, g)

    return make


_CASES = {
    "max_2x2": ((32, 64, 56, 56), lambda f, x: f.max_pool2d(x, 2)),
    "max_2x2_small": ((64, 6, 28, 28), lambda f, x: f.max_pool2d(x, 2)),
    "max_3x3_stride_2": ((8, 64, 112, 112), lambda f, x: f.max_pool2d(x, 3, 2, 1)),
    "average_2x2": ((32, 64, 56, 56), lambda f, x: f.avg_pool2d(x, 2)),
    "average_3x3_stride_1": ((8, 64, 35, 35), lambda f, x: f.avg_pool2d(x, 3, 1, 1)),
    "global_average": ((32, 512, 7, 7), lambda f, x: f.adaptive_avg_pool2d(x, 1)),
    "adaptive_max": ((16, 64, 30, 30), lambda f, x: f.adaptive_max_pool2d(x, 7)),
    "global_max": ((16, 64, 28, 28), lambda f, x: f.adaptive_max_pool2d(x, 1)),
    "adaptive_average_even": ((8, 64, 56, 56), lambda f, x: f.adaptive_avg_pool2d(x, 7)),
    "adaptive_average_small": ((8, 64, 28, 28), lambda f, x: f.adaptive_avg_pool2d(x, 7)),
    "max_1d": ((32, 64, 1024), lambda f, x: f.max_pool1d(x, 2)),
    "patches_16": ((8, 3, 224, 224), lambda f, x: f.unfold(x, 16, stride=16)),
    "patches_3x3": ((16, 64, 32, 32), lambda f, x: f.unfold(x, 3, padding=1)),
    "fold_7x7_stride_4": ((4, 64 * 49, 196), lambda f, x: f.fold(x, (59, 59), 7, stride=4)),
    "max_3d": ((4, 16, 16, 32, 32), lambda f, x: f.max_pool3d(x, 2)),
    "max_3d_small": ((2, 4, 16, 16, 16), lambda f, x: f.max_pool3d(x, 3, 2, 1)),
}
WORKLOADS = {}
for _name, (_shape, _call) in _CASES.items():
    WORKLOADS[_name] = _case(_shape, _call, False)
    WORKLOADS[f"{_name}_backward"] = _case(_shape, _call, True)
for _name in ("max_2x2", "max_3x3_stride_2", "average_2x2"):
    WORKLOADS[f"{_name}_channels_last"] = _case(*_CASES[_name], False, True)
    WORKLOADS[f"{_name}_channels_last_backward"] = _case(*_CASES[_name], True, True)
WORK = {"max_2x2": ("copy", 4.0 * 32 * 64 * 56 * 56 * 1.25), "average_2x2": ("copy", 4.0 * 32 * 64 * 56 * 56 * 1.25)}
QUICK = ("max_2x2_backward",)
