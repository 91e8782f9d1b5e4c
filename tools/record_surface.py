"""Records calls of the names that many projects use, with what PyTorch answers: tests/data/surface.json.

Run by a Python that has PyTorch: `python tools/record_surface.py NAMES.txt`. Each line of the file is a name and the
number of projects that use it, as `torch.nn.functional.relu 72`. For every name the first of some patterns of arguments
that PyTorch accepts is written down with its result; names that need arguments of their own have them below.
"""

import importlib
import json
import sys
import warnings
from pathlib import Path

import torch
from surface_calls import CALLS as OF_MODULES

HERE = Path(__file__).parent.parent

CALLS = {
    "torch.Generator": "torch.Generator().manual_seed(3).initial_seed()",
    "torch.Size": "torch.Size([2, 3]).numel()",
    "torch.Tensor": "isinstance(x, torch.Tensor)",
    "torch.device": "torch.device('cpu').type",
    "torch.dtype": "isinstance(torch.float32, torch.dtype)",
    "torch.layout": "isinstance(torch.strided, torch.layout)",
    "torch.memory_format": "isinstance(torch.channels_last, torch.memory_format)",
    "torch.finfo": "torch.finfo(torch.float32).eps",
    "torch.iinfo": "torch.iinfo(torch.int8).max",
    "torch.no_grad": "grad_mode(torch.no_grad())",
    "torch.enable_grad": "grad_mode(torch.enable_grad())",
    "torch.set_grad_enabled": "grad_mode(torch.set_grad_enabled(False))",
    "torch.inference_mode": "grad_mode(torch.inference_mode())",
    "torch.autocast": "grad_mode(torch.autocast('cpu', enabled=False))",
    "torch.load": "saved_and_loaded(x)",
    "torch.save": "saved_and_loaded(x)",
    "torch.manual_seed": "torch.manual_seed(3).initial_seed()",
    "torch.set_default_dtype": "torch.set_default_dtype(torch.float32)",
    "torch.set_default_device": "torch.set_default_device('cpu')",
    "torch.set_default_tensor_type": "torch.set_default_tensor_type(torch.FloatTensor)",
    "torch.set_printoptions": "torch.set_printoptions(profile='default')",
    "torch.set_num_threads": "torch.set_num_threads(torch.get_num_threads())",
    "torch.set_num_interop_threads": "callable(torch.set_num_interop_threads)",
    "torch.set_rng_state": "torch.set_rng_state(torch.get_rng_state())",
    "torch.use_deterministic_algorithms": "torch.use_deterministic_algorithms(False)",
    "torch.set_float32_matmul_precision": "torch.set_float32_matmul_precision('highest')",
    "torch.compile": "torch.compile(lambda v: v + 1, backend='eager')(x)",
    "torch.vmap": "torch.vmap(lambda v: v.sum())(x)",
    "torch.einsum": "torch.einsum('ij,kj->ik', x, x)",
    "torch.from_numpy": "torch.from_numpy(x.numpy())",
    "torch.from_dlpack": "torch.from_dlpack(x)",
    "torch.frombuffer": "torch.frombuffer(bytearray(8), dtype=torch.int32)",
    "torch.full": "torch.full((2,), 3.0)",
    "torch.full_like": "torch.full_like(x, 2.0)",
    "torch.gather": "torch.gather(x, 1, i)",
    "torch.scatter": "torch.scatter(x, 1, i, 2.0)",
    "torch.scatter_add": "torch.scatter_add(x, 1, i, x)",
    "torch.index_add": "torch.index_add(x, 0, k, x)",
    "torch.index_copy": "torch.index_copy(x, 0, k, x)",
    "torch.where": "torch.where(x > 0.5, x, 0.0)",
    "torch.lerp": "torch.lerp(x, x + 1, 0.25)",
    "torch.quantile": "torch.quantile(x, 0.3)",
    "torch.nanquantile": "torch.nanquantile(x, 0.3)",
    "torch.promote_types": "str(torch.promote_types(torch.int32, torch.float32))",
    "torch.result_type": "str(torch.result_type(x, 1))",
    "torch.can_cast": "torch.can_cast(torch.int32, torch.float32)",
    "torch.normal": "torch.normal(x, 0.0)",
    "torch.randint": "torch.randint(2, (2, 3)).shape",
    "torch.randperm": "torch.randperm(4).sort().values",
    "torch.tensor_split": "torch.tensor_split(x, 2)",
    "torch.split_with_sizes": "torch.split_with_sizes(x, [1, 1])",
    "torch.as_strided": "torch.as_strided(x, (2, 2), (1, 2))",
    "torch.baddbmm": "torch.baddbmm(x[None], m[:2, :2][None], x[None])",
    "torch.addbmm": "torch.addbmm(x, m[:2, :2][None], x[None])",
    "torch.addmm": "torch.addmm(x, m[:2, :2], x)",
    "torch.addmv": "torch.addmv(v, m, v)",
    "torch.addr": "torch.addr(m, v, v)",
    "torch.cross": "torch.cross(m, m + 1, dim=1)",
    "torch.conv1d": "torch.conv1d(x[None], torch.ones(1, 2, 2, dtype=x.dtype))",
    "torch.conv2d": "torch.conv2d(x[None, None], torch.ones(1, 1, 2, 2, dtype=x.dtype))",
    "torch.sparse_coo_tensor": "torch.sparse_coo_tensor(torch.tensor([[0, 1]]), v[:2], (3,)).to_dense()",
    "torch.lu_unpack": "torch.lu_unpack(*torch.linalg.lu_factor(m))",
    "torch.stft": "torch.stft(torch.arange(16.0), 8, window=torch.ones(8), return_complex=True)",
    "torch.istft": "torch.istft(torch.stft(v, 2, window=v[:2], return_complex=True), 2, window=v[:2])",
    "torch.get_num_threads": "torch.get_num_threads() > 0",
    "torch.get_num_interop_threads": "torch.get_num_interop_threads() > 0",
    "torch.reshape": "torch.reshape(x, (3, 2))",
    "torch.broadcast_to": "torch.broadcast_to(x, (2, 2, 3))",
    "torch.tril_indices": "torch.tril_indices(2, 3)",
    "torch.triu_indices": "torch.triu_indices(2, 3)",
    "torch.view_as_complex": "torch.view_as_complex(x[:, :2].contiguous())",
    "torch.linalg.matrix_power": "torch.linalg.matrix_power(m, 3)",
    "torch.linalg.solve_triangular": "torch.linalg.solve_triangular(m, m, upper=True)",
    "torch.linalg.svd": "torch.linalg.svd(m)[1]",
    "torch.svd": "torch.svd(m)[1]",
    "torch.Tensor.svd": "m.svd()[1]",
    "torch.nn.functional.adaptive_avg_pool2d": "torch.nn.functional.adaptive_avg_pool2d(x[None], (1, 3))",
    "torch.Stream": "isinstance(torch.Stream, type)",
    "torch.__version__": "isinstance(torch.__version__, str)",
    "torch._foreach_mul_": "in_place(torch._foreach_mul_, [x], 2.0)",
    "torch._foreach_add_": "in_place(torch._foreach_add_, [x], [x])",
    "torch._foreach_sub_": "in_place(torch._foreach_sub_, [x], [x])",
    "torch._foreach_div_": "in_place(torch._foreach_div_, [x], 2.0)",
    "torch.get_device_module": "torch.get_device_module('cpu').__name__.rpartition('.')[2]",
    "torch._assert": "torch._assert(True, 'never')",
    "torch._check": "torch._check(True)",
    "torch._foreach_addcmul_": "in_place(torch._foreach_addcmul_, [x], [x], [x])",
    "torch._foreach_copy_": "in_place(torch._foreach_copy_, [x], [x + 1])",
    "torch._foreach_lerp_": "in_place(torch._foreach_lerp_, [x], [x + 1], 0.5)",
    "torch._foreach_sqrt_": "in_place(torch._foreach_sqrt_, [x])",
    "torch.OutOfMemoryError": "issubclass(torch.OutOfMemoryError, RuntimeError)",
    "torch.linalg.LinAlgError": "issubclass(torch.linalg.LinAlgError, RuntimeError)",
    "torch.Tensor.backward": "gradient(lambda v: (v * v).sum().backward())",
    "torch.Tensor.register_hook": "gradient(lambda v: (v.register_hook(lambda g: 2 * g), v.sum().backward()))",
    "torch.Tensor.retain_grad": "gradient(lambda v: ((v * 2).retain_grad(), v.sum().backward()))",
    "torch.Tensor.register_post_accumulate_grad_hook":
        "gradient(lambda v: (v.register_post_accumulate_grad_hook(lambda p: None), v.sum().backward()))",
    "torch.Tensor.apply_": "x.clone().apply_(lambda e: e + 1)",
    "torch.Tensor.map_": "x.clone().map_(x, lambda a, b: a + b)",
    "torch.Tensor.as_subclass": "x.as_subclass(torch.Tensor)",
    "torch.Tensor.set_": "torch.zeros(1, dtype=x.dtype).set_(x)",
    "torch.Tensor.numpy": "x.numpy().tolist()",
    "torch.Tensor.data_ptr": "x.data_ptr() == x.untyped_storage().data_ptr()",
    "torch.Tensor.untyped_storage": "x.untyped_storage().nbytes()",
    "torch.Tensor.item": "x[0, 0].item()",
    "torch.Tensor.expand": "x[:1].expand(2, 3)",
    "torch.Tensor.repeat": "x.repeat(2, 1)",
    "torch.Tensor.permute": "x.permute(1, 0)",
    "torch.Tensor.unfold": "x.unfold(1, 2, 1)",
    "torch.Tensor.scatter_": "x.clone().scatter_(1, i, 2.0)",
    "torch.Tensor.scatter_add_": "x.clone().scatter_add_(1, i, x)",
    "torch.Tensor.scatter": "x.scatter(1, i, 2.0)",
    "torch.Tensor.gather": "x.gather(1, i)",
    "torch.Tensor.index_add_": "x.clone().index_add_(0, k, x)",
    "torch.Tensor.index_copy_": "x.clone().index_copy_(0, k, x)",
    "torch.Tensor.index_fill_": "x.clone().index_fill_(0, k, 1.0)",
    "torch.Tensor.index_put_": "x.clone().index_put_((k,), x[1])",
    "torch.Tensor.masked_fill_": "x.clone().masked_fill_(x > 0.5, 9.0)",
    "torch.Tensor.masked_fill": "x.masked_fill(x > 0.5, 9.0)",
    "torch.Tensor.masked_scatter_": "x.clone().masked_scatter_(x > 0.5, x)",
    "torch.Tensor.where": "x.where(x > 0.5, x * 2)",
    "torch.Tensor.addcmul_": "x.clone().addcmul_(x, x)",
    "torch.Tensor.lerp_": "x.clone().lerp_(x + 1, 0.5)",
    "torch.Tensor.gt_": "x.clone().gt_(0.5)",
    "torch.Tensor.resize_": "x.clone().resize_(3, 2)",
    "torch.Tensor.to": "x.to(torch.float32)",
    "torch.Tensor.type": "x.type(torch.float32)",
    "torch.Tensor.cross": "m.cross(m + 1, dim=1)",
    "torch.Tensor.stft": "torch.arange(16.0).stft(8, window=torch.ones(8), return_complex=True)",
    "torch.Tensor.sparse_mask": "x.sparse_mask((x > 0.5).double().to_sparse()).to_dense()",
    "torch.Tensor.coalesce": "x.to_sparse().coalesce().to_dense()",
    "torch.Tensor.indices": "x.to_sparse().coalesce().indices()",
    "torch.Tensor.values": "x.to_sparse().coalesce().values()",
    "torch.Tensor.to_sparse": "x.to_sparse().to_dense()",
    "torch.Tensor.histogram": "x.float().histogram(3)",
    "torch.Tensor.uniform_": "x.clone().uniform_(2, 3).floor()",
    "torch.Tensor.normal_": "x.clone().normal_(3, 0)",
    "torch.Tensor.random_": "x.clone().random_(1)",
    "torch.Tensor.bernoulli_": "x.clone().bernoulli_(1.0)",
    "torch.Tensor.exponential_": "(x.clone().exponential_() > 0)",
    "torch.Tensor.multinomial": "torch.eye(2)[0].multinomial(1)",
    "torch.nn.functional.dropout": "torch.nn.functional.dropout(x, 0.0)",
    "torch.nn.functional.embedding": "torch.nn.functional.embedding(k, x)",
    "torch.nn.functional.one_hot": "torch.nn.functional.one_hot(k, 3)",
    "torch.nn.functional.cross_entropy": "torch.nn.functional.cross_entropy(x, k)",
    "torch.nn.functional.nll_loss": "torch.nn.functional.nll_loss(x, k)",
    "torch.nn.functional.multi_head_attention_forward": "callable(torch.nn.functional.multi_head_attention_forward)",
    "torch.nn.functional.conv1d": "torch.nn.functional.conv1d(x[None], torch.ones(1, 2, 2, dtype=x.dtype))",
    "torch.nn.functional.conv2d": "torch.nn.functional.conv2d(x[None, None], torch.ones(1, 1, 2, 2, dtype=x.dtype))",
    "torch.nn.functional.conv3d":
        "torch.nn.functional.conv3d(x[None, None, None], torch.ones(1, 1, 1, 2, 2, dtype=x.dtype))",
    "torch.nn.functional.conv_transpose1d":
        "torch.nn.functional.conv_transpose1d(x[None], torch.ones(2, 1, 2, dtype=x.dtype))",
    "torch.nn.functional.conv_transpose2d":
        "torch.nn.functional.conv_transpose2d(x[None, None], torch.ones(1, 1, 2, 2, dtype=x.dtype))",
    "torch.nn.functional.conv_transpose3d":
        "torch.nn.functional.conv_transpose3d(x[None, None, None], torch.ones(1, 1, 1, 2, 2, dtype=x.dtype))",
    "torch.nn.functional.pad": "torch.nn.functional.pad(x, (1, 1))",
    "torch.nn.functional.interpolate": "torch.nn.functional.interpolate(x[None], scale_factor=2)",
    "torch.nn.functional.upsample": "torch.nn.functional.upsample(x[None], scale_factor=2)",
    "torch.nn.functional.grid_sample":
        "torch.nn.functional.grid_sample(x[None, None], torch.zeros(1, 1, 1, 2, dtype=x.dtype), align_corners=True)",
    "torch.nn.functional.affine_grid": "torch.nn.functional.affine_grid(x[None], [1, 1, 2, 2], align_corners=True)",
    "torch.nn.functional.unfold": "torch.nn.functional.unfold(x[None, None], 2)",
    "torch.nn.functional.fold": "torch.nn.functional.fold(x[None, :, :].reshape(1, 1, 6), (2, 3), 1)",
    "torch.nn.functional.gumbel_softmax": "torch.nn.functional.gumbel_softmax(x).sum(-1)",
    "torch.nn.functional.ctc_loss":
        "torch.nn.functional.ctc_loss(torch.zeros(4, 1, 3).log_softmax(-1), torch.tensor([[1, 2]]), (4,), (2,))",
    "torch.nn.functional.scaled_dot_product_attention":
        "torch.nn.functional.scaled_dot_product_attention(x[None], x[None], x[None])",
    "torch.nn.functional.pixel_unshuffle": "torch.nn.functional.pixel_unshuffle(m[None, None, :2, :2], 2)",
    "torch.nn.functional.channel_shuffle": "torch.nn.functional.channel_shuffle(x[None, :, :, None], 2)",
    "torch.nn.functional.embedding_bag": "torch.nn.functional.embedding_bag(k[None], x)",
    "torch.nn.functional.bilinear": "torch.nn.functional.bilinear(x, x, torch.ones(1, 3, 3, dtype=x.dtype))",
    "torch.nn.functional.max_unpool2d":
        "torch.nn.functional.max_unpool2d(*torch.nn.functional.max_pool2d(x[None, None], 2, return_indices=True), 2)",
    "torch.nn.functional.cosine_embedding_loss": "torch.nn.functional.cosine_embedding_loss(x, x, torch.ones(2))",
    "torch.nn.functional.margin_ranking_loss": "torch.nn.functional.margin_ranking_loss(x, x * 2, torch.ones(3))",
    "torch.nn.functional.triplet_margin_loss": "torch.nn.functional.triplet_margin_loss(x, x * 2, x * 3)",
    "torch.nn.functional.gaussian_nll_loss": "torch.nn.functional.gaussian_nll_loss(x, x * 2, x)",
    "torch.nn.functional.batch_norm": "torch.nn.functional.batch_norm(x, 0 * v, v)",
    "torch.nn.functional.pixel_shuffle": "torch.nn.functional.pixel_shuffle(x.repeat(2, 1)[None, :, :, None], 2)",
    "torch.Tensor.cuda": "callable(torch.Tensor.cuda)",
    "torch.Tensor.pin_memory": "callable(torch.Tensor.pin_memory)",
    "torch.Tensor.record_stream": "callable(torch.Tensor.record_stream)",
    "torch.Tensor.put": "x.put(k, v[:2])",
    "torch.Tensor.take": "x.take(k)",
    "torch.Tensor.broadcast_to": "x[:1].broadcast_to((2, 3))",
    "torch.Tensor.as_strided": "x.as_strided((2, 2), (1, 2))",
    "torch.Tensor.bincount": "k.bincount()",
    "torch.Tensor.take_along_dim": "x.take_along_dim(i, 1)",
    "torch.Tensor.masked_scatter": "x.masked_scatter(x > 0.5, x)",
    "torch.Tensor.imag": "c.imag",
    "torch.Tensor.scatter_add": "x.scatter_add(1, i, x)",
}  # fmt: skip
FUNCTION = (
    "x", "x, x", "x, 1", "x, 0", "x, x, x", "m", "m, m", "m, v", "v, v", "v", "n", "n, n", "x > 0.5",
    "x > 0.5, x > 0.3", "[x, x]", "x, (1, 0)", "(2, 3)", "3", "", "x, 1, 0", "x, 1, 0, 1", "x, 1, k", "x, k",
    "x, 0, 1", "x[None]", "x[None], 2", "x[None, None], 2", "x[None, None, None], 2", "x[None], 1", "x[None, None], 1",
    "m[None], m[None]", "x, (3,)", "c", "x, [0, 1]", "0.0, 1.0, 3", "[2, 3]", "2", "x, 2.0", "x[None], 1, 1",
    "[x], 2.0", "[x], [x]", "x, x > 0.5", "x, 1, 0, k", "(2, 3), (3, 1)", "[1.0, 2.0]", "x, 0.5", "x, 0.1, 0.6",
    "(2, 3), (3, 3)", "'cpu'", "torch.float32", "x.float()", "k", "k, 3",
)  # fmt: skip
METHOD = (
    "x.clone(): ", "x.clone(): x", "x.clone(): 1", "x.clone(): 0", "x.clone(): 0, 1", "x.clone(): x, x", "m: ", "m: m",
    "m: v", "v: v", "n.clone(): ", "n.clone(): n", "(x > 0.5): ", "(x > 0.5): x > 0.3", "x.clone(): 3, 2",
    "x.clone(): (3, 2)", "x.clone(): 1, 0, 1", "x.clone(): 1, k", "x.clone(): 0.5", "x.clone(): 2.0", "c: ",
    "x.clone(): [1.0, 2.0]", "x.clone(): (2,)", "x.clone(): (2,), 3.0", "x.clone(): 1, (3, 1)", "x.clone(): x > 0.5",
    "x.clone(): True", "x[None]: ", "m: m, True", "(x > 0.5).double(): ", "k: 3", "m[None]: m[None]",
)  # fmt: skip
RANDOM = ("rand", "bernoulli", "multinomial", "empty", "new_empty", "normal", "exponential", "get_rng_state", "seed")


