"""How the operators of the table run on a whole batch: by kind of body, by the names of their parameters.

A rule gets the level and the call, and gives the result for all examples, the batch first. What has no rule runs
example by example.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.autograd.wrapped import Operation, over_tensors, unseen
from flambeau.batching import rules_contract, rules_index
from flambeau.batching.rules_index import getitem, setitem
from flambeau.ops.launch import wrap_dim
from flambeau.ops.names import operators as ops

__all__ = ["DRAWING", "RANDOM", "draw", "find", "getitem", "setitem"]

Rule = Callable[[Any, Operation], Any]

# Names of functions that draw random numbers.
RANDOM = frozenset(
    {
        "rand", "randn", "randperm", "randint", "uniform_", "normal_", "exponential_", "geometric_", "cauchy_",
        "log_normal_", "bernoulli_", "random_", "bernoulli", "multinomial_rows",
        "poisson", "binomial_each", "_standard_gamma", "_sample_dirichlet",
    }
)  # fmt: skip
# Composites that draw as many numbers as their operand has elements.
DRAWING = frozenset(["dropout", "rrelu", "rand_like", "randn_like", "randint_like", "bernoulli", "normal"])
# Dimensions counted in the operand.
_DIMS = frozenset(["dim", "dim0", "dim1", "dim2", "dims", "start_dim", "end_dim", "dimension", "source", "destination"])
_SIZES = frozenset(["size", "sizes"])


def find(operation: Operation) -> Rule | None:
    """The rule for an operator, None where there is none."""
    rule = _BY_NAME.get(operation.name)
    return rule if rule is not None else _BY_KIND.get(operation.entry.body.kind)


def _shifted(dims: Any, ndim: int) -> Any:
    if isinstance(dims, int):
        return wrap_dim(dims, ndim) + 1
    return tuple(wrap_dim(d, ndim) + 1 for d in dims)


# ---- scalar programs: operands broadcast


def _scalar(level: Any, operation: Operation) -> Any:
    tensors = [t for t in operation.values if hasattr(t, "ndim")]
    ndim = max(t.ndim for t in tensors)
    values = [level.aligned(v, ndim) for v in operation.values]
    if not ndim and len({t.dtype for t in tensors}) > 1:  # numbers all of them: that of every example counts no less
        values = [level.physical(v) if hasattr(v, "ndim") else v for v in operation.values]
    elif any(level.holds(t) and t.ndim == 0 for t in tensors) and len({t.dtype for t in tensors}) > 1:
        # One number of each example takes part in promotion as a number, not as a tensor.
        full = [t.dtype for t in tensors if t.ndim]
        values = [
            v.to(_weak(t.dtype, full)) if level.holds(t) and t.ndim == 0 else v
            for t, v in zip(operation.values, values, strict=True)
        ]
    return operation.run(values)


def _weak(dtype: Any, others: Sequence[Any]) -> Any:
    """The dtype of a number that meets tensors of other dtypes."""
    like = ops.empty(1, dtype=others[0])
    for other in others[1:]:
        like = ops.empty(1, dtype=ops.result_type(like, ops.empty(1, dtype=other)))
    result = ops.result_type(like, ops.empty((), dtype=dtype))
    return result if dtype.is_floating_point or dtype.is_complex or result == like.dtype else dtype


# ---- row programs: one more dimension in front


def _row(level: Any, operation: Operation) -> Any:
    if operation.entry.body.dims not in ("dim", "dim or none", "all"):
        return NotImplemented
    ndim = operation.values[0].ndim
    given = operation.arguments()
    values = [level.physical(v) if hasattr(v, "ndim") else v for v in operation.values]
    if operation.entry.body.dims == "all":
        if operation.name not in ("max", "min"):
            return NotImplemented
        return (ops.amax if operation.entry.base_name == "max" else ops.amin)(
            values[0].reshape(level.size, -1), 1
        )  # fmt: skip
    if ndim == 0:
        wrapped = given["dim"] if given["dim"] is not None else ()
        _shifted(wrapped, 0)
        values = [v.reshape(level.size, 1) if hasattr(v, "ndim") else v for v in values]
        result = operation.run(_with(operation, values, dim=1 if isinstance(wrapped, int) else (1,)))
        return over_tensors(lambda t: t.reshape(level.size), result)
    dim = given["dim"]
    if dim is None and any(p.name == "dim" and p.type == "int" for p in operation.params):
        keep = given.get("keepdim", False)
        values[0] = values[0].reshape(level.size, -1)
        result = operation.run(_with(operation, values, dim=1, keepdim=False))
        return result.reshape((level.size, *(1,) * ndim)) if keep else result
    whole = dim is None or (dim in ((), []) and operation.entry.body.dims == "dim")
    dims = tuple(range(1, ndim + 1)) if whole else _shifted(dim, ndim)
    return operation.run(_with(operation, values, dim=dims))


def _with(operation: Operation, values: list[Any], **replaced: Any) -> list[Any]:
    return [replaced.get(p.name, v) for p, v in zip(operation.params, values, strict=True)]


# ---- views and whatever else has one tensor: dimensions and sizes move by one


def _moved(level: Any, operation: Operation) -> Any:
    """Parameters named after dimensions count from the batch on, sizes begin with it."""
    ndim = operation.values[0].ndim
    if ndim == 0 and any(p.name in _DIMS for p in operation.params):
        return NotImplemented
    values = []
    for p, v in zip(operation.params, operation.values, strict=True):
        if hasattr(v, "ndim"):
            v = level.physical(v)
        elif p.name in _DIMS and v is not None:
            v = _shifted(v, ndim)
        elif p.name in _SIZES and p.type.startswith("int["):
            v = (level.size, *v)
        values.append(v)
    return operation.run(values)


def _moved_by_result(level: Any, operation: Operation) -> Any:
    """The same where the tensor is a result's gradient: its dimensions are those of `sizes`."""
    given = operation.arguments()
    ndim = len(given["sizes"])
    dims = {n: _shifted(v, ndim) for n, v in given.items() if n in _DIMS}
    values = operation.replaced(sizes=(level.size, *given["sizes"]), **dims)
    return operation.run([level.physical(values[0]), *values[1:]])


