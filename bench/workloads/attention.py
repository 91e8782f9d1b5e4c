"""Attention, forward, and forward with the three gradients."""


def _attention(shape, causal=False, mask=None, key_heads=None, keys=None, backward=False, dtype="float32"):
    batch, heads, queries, depth = shape

    def make(torch):
        def operand(n_heads, rows):  # as a projection gives it: (batch, rows, heads, depth), seen transposed
            x = torch.randn(batch, rows, n_heads, depth).to(getattr(torch, dtype)).transpose(1, 2)
            return x.requires_grad_(backward)

        q = operand(heads, queries)
        k, v = (operand(key_heads or heads, keys or queries) for _ in range(2))
        options = {"is_causal": causal, "enable_gqa": key_heads is not None}
        if mask == "bool":
            options["attn_mask"] = torch.rand(queries, keys or queries) > 0.2
        elif mask == "float":
            options["attn_mask"] = torch.randn(queries, keys or queries)
        elif mask == "padding":
            options["attn_mask"] = torch.rand(batch, 1, 1, keys or queries) > 0.2
        attend = torch.nn.functional.scaled_dot_product_attention
        if not backward:
            return lambda: attend(q, k, v, **options)
        g = torch.randn(batch, queries, heads, depth).to(q.dtype).transpose(1, 2)
        return lambda: torch.autograd.grad(attend(q, k, v, **options), (q, k, v), g)

    return make


_CASES = {
    "causal": {"shape": (8, 8, 512, 64), "causal": True},
    "plain": {"shape": (8, 8, 512, 64)},
    "bool_mask": {"shape": (8, 8, 512, 64), "mask": "bool"},
    "float_mask": {"shape": (8, 8, 512, 64), "mask": "float"},
    "padding_mask": {"shape": (8, 8, 512, 64), "mask": "padding"},
    "gqa": {"shape": (8, 8, 512, 64), "causal": True, "key_heads": 2},
    "depth_32": {"shape": (8, 8, 512, 32), "causal": True},
    "depth_80": {"shape": (8, 8, 512, 80), "causal": True},
    "depth_128": {"shape": (4, 8, 512, 128), "causal": True},
    "depth_33": {"shape": (8, 8, 256, 33)},
    "gpt": {"shape": (16, 4, 128, 32), "causal": True},
    "image": {"shape": (8, 12, 197, 64)},
    "short": {"shape": (64, 4, 16, 32)},
    "cross": {"shape": (8, 8, 64, 64), "keys": 512},
    "bfloat16": {"shape": (8, 8, 512, 64), "causal": True, "dtype": "bfloat16"},
}

WORKLOADS = {}
for _name, _options in _CASES.items():
    WORKLOADS[f"attention_{_name}"] = _attention(**_options)
    WORKLOADS[f"attention_{_name}_backward"] = _attention(**_options, backward=True)
WORKLOADS["attention_one_query"] = _attention((8, 8, 1, 64), keys=512)
WORKLOADS["attention_one_query_gqa"] = _attention((8, 8, 1, 64), keys=512, key_heads=2)
