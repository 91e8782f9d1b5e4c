"""Matrix products and convolutions."""


def _gemm(m, n, k, ta=False, tb=False):
    def make(torch):
        a = torch.randn(k, m).t() if ta else torch.randn(m, k)
        b = torch.randn(n, k).t() if tb else torch.randn(k, n)
        return lambda: torch.matmul(a, b)

    return make


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


WORKLOADS = {f"gemm_{n}": _gemm(n, n, n) for n in (64, 128, 256, 512, 1024, 2048)}
WORKLOADS.update(
    gemm_4096_768_768=_gemm(4096, 768, 768), gemm_1024_at=_gemm(1024, 1024, 1024, ta=True),
    gemm_1024_bt=_gemm(1024, 1024, 1024, tb=True), linear_64_784_512=_gemm(64, 512, 784, tb=True),
)  # fmt: skip
for _what in ("forward", "data", "weight"):
    WORKLOADS[f"conv3x3_64_56_{_what}"] = _conv(32, 64, 56, 64, 3, 1, 1, _what)
    WORKLOADS[f"conv3x3_256_14_{_what}"] = _conv(32, 256, 14, 256, 3, 1, 1, _what)
    WORKLOADS[f"conv5x5_1_28_{_what}"] = _conv(64, 1, 28, 6, 5, 1, 2, _what)