def _strided(level: Any, whole: Any, size: Any, stride: Any, offset: int | None) -> list[Any]:
    """What as_strided takes of the whole batch: example i begins i steps of it after the first."""
    at = whole.storage_offset() if offset is None else offset
    return [whole, (level.size, *size), (whole.stride(0), *stride), at]


def _as_strided(level: Any, operation: Operation) -> Any:
    x, *look = operation.values
    return operation.run(_strided(level, level.physical(x), *look))


def _view_of_itself(level: Any, operation: Operation) -> Any:
    """`t_` and its like: the tensor's look, and the whole batch."""
    x = operation.values[0]
    if operation.name == "t_" and x.ndim == 2:
        ops.transpose_(x.inner, 1, 2)
    elif operation.name == "squeeze_":
        ops.squeeze_(x.inner, tuple(d + 1 for d in range(x.ndim) if x.shape[d] == 1))
    elif operation.name == "as_strided_":
        operation.run(_strided(level, x.inner, *operation.values[1:]))
    elif operation.name != "t_":
        extra = operation.name == "unsqueeze_"
        dims = [_shifted(v, x.ndim + extra) for v in operation.values[1:]]
        if x.ndim or extra:
            operation.run([x.inner, *dims])
    with unseen():
        operation.run(operation.values)
    return x


def _like_other(level: Any, operation: Operation) -> Any:
    x, other, *rest = operation.values
    return operation.run([level.physical(x), ops.empty(0, dtype=other.dtype, device=other.device), *rest])


def _masked_fill(level: Any, operation: Operation) -> Any:
    x, mask, value = operation.values
    if not level.holds(value):
        return _scalar(level, operation)
    ndim = max(x.ndim, mask.ndim)
    filled = ops.where(level.aligned(mask, ndim), level.aligned(value.to(x.dtype), ndim), level.physical(x, ndim))
    return level.physical(x).copy_(filled) if operation.in_place else filled


def _one_by_one(level: Any, operation: Operation) -> Any:
    """Composites that take a tensor of another size for each example on their way."""
    return level.one_by_one(operation)


def _resized(level: Any, operation: Operation) -> Any:
    """view, reshape, expand: sizes are those of the whole batch."""
    x, size = operation.values[0], tuple(operation.values[1])
    whole = level.physical(x, len(size) if operation.entry.base_name in ("expand", "broadcast_to") else None)
    return operation.run([whole, (level.size, *size), *operation.values[2:]])


def _flatten(level: Any, operation: Operation) -> Any:
    x = operation.values[0]
    if x.ndim == 0:
        return level.physical(x).reshape(level.size, 1)
    first, last = (wrap_dim(d, x.ndim) + 1 for d in operation.values[1:])
    return operation.run([level.physical(x), first, last])


def _permute(level: Any, operation: Operation) -> Any:
    x, dims = operation.values
    if len(dims) != x.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {x.ndim} is not equal to len(dims) = {len(dims)}"
        )
    return operation.run([level.physical(x), (0, *_shifted(dims, x.ndim))])


def _transpose(level: Any, operation: Operation) -> Any:
    x = operation.values[0]
    if operation.entry.base_name == "t":
        if x.ndim > 2:
            raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
        return ops.transpose(level.physical(x), 1, 2) if x.ndim == 2 else level.physical(x)
    first, second = (wrap_dim(d, x.ndim) + 1 for d in operation.values[1:])
    return level.physical(x) if x.ndim == 0 else operation.run([level.physical(x), first, second])