def encoded(result):
    """A result as JSON."""
    if isinstance(result, torch.Tensor):
        result = result.detach()
        if result.layout is not torch.strided:
            return {"sparse": encoded(result.to_dense())}
        wide = torch.view_as_real(result.resolve_conj()) if result.is_complex() else result
        values = wide.double().reshape(-1).tolist() if wide.dtype is not torch.bool else wide.reshape(-1).tolist()
        return {"dtype": str(result.dtype), "shape": list(result.shape), "values": [plain(v) for v in values]}
    if isinstance(result, tuple | list):
        return [encoded(r) for r in result]
    if isinstance(result, bool | int | float | str) or result is None:
        return plain(result)
    return {"type": type(result).__name__}


def plain(v):
    """Numbers that JSON does not have, as text."""
    return str(v) if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))) else v


def environment(module):
    """What the calls may name; tests/test_surface.py has the same."""
    scope = {"torch": module}
    exec((HERE / "tests" / "surface_setup.py").read_text(), scope)
    return scope


def candidates(name: str):
    """Calls to try, the best first."""
    if name in CALLS or name in OF_MODULES:
        yield CALLS.get(name) or OF_MODULES[name]
    elif name.startswith("torch.Tensor."):
        method = name.rpartition(".")[2]
        for pattern in METHOD:
            target, arguments = pattern.split(": ")
            yield f"{target}.{method}({arguments})"
        yield f"x.{method}"
    else:
        yield from (f"{name}({arguments})" for arguments in FUNCTION)
        yield f"str(value({name}))"


def record(name: str):
    """The first call that works, and its result."""
    for call in candidates(name):
        try:
            torch.manual_seed(0)
            result = eval(call, environment(torch))
            if not callable(result):
                return {"call": call, "result": encoded(result)}
        except Exception:
            continue
    return None


def main() -> None:
    warnings.simplefilter("ignore")
    for module in ("nn.attention.flex_attention", "nn.utils.prune", "utils.dlpack", "futures", "optim.swa_utils"):
        importlib.import_module(f"torch.{module}")
    entries, without = {}, []
    for line in Path(sys.argv[1]).read_text().splitlines():
        name, projects = line.split()
        if name == "torch.Tensor.index":  # what projects call is list.index; PyTorch's belongs to named dimensions
            continue
        found = record(name)
        if found is None:
            without.append(name)
            continue
        if any(word in name.rpartition(".")[2] for word in RANDOM):
            found["random"] = True
        entries[name] = {"projects": int(projects), **found}
    lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(e)}" for n, e in entries.items())
    (HERE / "tests" / "data" / "surface.json").write_text("{\n" + lines + "\n}\n")
    print(f"{len(entries)} names; without a call: {' '.join(without)}")


if __name__ == "__main__":
    main()
