"""Random numbers. With the default generator the numbers are PyTorch's own for a seed."""

from flambeau.ir import fn

from .creation import OPTIONS, factory
from .table import ANY, FLOATING, Composite, Native, Scalar, op

_GENERATOR = "Generator? generator=None"
_FORMAT = "MemoryFormat? memory_format=None"

factory(f"rand(int[] size, *, {_GENERATOR}, {OPTIONS}) -> Tensor", "rand", "Numbers uniform on [0, 1).", ("rand",))
factory(f"randn(int[] size, *, {_GENERATOR}, {OPTIONS}) -> Tensor", "randn", "Normal numbers of mean 0 and variance 1.",
        ("randn",))  # fmt: skip
factory(
    f"randperm(int n, *, {_GENERATOR}, {OPTIONS}) -> Tensor", "randperm", "0 to n - 1 in random order.", ("randperm",)
)
factory(f"randint.low(int low, int high, int[] size, *, {_GENERATOR}, {OPTIONS}) -> Tensor", "randint",
        "Integers uniform on low to high - 1.", ("randint",))  # fmt: skip


def _randint(o, high, size, generator, dtype, layout, device, pin_memory, requires_grad):
    return o.randint(0, high, size, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


op(
    f"randint(int high, int[] size, *, {_GENERATOR}, {OPTIONS}) -> Tensor",
    names=("randint",),
    body=Composite(_randint),
    differentiable=False,
    doc="Integers uniform on 0 to high - 1.",
)


def _like(name: str, draw) -> None:
    def run(o, self, *args):
        *numbers, generator, dtype, _layout, device, _pin_memory, requires_grad, memory_format = args
        out = o.empty_like(self, dtype=dtype, device=device, memory_format=memory_format)
        return draw(o, out, *numbers, generator=generator).requires_grad_(requires_grad)

    parameters = "".join(f"int {p}, " for p in _LIKE_PARAMETERS.get(name, ()))
    base = name.split(".")[0]
    op(
        f"{name}(Tensor self, {parameters}*, {_GENERATOR}, {OPTIONS}, {_FORMAT}) -> Tensor",
        names=(base,),
        body=Composite(run),
        differentiable=False,
        doc=f"As {base.removesuffix('_like')}, in the size and layout of self.",
    )


_LIKE_PARAMETERS = {"randint_like": ("high",), "randint_like.low": ("low", "high")}
_like("rand_like", lambda o, out, **of: o.uniform_(out, **of))
_like("randn_like", lambda o, out, **of: o.normal_(out, **of))
_like("randint_like", lambda o, out, high, **of: o.random_(out, 0, high, **of))
_like("randint_like.low", lambda o, out, low, high, **of: o.random_(out, low, high, **of))


def _draw(signature: str, native: str, doc: str) -> None:
    name = signature.split("(")[0].split(".")[0]
    op(signature, names=(f"Tensor.{name}",), dtypes=ANY, body=Native(native), doc=doc, grad=_no_history)


def _no_history(o, g, self, *rest):
    return (o.zeros_like(g),)


_draw(f"uniform_(Tensor(a!) self, float from=0.0, float to=1.0, *, {_GENERATOR}) -> Tensor(a!)", "uniform_",
      "Writes numbers uniform on [from, to).")  # fmt: skip
_draw(f"normal_(Tensor(a!) self, float mean=0.0, float std=1.0, *, {_GENERATOR}) -> Tensor(a!)", "normal_",
      "Writes normal numbers.")  # fmt: skip
_draw(f"exponential_(Tensor(a!) self, float lambd=1.0, *, {_GENERATOR}) -> Tensor(a!)", "exponential_",
      "Writes numbers of density lambd * exp(-lambd * x).")  # fmt: skip
_draw(f"geometric_(Tensor(a!) self, float p, *, {_GENERATOR}) -> Tensor(a!)", "geometric_",
      "Writes how many trials a first success of probability p takes.")  # fmt: skip
_draw(f"cauchy_(Tensor(a!) self, float median=0.0, float sigma=1.0, *, {_GENERATOR}) -> Tensor(a!)", "cauchy_",
      "Writes numbers of the Cauchy distribution.")  # fmt: skip
_draw(f"log_normal_(Tensor(a!) self, float mean=1.0, float std=2.0, *, {_GENERATOR}) -> Tensor(a!)", "log_normal_",
      "Writes numbers whose logarithms are normal.")  # fmt: skip
_draw(f"bernoulli_.float(Tensor(a!) self, float p=0.5, *, {_GENERATOR}) -> Tensor(a!)", "bernoulli_number",
      "Writes 1 with probability p, else 0.")  # fmt: skip
_draw(f"random_(Tensor(a!) self, *, {_GENERATOR}) -> Tensor(a!)", "random_",
      "Writes integers over the whole range of the dtype.")  # fmt: skip
_draw(
    f"random_.to(Tensor(a!) self, int to, *, {_GENERATOR}) -> Tensor(a!)", "random_to", "Writes integers 0 to `to` - 1."
)
_draw(f"random_.from(Tensor(a!) self, int from, int? to, *, {_GENERATOR}) -> Tensor(a!)", "random_from_to",
      "Writes integers `from` to `to` - 1.")  # fmt: skip
op(
    f"bernoulli_.Tensor(Tensor(a!) self, Tensor p, *, {_GENERATOR}) -> Tensor(a!)",
    names=("Tensor.bernoulli_",),
    dtypes=ANY,
    body=Native("bernoulli_tensor"),
    grad=lambda o, g, self, p, generator: (o.zeros_like(g), None),
    doc="Writes 1 with the probability that each element of p gives, else 0.",
)
op(
    f"bernoulli(Tensor self, *, {_GENERATOR}) -> Tensor",
    dtypes=ANY,
    body=Native("bernoulli"),
    grad=lambda o, g, self, generator: (o.zeros_like(g),),
    doc="1 with the probability that each element gives, else 0.",
)
op(
    f"bernoulli.p(Tensor self, float p, *, {_GENERATOR}) -> Tensor",
    body=Composite(lambda o, self, p, generator: o.bernoulli_(o.empty_like(self), p, generator=generator)),
    differentiable=False,
    doc="1 with probability p, else 0, in the size of self.",
)

# ---- normal numbers with given means and deviations


def _normal_size(o, mean, std, size, generator, dtype, layout, device, pin_memory, requires_grad):
    out = o.empty(size, dtype=dtype, device=device)
    return o.normal_(out, mean, std, generator=generator).requires_grad_(requires_grad)


def _check_std(o, std) -> None:
    if std.dtype.is_complex:
        raise RuntimeError("normal expects standard deviation to be non-complex")
    if not o.is_all_true(o.logical_not(o.lt(std, 0))):
        raise RuntimeError("normal expects all elements of std >= 0.0")


def _normal_each(o, mean, std, generator):
    mean, std = (t.detach() if isinstance(t, o.Tensor) else t for t in (mean, std))
    tensors = [t for t in (mean, std) if isinstance(t, o.Tensor)]
    if isinstance(std, o.Tensor):
        _check_std(o, std)
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    with o.no_grad():
        like = tensors[0] if len(tensors) == 1 else o.add(tensors[0], tensors[1])
        out = o.normal_(o.empty_like(like), 0.0, 1.0, generator=generator)
        return o.add_(o.mul_(out, std), mean)


op(
    f"normal.Tensor_Tensor(Tensor mean, Tensor std, *, {_GENERATOR}) -> Tensor",
    names=("normal",),
    body=Composite(_normal_each),
    doc="Normal numbers with a mean and a deviation each.",
)
op(
    f"normal.Tensor_float(Tensor mean, float std=1.0, *, {_GENERATOR}) -> Tensor",
    names=("normal",),
    body=Composite(_normal_each),
    doc="Normal numbers with a mean each.",
)
op(
    f"normal.float_Tensor(float mean, Tensor std, *, {_GENERATOR}) -> Tensor",
    names=("normal",),
    body=Composite(_normal_each),
    doc="Normal numbers with a deviation each.",
)
op(
    f"normal.float_float(float mean, float std, int[] size, *, {_GENERATOR}, {OPTIONS}) -> Tensor",
    names=("normal",),
    body=Composite(_normal_size),
    doc="Normal numbers of one mean and deviation.",
)

# ---- choices


def _check_weights(o, weights, samples, replacement) -> None:
    if weights.dim() not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not weights.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {weights.dtype.title}")
    if samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and samples > weights.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if weights.shape[-1] >= 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    if replacement and samples > 1 and not o.is_all_true(o.logical_not(o.lt(weights, 0))):
        raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
    if not o.is_all_true(o.logical_and(o.isfinite(weights), o.ge(weights, 0))):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not o.is_all_true(o.ne(o.sum(weights, -1), 0)):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _multinomial(o, self, num_samples, replacement, generator):
    _check_weights(o, self, num_samples, replacement)
    with o.no_grad():
        if replacement and num_samples > 1:
            return o.multinomial_rows(self, num_samples, generator=generator)
        # The largest of weight / exponential(1): the first is drawn with its probability, the others from what is left.
        q = o.exponential_(o.empty_like(self), 1.0, generator=generator)
        q = o.div(self, q)
        return o.argmax(q, -1, True) if num_samples == 1 else o.topk(q, num_samples)[1]


op(
    f"multinomial_rows(Tensor self, int num_samples, *, {_GENERATOR}) -> Tensor",
    names=(),
    body=Native("multinomial_rows"),
    differentiable=False,
    doc="Indices drawn with replacement by the weights of each row; checked by multinomial.",
)
op(
    f"multinomial(Tensor self, int num_samples, bool replacement=False, *, {_GENERATOR}) -> Tensor",
    out_error="multinomial expects Long tensor out, got: {got}",
    body=Composite(_multinomial),
    differentiable=False,
    doc="Indices drawn by the weights of each row.",
)

# ---- dropout


def _dropped(x, mask, scale):
    return x * (fn.cast(mask, x.dtype) * scale)


op(
    "dropout_elements(Tensor self, Tensor mask, float scale) -> Tensor",
    names=(),
    dtypes=FLOATING,
    roles={"mask": "k"},
    body=Scalar(_dropped),
    inplace=True,
    doc="x * scale where the mask holds, 0 elsewhere; checked by dropout.",
)


def _check_probability(name: str, p) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name} probability has to be between 0 and 1, but got {p}")


def _dropout(o, input, p, train, suffix=""):
    _check_probability("dropout", p)
    apply, multiply = getattr(o, f"dropout_elements{suffix}"), getattr(o, f"mul{suffix}")
    if not train or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return multiply(input, 0.0)
    mask = o.bernoulli_(o.empty_like(input, dtype=o.bool), 1 - p)
    return apply(input, mask, 1 / (1 - p))


op(
    "dropout(Tensor input, float p, bool train) -> Tensor",
    names=("dropout",),
    body=Composite(_dropout),
    doc="Elements zeroed with probability p, the others divided by 1 - p; the input itself where train is False.",
)
op(
    "dropout_(Tensor(a!) input, float p, bool train) -> Tensor(a!)",
    names=("dropout_",),
    body=Composite(lambda o, input, p, train: _dropout(o, input, p, train, "_")),
    doc="dropout, written to the input.",
)
op(
    "dropout.functional(Tensor input, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
    names=("nn.functional.dropout",),
    body=Composite(lambda o, input, p, training, inplace: _dropout(o, input, p, training, "_" if inplace else "")),
    doc="Elements zeroed with probability p in training, the others divided by 1 - p.",
)
