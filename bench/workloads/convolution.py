"""Convolutions."""


def _conv(n, c, size, out, kernel, stride, padding, what):
    def make(torch):
        conv = torch.nn.functional.conv2d
        x, w = torch.randn(n, c, size, size), torch.randn(out, c, kernel, kernel)
        if what == "forward":
            return lambda: conv(x, w, None, stride, padding)
        leaf = (x if what == "data" else w).requires_grad_()
        y = conv(x, w, None, stride, padding)
        g = torch.randn(y.shape)
        return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)

    return make


WORKLOADS = {}
for _what in ("forward", "data", "weight"):
    WORKLOADS[f"conv3x3_64_56_{_what}"] = _conv(32, 64, 56, 64, 3, 1, 1, _what)
    WORKLOADS[f"conv3x3_256_14_{_what}"] = _conv(32, 256, 14, 256, 3, 1, 1, _what)
    WORKLOADS[f"conv5x5_1_28_{_what}"] = _conv(64, 1, 28, 6, 5, 1, 2, _what)
