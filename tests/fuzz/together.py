"""Arguments that belong together, for operators that hardly ever take what is drawn by the signature alone.

Each function draws the arguments of one call; a dictionary in the last place holds keyword arguments.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flambeau as torch
from fuzz import matrices

if TYPE_CHECKING:
    from fuzz.draw import Draw

FLOATS = (torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
ALL = (*FLOATS, *FLOATS, torch.complex64, torch.complex128, *INTEGERS, torch.bool)


def _optional(d: Draw, make: Callable[[], Any]) -> Any:
    return make() if d.chance(0.5) else None


def _dim(d: Draw, t: torch.Tensor) -> int:
    return d.rng.randrange(-t.ndim, t.ndim) if t.ndim else 0


# ---- products


def matrix_sum(d: Draw) -> tuple:
    """addmm, baddbmm and their like: by the number of dimensions of the product."""
    n, m, k, b = d.sizes(4, 0, 9)
    wide = {"addmm": [(n, m), (n, k), (k, m)], "addmv": [(n,), (n, k), (k,)], "addr": [(n, m), (n,), (m,)],
            "addbmm": [(n, m), (b, n, k), (b, k, m)], "baddbmm": [(b, n, m), (b, n, k), (b, k, m)]}  # fmt: skip
    d.choose(ALL)
    sum_, *factors = (d.x(*s) for s in wide[d.name.rstrip("_")])
    return sum_, *factors, d.some(beta=d.rng.choice((0, 1, 2)), alpha=d.rng.choice((1, 2, -1)))


def chain(d: Draw) -> tuple:
    sizes = d.sizes(d.rng.randint(3, 5), 1, 6)
    d.choose(ALL)
    factors = [d.x(a, b) for a, b in itertools.pairwise(sizes)]
    return (factors,) if d.name == "linalg_multi_dot" else tuple(factors)


def vectors(d: Draw) -> tuple:
    return d.x(d.rng.randint(0, 9), of=ALL), d.x(d.rng.randint(0, 9))


def bilinear(d: Draw) -> tuple:
    n, a, b, c = d.sizes(4, 1, 6)
    return d.x(n, a, of=FLOATS), d.x(n, b), d.x(c, a, b), _optional(d, lambda: d.x(c))


def einsum(d: Draw) -> tuple:
    a, b, c, n = d.sizes(4, 0, 5)
    text, *shapes = d.rng.choice((
        ("ab,bc->ac", (a, b), (b, c)), ("nab,nbc->nac", (n, a, b), (n, b, c)), ("ab->ba", (a, b)), ("aab->b", (a, a, b)),
        ("...a,ab->...b", (n, c, a), (a, b)), ("a,b,c->abc", (a,), (b,), (c,)), ("ab,bc,cd", (a, b), (b, c), (c, n)),
    ))  # fmt: skip
    d.choose(ALL)
    return text, *(d.x(*s) for s in shapes)


def attention(d: Draw) -> tuple:
    batch, heads, queries, keys, width, values = (d.rng.randint(*r) for r in ((0, 3), (1, 4), (0, 40), (0, 40), (1, 20), (1, 20)))
    lead = (batch, heads) if d.chance(0.8) else (heads,)
    shared = len(lead) == 2 and heads == 4 and d.chance(0.5)
    few = (batch, 2) if shared else lead
    q, k, v = d.x(*lead, queries, width, of=FLOATS), d.x(*few, keys, width), d.x(*few, keys, values)
    mask, causal = None, d.chance(0.3)
    if not causal and d.chance(0.5):
        shape = d.rng.choice(((queries, keys), (1, keys), (*lead, queries, keys)))
        mask = d.x(*shape, dtype=torch.bool if d.chance(0.5) else q.dtype)
    return q, k, v, mask, 0.5 if d.chance(0.1) else 0.0, causal, {"enable_gqa": shared, **d.some(scale=d.real())}


# ---- windows


def _window(d: Draw, n: int) -> tuple[list[int], ...]:
    return tuple([d.rng.randint(low, high) for _ in range(n)] for low, high in ((1, 4), (1, 3), (0, 2), (1, 2)))


def convolution(d: Draw) -> tuple:
    """Mostly small; now and then with channels, sizes and batches that take the other ways."""
    n, transposed = int(re.search(r"(\d)d", d.name)[1]), "transpose" in d.name
    kernel, stride, padding, dilation = _window(d, n)
    groups = d.rng.choice((1, 1, 1, 2, 3))
    wide = d.chance(0.2)
    a, b = (d.rng.randint(1, 24 if wide else 4) for _ in range(2))
    if d.chance(0.2):
        groups, a, b = d.rng.randint(1, 9), 1, 1
    size = [dil * (k - 1) + 1 + d.rng.randint(0, (20, 20, 9, 4)[n] if wide else 4) for k, dil in zip(kernel, dilation, strict=True)]
    batch = (d.rng.randint(0, 20 if wide else 3),) if d.chance(0.9) else ()
    x = d.x(*batch, groups * a, *size, of=ALL)
    weight = d.x(groups * a, b, *kernel) if transposed else d.x(groups * b, a, *kernel)
    bias = _optional(d, lambda: d.x(groups * b))
    if transposed:
        more = [d.rng.randrange(max(s, dil)) for s, dil in zip(stride, dilation, strict=True)]
        return x, weight, bias, stride, padding, more, groups, dilation
    if d.name.endswith(".padding"):
        same = d.chance(0.5)
        return x, weight, bias, [1] * n if same else stride, "same" if same else "valid", dilation, groups
    return x, weight, bias, stride, padding, dilation, groups


def pool(d: Draw) -> tuple:
    n, maximum = int(re.search(r"(\d)d", d.name)[1]), d.name.startswith("max")
    kernel, stride, padding, dilation = _window(d, n)
    padding = [min(p, k // 2) for p, k in zip(padding, kernel, strict=True)]
    dilation = dilation if maximum else [1] * n
    size = [dil * (k - 1) + 1 + d.rng.randint(0, 6) for k, dil in zip(kernel, dilation, strict=True)]
    x = d.x(*d.sizes(d.rng.randint(1, 2), 1, 5), *size, of=FLOATS)
    return (x, kernel, stride, padding, *([dilation] if maximum else []), d.chance(0.5))


def adaptive_pool(d: Draw) -> tuple:
    n = int(re.search(r"(\d)d", d.name)[1])
    return d.x(*d.sizes(d.rng.randint(1, 2), 1, 5), *d.sizes(n, 1, 9), of=FLOATS), d.sizes(n, 1, 6)


# ---- norms


def norm(d: Draw) -> tuple:
    shape = d.sizes(d.rng.randint(1, 4), 1, 9)
    rest = shape[d.rng.randrange(len(shape)) :]
    x, weight = d.x(*shape, of=FLOATS), d.x(*rest)
    return (x, rest, weight) if d.name == "rms_norm" else (x, rest, weight, d.x(*rest), 1e-5)


def channel_norm(d: Draw) -> tuple:
    groups, each = d.rng.randint(1, 3), d.rng.randint(1, 3)
    batch, channels, *size = d.sizes(1, 1, 4)[0], groups * each, *d.sizes(d.rng.randint(0, 2), 1, 6)
    x = d.x(batch, channels, *size, of=FLOATS)
    weight, bias, mean = (_optional(d, lambda: d.x(channels)) for _ in range(3))
    variance = None if mean is None else d.x(channels).abs() + 0.1
    training = mean is None or d.chance(0.5)
    return {
        "batch_norm": (x, mean, variance, weight, bias, training),
        "native_batch_norm": (x, weight, bias, mean, variance, training, 0.1, 1e-5),
        "group_norm": (x, groups, weight, bias),
        "native_group_norm": (x, weight, bias, batch, channels, x.numel() // (batch * channels), groups, 1e-5),
    }[d.name]


def prelu(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 4), 1, 5), of=FLOATS)
    return x, d.x(x.shape[1] if x.ndim > 1 and d.chance(0.7) else 1)


# ---- views and copies


def strided(d: Draw) -> tuple:
    """A window into memory that just holds it; one time in ten it does not."""
    size, stride = d.sizes(d.rng.randint(0, 4), 0, 4), d.sizes(4, 0, 6)
    stride, offset = stride[: len(size)], d.rng.randint(0, 3)
    needed = offset + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if all(size) else offset
    base = d.ordinary(max(needed - d.chance(0.1), 0), of=ALL)
    if d.name == "as_strided_scatter":
        return base, d.x(*size), size, stride, offset
    if d.name == "new_empty_strided":
        return base, size, stride
    return (size, stride) if d.name == "empty_strided" else (base, size, stride, offset)


def permuted(d: Draw) -> tuple:
    size = d.sizes(d.rng.randint(0, 4), 0, 4)
    return size, d.rng.sample(range(len(size)), len(size))


def part(d: Draw) -> tuple:
    """select_scatter, diagonal_scatter, slice_scatter."""
    x = d.x(*d.sizes(d.rng.randint(2, 4), 1, 5), of=ALL)
    dim = _dim(d, x)
    if d.name == "select_scatter":
        at = d.rng.randrange(x.shape[dim])
        return x, d.like(x.select(dim, at)), dim, at
    if d.name == "slice_scatter":
        start, step = d.rng.randint(0, 3), d.rng.randint(1, 2)
        return x, d.like(x.narrow(dim, 0, x.shape[dim])[(slice(None),) * (dim % x.ndim) + (slice(start, None, step),)]), dim, start, None, step
    one, two = d.rng.sample(range(x.ndim), 2)
    offset = d.rng.randint(-1, 1)
    return x, d.like(x.diagonal(offset, one, two)), offset, one, two


def pieces(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 4), 0, 9), of=ALL)
    dim, sizes = _dim(d, x), []
    while sum(sizes) < x.shape[dim]:
        sizes.append(d.rng.randint(0 if len(sizes) < 3 else 1, x.shape[dim] - sum(sizes)))
    return x, sizes, dim


def unflattened(d: Draw) -> tuple:
    sizes = d.sizes(d.rng.randint(1, 3), 0, 4)
    shape = [*d.sizes(d.rng.randint(0, 2), 0, 3), math.prod(sizes), *d.sizes(d.rng.randint(0, 1), 0, 3)]
    x, dim = d.x(*shape, of=ALL), shape.index(math.prod(sizes))
    if all(sizes) and d.chance(0.3):
        sizes[d.rng.randrange(len(sizes))] = -1
    return x, dim - len(shape) * d.chance(0.3), sizes


def tensor_pieces(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 4), 0, 9), of=ALL)
    where = [d.rng.randint(-3, 9) for _ in range(d.rng.randint(0, 4))]
    return x, torch.tensor(where if d.chance(0.7) else d.rng.randint(1, 4), dtype=torch.int64), _dim(d, x)


def depth_pieces(d: Draw) -> tuple:
    each, count = d.sizes(2, 1, 4)
    return d.x(*d.sizes(2, 0, 4), each * count, *d.sizes(d.rng.randint(0, 1), 0, 3), of=ALL), count


def from_tensor(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 4), 1, 6), of=ALL)
    dim = _dim(d, x)
    start = d.rng.randrange(-x.shape[dim], x.shape[dim])
    return x, dim, torch.tensor(start), d.rng.randint(0, x.shape[dim] - start % x.shape[dim])


def as_complex(d: Draw) -> tuple:
    if d.name == "view_as_complex":
        return (d.x(*d.sizes(d.rng.randint(0, 3), 0, 5), 2, of=(torch.float32, torch.float64)),)
    return (d.x(*d.shape, of=(torch.complex64, torch.complex128)),)


def convert(d: Draw) -> tuple:
    return (d.x(*d.shape, of=ALL),)


def several(d: Draw) -> tuple:
    """Operators that take any number of tensors."""
    d.choose(ALL)
    if d.name in ("meshgrid", "cartesian_prod"):
        return tuple(d.x(d.rng.randint(0, 4)) for _ in range(d.rng.randint(1, 3)))
    if d.name == "broadcast_tensors":
        return tuple(d.x(*(n if d.chance(0.6) else 1 for n in d.shape[d.rng.randint(0, 1) :])) for _ in range(3))
    return tuple(d.x(*d.sizes(d.rng.randint(0, 2), 0, 4)) for _ in range(d.rng.randint(1, 3)))


# ---- indices


def indexed(d: Draw) -> tuple:
    """index_add, index_copy, index_reduce, index_fill, index_select."""
    shape = d.sizes(d.rng.randint(1, 4), 1, 6)
    dim, count = d.rng.randrange(len(shape)), d.rng.randint(0, 6)
    if d.name.startswith("index_copy"):
        count = min(count, shape[dim])
    index = d.index(shape[dim], count)
    x, source = d.x(*shape, of=ALL), d.x(*(count if k == dim else n for k, n in enumerate(shape)))
    name = d.name.partition(".")[0].rstrip("_")
    rest = {"index_reduce": (source, d.rng.choice(("prod", "mean", "amax", "amin"))), "index_select": (),
            "index_fill": (d.x() if d.name.endswith("Tensor") else d.real(),)}.get(name, (source,))  # fmt: skip
    return x, dim - len(shape) * d.chance(0.3), index, *rest


def scattered(d: Draw) -> tuple:
    shape = d.sizes(d.rng.randint(1, 3), 1, 6)
    dim = d.rng.randrange(len(shape))
    places = [d.rng.randint(0, 6) if k == dim else d.rng.randint(0, n) for k, n in enumerate(shape)]
    x, index, source = d.x(*shape, of=ALL), d.index(shape[dim], *places), d.x(*places)
    way = {"reduce": d.rng.choice(("add", "multiply"))}
    rest = {"gather": (), "scatter.value": (d.real(),), "scatter.reduce": (source, way),
            "scatter.value_reduce": (d.real(), way), "scatter_reduce.two": (source, d.rng.choice(("sum", "prod", "mean", "amax", "amin"))),
            "take_along_dim": ()}.get(d.name, (source,))  # fmt: skip
    return (x, index, dim) if d.name == "take_along_dim" else (x, dim, index, *rest)


def masked(d: Draw) -> tuple:
    x = d.x(*d.shape, of=ALL)
    mask = d.x(*(1 if d.chance(0.2) else n for n in d.shape), dtype=torch.bool)
    rest = {"masked_select": (), "masked_scatter": (d.x(max(x.numel(), 1)),), "where.method": (d.like(x),)}
    return x, mask, *rest.get(d.name, (d.x() if d.chance(0.5) else 1,))


def rows(d: Draw) -> tuple:
    n, width = d.sizes(2, 1, 9)
    return d.x(n, width, of=FLOATS), d.index(n, *d.sizes(d.rng.randint(0, 3), 0, 5)), d.rng.randrange(-n, n)


def classes(d: Draw) -> tuple:
    if d.name == "one_hot":
        return d.index(5, *d.shape), d.rng.choice((-1, 5, 7))
    counts = d.index(9, d.rng.randint(0, 20))
    return counts, _optional(d, lambda: d.x(*counts.shape, of=(torch.float32, torch.float64))), d.rng.randint(0, 12)


# ---- numbers


def endpoints(d: Draw) -> tuple:
    kinds = [d.x(of=FLOATS[:3]) if word == "Tensor" else d.real() for word in d.name.partition(".")[2].split("_")]
    return *kinds, d.rng.randint(0, 20)


def quantile(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 3), 1, 9), of=(torch.float32, torch.float64))
    q = d.rng.random() if d.name.endswith("scalar") else torch.tensor([d.rng.random() for _ in range(3)], dtype=x.dtype)
    return x, q, _optional(d, lambda: _dim(d, x)), d.chance(0.5), {"interpolation": d.rng.choice(("linear", "lower", "nearest"))}


def chances(d: Draw) -> tuple:
    p = d.x(*d.sizes(d.rng.randint(1, 2), 1, 9), of=FLOATS).abs().clamp(0.01, 1).nan_to_num()
    if d.name == "bernoulli_.Tensor":
        return d.x(*p.shape, of=ALL), p
    return (p,) if d.name == "bernoulli" else (p, d.rng.randint(1, p.shape[-1]), d.chance(0.5))


def normal(d: Draw) -> tuple:
    x = d.x(*d.shape, of=FLOATS)
    return {"Tensor_Tensor": (x, d.like(x).abs()), "float_Tensor": (d.real(), x.abs())}[d.name.partition(".")[2]]


def histogram(d: Draw) -> tuple:
    kind = (torch.float32, torch.float64)
    if d.name.startswith("histogram."):
        x, bins = d.x(*d.shape, of=kind), torch.tensor(sorted(d.real() for _ in range(5)))
        return x, bins.nan_to_num(0, 9, -9).sort()[0].to(x.dtype), d.some(density=True)
    columns = d.rng.randint(1, 3)
    x, counts = d.x(d.rng.randint(0, 9), columns, of=kind), d.sizes(columns, 1, 4)
    edges = [torch.tensor([-3.0, *range(n)], dtype=x.dtype) for n in counts]
    bins = {"histogramdd.TensorList_bins": edges, "histogramdd.int_bins": counts[0]}.get(d.name, counts)
    return x, bins, {} if "List" in d.name else {"range": [-3.0, 3.0] * columns}


def gradient(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(1, 3), 2, 6), of=FLOATS)
    dims = d.rng.sample(range(x.ndim), d.rng.randint(1, x.ndim))
    if d.name.endswith("int"):
        dims = dims[:1]
    spacing: Any = [float(n + 1) for n in range(len(dims))]
    if "tensorarray" in d.name:
        spacing = [torch.arange(x.shape[k], dtype=x.dtype) for k in dims]
    return x, {"spacing": spacing, "dim": dims[0] if d.name.endswith("int") else dims}


def renorm(d: Draw) -> tuple:
    x = d.x(*d.sizes(d.rng.randint(2, 4), 0, 5), of=FLOATS)
    return x, d.rng.choice((1, 2, 0.5, float("inf"))), _dim(d, x), abs(d.real())


def counts(d: Draw) -> tuple:
    """What stands in place of numbers in fill_, geometric_, repeat_interleave."""
    x = d.x(*d.shape, of=ALL)
    if d.name == "repeat_interleave.Tensor":
        return (d.index(4, d.rng.randint(0, 6)),)
    return x, d.x() if d.name == "fill_.Tensor" else d.rng.uniform(0.01, 0.99)


def polygamma(d: Draw) -> tuple:
    return d.x(*d.shape, of=FLOATS), d.rng.randint(0, 4)


def transform(d: Draw) -> tuple:
    """stft and istft."""
    n = d.rng.randint(4, 16)
    hop = d.rng.randint(1, n // 2)
    window = d.x(n, of=(torch.float32, torch.float64)).abs() + 0.1
    lead = d.sizes(d.rng.randint(0, 1), 1, 3)
    if d.name == "stft":
        return d.x(*lead, d.rng.randint(n, 60)), n, hop, n, window, d.chance(0.5), {"return_complex": True}
    kind = torch.complex64 if window.dtype == torch.float32 else torch.complex128
    return d.x(*lead, n // 2 + 1, d.rng.randint(2, 8), dtype=kind), n, hop, n, window


# ---- sparse


def sparse(d: Draw) -> tuple:
    n, m, k = d.sizes(3, 0, 6)
    kinds = (torch.float32, torch.float64, torch.complex64)
    dense = d.x(n, m, of=kinds).detach()
    one = dense.mul(d.x(n, m, dtype=torch.bool)).to_sparse()
    if d.name in ("to_sparse", "to_sparse_coo"):
        return (dense,)
    if d.name == "sparse_coo_tensor":
        count = d.rng.randint(0, 6) if n and m else 0
        return torch.stack([d.index(n, count), d.index(m, count)]), d.x(count), [n, m]
    product = (d.x(m, k),)
    rest = {"sparse_mm": product, "spmm": product, "dsmm": product, "hsmm": product, "sparse_mask": (one,), "sparse_sum": d.rng.choice(((), (0,), (1,), ([0, 1],)))}  # fmt: skip
    if d.name == "sparse_addmm":
        return d.x(n, k), one, d.x(m, k)
    if d.name in ("indices", "values"):
        one = one.coalesce()
    return (dense if d.name == "sparse_mask" else one), *rest.get(d.name, ())


def compressed(d: Draw) -> tuple:
    """What belongs to matrices whose rows or columns are compressed."""
    n, m = d.sizes(2, 0, 6)
    dense = d.x(n, m, of=(torch.float32, torch.float64, torch.complex64)).detach().mul(d.x(n, m, dtype=torch.bool))
    by_rows = d.name in ("crow_indices", "col_indices", "sparse_csr_tensor")
    one = dense.to_sparse_csr() if by_rows else dense.to_sparse_csc()
    if not d.name.startswith("sparse_"):
        return (one,)
    at = (one.crow_indices(), one.col_indices()) if by_rows else (one.ccol_indices(), one.row_indices())
    return *at, one.values(), *d.rng.choice(((), ([n, m],)))


TOGETHER: dict[str, Callable[[Draw], tuple]] = {
    r"(add(mm|mv|r|bmm)|baddbmm)_?": matrix_sum, r"linalg_multi_dot|chain_matmul": chain, "bilinear": bilinear,
    r"outer|ger": vectors, "embedding": rows, "renorm": renorm, r"fill_\.Tensor|geometric_|repeat_interleave\.Tensor": counts,
    "einsum": einsum, "scaled_dot_product_attention": attention, r"conv(_transpose)?\dd(\.padding)?": convolution,
    r"(max|avg)_pool\dd.*": pool, r"adaptive_.*": adaptive_pool, r"layer_norm|native_layer_norm|rms_norm": norm,
    r"(native_)?(batch|group)_norm": channel_norm, "prelu": prelu,
    r"as_strided.*|(new_)?empty_strided": strided, "empty_permuted": permuted,
    r"(select|diagonal|slice)_scatter": part, r"(unsafe_)?split_with_sizes": pieces,
    r"tensor_split\.tensor.*": tensor_pieces, "unflatten": unflattened, r"dsplit\.sections": depth_pieces, r"narrow\.Tensor": from_tensor,
    r"view_as_(real|complex)": as_complex, r"(float|double|half|bfloat16|int|long|short|char|bool|cfloat|cdouble)": convert,
    r"meshgrid|cartesian_prod|block_diag|broadcast_tensors": several,
    r"index_(add|copy|reduce|fill|select).*": indexed, r"gather|scatter.*|take_along_dim": scattered,
    r"masked_(fill|select|scatter)|where\.method": masked, r"one_hot|bincount": classes,
    r"(lin|log)space\..*": endpoints, r"(nan)?quantile.*": quantile, r"bernoulli|bernoulli_\.Tensor|multinomial": chances,
    r"normal\.(Tensor|float)_Tensor": normal, r"histogram(\.bins_tensor|dd.*)": histogram, r"gradient\.(scalar|tensor)array.*": gradient,
    r"polygamma\.method|polygamma_": polygamma, r"i?stft": transform,
    r"sparse_cs[rc]_tensor|c?(row|col)_indices": compressed,
    r"sparse_.*|[dhs][ps]?mm|to_sparse.*|to_dense|coalesce|is_coalesced|indices|values|(sparse|dense)_dim": sparse,
    **matrices.TOGETHER,
}  # fmt: skip
_PATTERNS = [(re.compile(pattern), draw) for pattern, draw in TOGETHER.items()]


@functools.cache
def drawer(name: str) -> Callable[[Draw], tuple] | None:
    """What draws arguments for an operator; None where the signature serves."""
    return next((draw for pattern, draw in _PATTERNS if pattern.fullmatch(name)), None)
