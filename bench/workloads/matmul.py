"""Matrix products: sizes, shapes, transposes, batches, dtypes, and `linear` with its gradients."""


def _product(m, n, k, form="", dtype="float32", batch=()):
    def make(torch):
        kind = getattr(torch, dtype)
        a = torch.randn(*batch, k, m).transpose(-1, -2) if "a" in form else torch.randn(*batch, m, k)
        b = torch.randn(*batch, n, k).transpose(-1, -2) if "b" in form else torch.randn(*batch, k, n)
        a, b = a.to(kind), b.to(kind)
        return lambda: torch.matmul(a, b)

    return make


def _vector(m, k, transposed):
    def make(torch):
        a = torch.randn(k, m).t() if transposed else torch.randn(m, k)
        x = torch.randn(k)
        return lambda: torch.mv(a, x)

    return make


def _linear(rows, inputs, outputs, backward):
    def make(torch):
        layer = torch.nn.Linear(inputs, outputs)
        x, g = torch.randn(rows, inputs, requires_grad=True), torch.randn(rows, outputs)
        if not backward:
            return lambda: layer(x)

        leaves = (x, *layer.parameters())
        return lambda: torch.autograd.grad(layer(x), leaves, g)

    return make


def _einsum(equation, n):
    def make(torch):
        a, b = torch.randn(n, n), torch.randn(n, n)
        return lambda: torch.einsum(equation, a, b)

    return make


WORKLOADS, WORK = {}, {}


def _add(name, m, n, k, form="", dtype="float32", batch=()):
    WORKLOADS[name] = _product(m, n, k, form, dtype, batch)
    count = 1
    for size in batch:
        count *= size
    WORK[name] = (dtype, 2.0 * count * m * n * k)


for _n in (32, 64, 128, 256, 512, 1024, 2048):
    _add(f"square_{_n}", _n, _n, _n)
for _n in (64, 256, 1024):
    _add(f"float64_{_n}", _n, _n, _n, dtype="float64")
    _add(f"bfloat16_{_n}", _n, _n, _n, dtype="bfloat16")
for _form, _name in (("a", "at"), ("b", "bt"), ("ab", "at_bt")):
    for _n in (64, 512, 1024):
        _add(f"{_name}_{_n}", _n, _n, _n, _form)
_add("4096_768_768", 4096, 768, 768)
_add("thin_64_512_784", 64, 512, 784)
_add("thin_16_4096_4096", 16, 4096, 4096)
_add("wide_4096_16_4096", 4096, 16, 4096)
_add("outer_2048_2048_16", 2048, 2048, 16)
_add("inner_64_64_16384", 64, 64, 16384)
_add("batched_64_32", 32, 32, 32, batch=(64,))
_add("batched_64_128", 128, 128, 128, batch=(64,))
_add("batched_16_8_128_64_bt", 128, 128, 64, "b", batch=(16, 8))
_add("batched_64_64_bfloat16", 64, 64, 64, dtype="bfloat16", batch=(64,))
for _n in (64, 512):
    WORKLOADS[f"complex64_{_n}"] = _product(_n, _n, _n, dtype="complex64")
for _m, _k in ((1024, 1024), (4096, 4096)):
    WORKLOADS[f"vector_{_m}_{_k}"] = _vector(_m, _k, False)
    WORKLOADS[f"vector_{_m}_{_k}_at"] = _vector(_m, _k, True)
WORK["vector_4096_4096"] = WORK["vector_4096_4096_at"] = ("read", 4.0 * 4096 * 4096)
for _rows, _inputs, _outputs in ((1, 512, 512), (64, 784, 512), (2048, 384, 1536)):
    WORKLOADS[f"linear_{_rows}_{_inputs}_{_outputs}"] = _linear(_rows, _inputs, _outputs, False)
    WORKLOADS[f"linear_{_rows}_{_inputs}_{_outputs}_backward"] = _linear(_rows, _inputs, _outputs, True)
    WORK[f"linear_{_rows}_{_inputs}_{_outputs}"] = ("float32", 2.0 * _rows * _inputs * _outputs)
    WORK[f"linear_{_rows}_{_inputs}_{_outputs}_backward"] = ("float32", 6.0 * _rows * _inputs * _outputs)
for _name, _equation in (("elements", "ij,ij->ij"), ("rows", "ij,ij->i"), ("product", "ij,jk->ik")):
    WORKLOADS[f"einsum_{_name}_512"] = _einsum(_equation, 512)
QUICK = ("square_64", "square_512", "bt_512", "batched_64_128", "linear_64_784_512_backward")