def _squeeze(level: Any, operation: Operation) -> Any:
    x = operation.values[0]
    dims = range(x.ndim) if len(operation.values) == 1 else [wrap_dim(d, x.ndim) for d in operation.values[1]]
    ones = tuple(d + 1 for d in dims if x.ndim and x.shape[d] == 1)
    return ops.squeeze(level.physical(x), ones) if ones else ops.alias(level.physical(x))


def _unsqueeze(level: Any, operation: Operation) -> Any:
    x, dim = operation.values
    return operation.run([level.physical(x), wrap_dim(dim, x.ndim + 1) + 1])


def _sum_to_size(level: Any, operation: Operation) -> Any:
    x, size = operation.values
    full = (1,) * (x.ndim - len(size)) + tuple(size)
    return ops.sum_to_size(level.physical(x), (level.size, *full)).reshape((level.size, *size))


def _plain(level: Any, operation: Operation) -> Any:
    """The whole batch in place of the example: what does not look at dimensions."""
    return operation.run(over_tensors(lambda t: level.physical(t) if level.holds(t) else t, operation.values))


def _about(level: Any, operation: Operation) -> Any:
    """What asks about dtypes: numbers of examples are numbers."""
    return operation.run(over_tensors(lambda t: ops.empty(t.shape, dtype=t.dtype, device="meta"), operation.values))


def _new(level: Any, operation: Operation) -> Any:
    """new_zeros and others: a tensor for each example, so that it can be changed."""
    like, size, *rest = operation.values
    return operation.run([level.physical(like), (level.size, *size), *rest])


def _copy(level: Any, operation: Operation) -> Any:
    target, source = operation.values[:2]
    return operation.run([level.physical(target), level.aligned(source, target.ndim), *operation.values[2:]])


def _fill(level: Any, operation: Operation) -> Any:
    target, value = operation.values
    level.physical(target).copy_(level.aligned(value, target.ndim))
    return target


def _cat(level: Any, operation: Operation) -> Any:
    tensors, dim, dtype = operation.values
    return operation.run([[level.physical(t) for t in tensors], wrap_dim(dim, tensors[0].ndim) + 1, dtype])


def _last_dim(level: Any, operation: Operation) -> Any:
    return _plain(level, operation) if operation.values[0].ndim else NotImplemented


# ---- normalisation, losses, pooling


def _rows_of(level: Any, operation: Operation) -> Any:
    """layer_norm, rms_norm: weights that differ from example to example are applied afterwards."""
    given = operation.arguments()
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    if not level.holds(weight) and not level.holds(bias):
        return operation.run([level.physical(x), *operation.values[1:]])
    given["input"], given["weight"] = level.physical(x), None
    if "bias" in given:
        given["bias"] = None
    result = operation.run(list(given.values()))
    if weight is not None:
        result = result * level.aligned(weight, x.ndim)
    return result if bias is None else result + level.aligned(bias, x.ndim)


def _batch_norm(level: Any, operation: Operation) -> Any:
    """Channels of all examples side by side."""
    x, weight, bias, eps = operation.values
    whole = ops.movedim(level.physical(x), 0, 1)
    shape = whole.shape
    fold = lambda t: None if t is None else level.physical(t).reshape(-1)  # noqa: E731
    result = operation.run([whole.reshape((shape[0], -1, *shape[3:])), fold(weight), fold(bias), eps])
    y, *statistics = result
    return (ops.movedim(y.reshape(shape), 1, 0), *(s.reshape(level.size, -1) for s in statistics))


def _class_rows(level: Any, operation: Operation) -> Any:
    """Losses over classes: examples are further rows."""
    x, target, ignore = operation.values
    xs, targets = level.physical(x), level.physical(target)
    if x.ndim == 1:
        return operation.run([xs, targets, ignore])
    result = operation.run([xs.flatten(0, 1), targets.flatten(0, 1), ignore])
    return over_tensors(lambda t: t.reshape((level.size, -1, *t.shape[1:])), result)


def _folded(spatial: int) -> Rule:
    """Pooling over the last dimensions: examples join the batch that stands in front."""

    def rule(level: Any, operation: Operation) -> Any:
        x = operation.values[0]
        whole = level.physical(x)
        lead = whole.shape[: x.ndim - spatial]
        if len(lead) < 2:
            return operation.run([whole, *operation.values[1:]])
        result = operation.run([whole.flatten(0, 1), *operation.values[1:]])
        return over_tensors(lambda t: t.reshape((*lead[:2], *t.shape[1:])), result)

    return rule


