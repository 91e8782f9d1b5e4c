"""Unary and binary operators, copies and casts, by size and layout."""

_SIZES = {"4": (2, 2), "64K": (256, 256), "16M": (4096, 4096)}


def _case(size, call, layout="plain"):
    def make(torch):
        a, b = torch.rand(size), torch.rand(size)
        b = {"plain": b, "broadcast": b[0], "transposed": b.t(), "double": b.double()}[layout]
        return lambda: call(torch, a, b)

    return make


def _strided(size, call):
    def make(torch):
        a, b = torch.rand(size[0], 2 * size[1])[:, ::2], torch.rand(size)
        return lambda: call(torch, a, b)

    return make


def _integers(call):
    def make(torch):
        a, b = torch.randint(0, 10_000, (256, 256)), torch.randint(1, 100, (256, 256))
        return lambda: call(torch, a, b)

    return make


def _cast(size, start, end):
    def make(torch):
        x = (torch.rand(size) * 100).to(getattr(torch, start))
        return lambda: x.to(getattr(torch, end))

    return make


def _halves(call):
    def make(torch):
        a, b = torch.randn(512, 512).bfloat16(), torch.randn(512, 512).bfloat16()
        return lambda: call(torch, a, b)

    return make


def _images(call):
    def make(torch):
        x = torch.rand(32, 64, 56, 56)
        return lambda: call(torch, x)

    return make


_CALLS = {
    "add": lambda t, a, b: a + b,
    "mul_number": lambda t, a, b: a * 2.5,
    "exp": lambda t, a, b: t.exp(a),
    "gelu": lambda t, a, b: t.nn.functional.gelu(a),
    "cube": lambda t, a, b: a**3,
    "relu": lambda t, a, b: t.relu(a),
    "less": lambda t, a, b: a < b,
    "add_": lambda t, a, b: a.add_(b),
    "copy_": lambda t, a, b: a.copy_(b),
    "clone": lambda t, a, b: a.clone(),
    "fill_": lambda t, a, b: a.fill_(1.5),
    "zeros": lambda t, a, b: t.zeros(a.shape),
    "cat_0": lambda t, a, b: t.cat((a, b), 0),
    "cat_1": lambda t, a, b: t.cat((a, b), 1),
    "stack": lambda t, a, b: t.stack((a, b), 0),
    "stack_last": lambda t, a, b: t.stack((a, b), -1),
}
CASTS = (
    ("float32", "bfloat16"),
    ("bfloat16", "float32"),
    ("float32", "float16"),
    ("float32", "float64"),
    ("float32", "int64"),
    ("int64", "float32"),
    ("float32", "bool"),
    ("uint8", "float32"),
)
# Of integers: positions in images and tables, hashes, masks.
_INTEGERS = {
    "floor_divide_number": lambda t, a, b: a // 7,
    "remainder_number": lambda t, a, b: a % 7,
    "floor_divide": lambda t, a, b: a // b,
    "gcd": lambda t, a, b: t.gcd(a, b),
    "power": lambda t, a, b: a**3,
    "cumsum": lambda t, a, b: a.int().cumsum(1),
}
WORKLOADS = {f"{name}_{n}": _case(size, call) for name, call in _CALLS.items() for n, size in _SIZES.items()}
for _n, _size in _SIZES.items():
    for _x in ("broadcast", "transposed", "double"):
        WORKLOADS[f"add_{_x}_{_n}"] = _case(_size, _CALLS["add"], _x)
    WORKLOADS[f"add_strided_{_n}"] = _strided(_size, _CALLS["add"])
    WORKLOADS[f"copy_strided_{_n}"] = _strided(_size, lambda t, a, b: b.copy_(a))
    WORKLOADS[f"copy_transposed_{_n}"] = _case(_size, lambda t, a, b: a.copy_(b), "transposed")
for _name, _call in _INTEGERS.items():
    WORKLOADS[f"int64_{_name}_64K"] = _integers(_call)
for _name in ("neg", "abs", "relu", "maximum"):
    WORKLOADS[f"bfloat16_{_name}_256K"] = _halves(
        lambda t, a, b, name=_name: getattr(t, name)(*((a, b) if name == "maximum" else (a,)))
    )
for _start, _end in CASTS:
    for _n in ("64K", "16M"):
        WORKLOADS[f"{_start}_to_{_end}_{_n}"] = _cast(_SIZES[_n], _start, _end)
WORKLOADS["to_channels_last"] = _images(lambda t, x: x.contiguous(memory_format=t.channels_last))
WORKLOADS["permute_heads"] = _images(lambda t, x: x.view(32, 64, 49, 64).permute(0, 2, 1, 3).contiguous())
WORKLOADS["flip"] = _images(lambda t, x: x.flip(3))
WORKLOADS["roll"] = _images(lambda t, x: x.roll(3, 2))
WORKLOADS["roll_windows"] = _images(lambda t, x: x.roll((-3, -3), (2, 3)))
WORKLOADS["roll_rows_1M"] = _case((1024, 1024), lambda t, a, b: a.roll(3, 1))
WORKLOADS["arange_2M"] = _case(1, lambda t, a, b: t.arange(0.0, 2.0**21))
WORKLOADS["linspace_2M"] = _case(1, lambda t, a, b: t.linspace(0.0, 1.0, 1 << 21))
WORKLOADS["repeat"] = _images(lambda t, x: x[:8].repeat(2, 1, 1, 1))
WORKLOADS["pad_reflect"] = _images(lambda t, x: t.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"))
WORKLOADS["pad"] = _images(lambda t, x: t.nn.functional.pad(x, (1, 1, 1, 1)))
WORKLOADS["bilinear_2x"] = _images(lambda t, x: t.nn.functional.interpolate(x[:8], scale_factor=2, mode="bilinear"))
WORKLOADS["nearest_2x"] = _images(lambda t, x: t.nn.functional.interpolate(x[:8], scale_factor=2))
WORKLOADS["cross_100Kx3"] = _case((100_000, 3), lambda t, a, b: t.linalg.cross(a, b))