def _squared_error(level: Any, operation: Operation) -> Any:
    x, target, reduction = operation.values
    ndim = max(x.ndim, target.ndim)
    errors = ops.square(level.aligned(x, ndim) - level.aligned(target, ndim))
    if reduction == "none":
        return errors
    return (ops.mean if reduction == "mean" else ops.sum)(errors.reshape(level.size, -1), 1)


# ---- random numbers


def draw(level: Any, operation: Operation) -> Any:
    """An operator that draws: the same numbers for each example, or numbers for each."""
    batched = any(level.holds(v) for v in operation.values)
    if level.randomness == "same":
        return _draw_same(level, operation) if batched else operation.run(operation.values)
    if operation.in_place:
        if not level.holds(operation.values[0]):
            raise RuntimeError(
                "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same "
                "randomness. If this is necessary for your usage, please file an issue with functorch."
            )
        values = [level.aligned(v, operation.values[0].ndim) for v in operation.values]
        operation.run([level.physical(operation.values[0]), *values[1:]])
        return operation.values[0]
    if operation.name == "randperm":
        return level.wrap(ops.stack([operation.run(operation.values) for _ in range(level.size)]))
    given = operation.arguments()
    if "size" in given:
        return level.wrap(operation.run(operation.replaced(size=(level.size, *given["size"]))))
    return level.wrap(level.one_by_one(operation) if operation.name == "multinomial_rows" else operation.run(
        [level.physical(v) if hasattr(v, "ndim") else v for v in operation.values]
    ))  # fmt: skip


def _draw_same(level: Any, operation: Operation) -> Any:
    target = operation.values[0]
    if operation.in_place and not any(level.holds(v) for v in operation.values[1:]):
        one = ops.empty(target.shape, dtype=target.dtype)
        level.physical(target).copy_(operation.run([one, *operation.values[1:]]))
        return target
    raise RuntimeError(
        f"vmap: {operation.entry.base_name} draws from distributions that differ from example to example; with "
        "randomness='same' there are no numbers that would be the same. Use randomness='different'."
    )


_BY_KIND: dict[str, Rule] = {"scalar": _scalar, "row": _row}
_BY_NAME: dict[str, Rule] = {}


def _add(rule: Rule, names: str) -> None:
    _BY_NAME.update(dict.fromkeys(names.split(), rule))


_add(_resized, "view _unsafe_view reshape expand broadcast_to")
_add(_flatten, "flatten")
_add(_permute, "permute")
_add(_transpose, "transpose t")
_add(_squeeze, "squeeze squeeze.dims")
_add(_unsqueeze, "unsqueeze")
_add(
    _moved,
    """select.int slice.Tensor narrow diagonal unfold unbind.int split.Tensor split_with_sizes cumsum cumprod cummax
    cummin logcumsumexp flip rolled sort sort.stable argsort argsort.stable topk kthvalue median.dim nanmedian.dim mode
    order_rows ranked_rows median_rows movedim
    gather scatter.src scatter.value scatter.reduce scatter.value_reduce scatter_add scatter_sum scatter_reduction
    cumprod_backward""",
)
_add(_moved_by_result, "select_backward slice_backward narrow_backward diagonal_backward")
_add(_sum_to_size, "sum_to_size")
_add(
    _plain,
    """alias view.dtype view_as_real view_as_complex clone contiguous to.dtype to.device zero_ fill_.Scalar
    empty_like zeros_like ones_like full_like first_outside is_all_true""",
)
_add(_like_other, "to.other")
_add(_as_strided, "as_strided")
_add(_view_of_itself, "transpose_ swapaxes_ swapdims_ t_ squeeze_ squeeze_.dims unsqueeze_ as_strided_")
_add(_masked_fill, "masked_fill")
_add(_one_by_one, "nonzero_static")
_add(_last_dim, "topk_few")
_add(_about, "result_type.Tensor result_type.Scalar result_type.Scalar_Tensor")
_add(_new, "new_empty new_zeros new_ones new_full")
_add(_copy, "copy_")
_add(_fill, "fill_.Tensor")
_add(_cat, "cat_parts")
_add(_rows_of, "layer_norm_rows rms_norm_rows")
_add(_batch_norm, "batch_norm_train")
_add(_squared_error, "squared_error")
_add(_class_rows, "nll_loss_rows cross_entropy_rows")
for _n in (1, 2, 3):
    _add(
        _folded(_n),
        f"max_pool{_n}d_with_indices avg_pool{_n}d adaptive_avg_pool{_n}d_sized adaptive_max_pool{_n}d_with_indices",
    )
_add(_folded(2), "im2col")
_add(_folded(1), "col2im")
_BY_NAME |= rules_contract.RULES | rules_index.RULES
