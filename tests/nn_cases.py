"""Programs over modules, losses, optimizers, schedules and data loaders whose results were recorded with PyTorch.

Each takes the namespace: `torch` when recording, `flambeau` here. Inputs are uniform numbers, which are the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

HEAD = 8  # numbers kept of each tensor
SEED = 11

Program = Callable[[Any], Any]


def _input(t: Any, *shape: int) -> Any:
    return (t.rand(*shape) * 2 - 1).requires_grad_()


def _with_gradients(out: Any, leaves: list[Any]) -> list[Any]:
    """Outputs and the gradients of a weighted sum of them."""
    outs = [o for o in (out if isinstance(out, (tuple, list)) else [out]) if o is not None]
    total = sum((o * (0.5 + 0.1 * i)).pow(2).sum() + o.sum() for i, o in enumerate(outs) if o.requires_grad)
    total.backward()
    return [*outs, *[leaf.grad for leaf in leaves if leaf.requires_grad]]


def _module(t: Any, name: str, shapes: tuple[tuple[int, ...], ...], *args: Any, **options: Any) -> list[Any]:
    module = getattr(t.nn, name)(*args, **options)
    inputs = [_input(t, *shape) for shape in shapes]
    if name in ("Embedding", "EmbeddingBag"):
        inputs = [(x.detach().abs() * module.num_embeddings).to(t.int64) for x in inputs]
    out = module(*inputs)
    if name == "LSTM":
        out = (out[0], *out[1])
    return _with_gradients(out, [*inputs, *module.parameters()])


# name of the module, shapes of the inputs, arguments
MODULES: list[tuple[str, tuple[tuple[int, ...], ...], tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", ((4, 3),), (3, 5), {}),
    ("Bilinear", ((4, 3), (4, 2)), (3, 2, 5), {}),
    ("Conv1d", ((2, 4, 9),), (4, 6, 3), {"groups": 2, "padding": "same"}),
    ("Conv2d", ((2, 2, 7, 6),), (2, 3, 3), {"stride": 2, "padding": 1, "dilation": 2, "bias": False}),
    ("Conv2d", ((1, 2, 5, 6),), (2, 3, 3), {"padding": 1, "padding_mode": "reflect"}),
    ("ConvTranspose2d", ((2, 3, 4, 5),), (3, 2, 3), {"stride": 2, "output_padding": 1}),
    ("BatchNorm1d", ((6, 3),), (3,), {}),
    ("BatchNorm2d", ((2, 3, 4, 4),), (3,), {"momentum": None}),
    ("InstanceNorm2d", ((2, 3, 4, 4),), (3,), {"affine": True, "track_running_stats": True}),
    ("LayerNorm", ((2, 3, 4),), ((3, 4),), {}),
    ("GroupNorm", ((2, 6, 4),), (3, 6), {}),
    ("RMSNorm", ((2, 3, 4),), (4,), {}),
    ("LocalResponseNorm", ((2, 6, 4),), (3,), {"alpha": 0.1}),
    ("RNN", ((5, 2, 3),), (3, 4), {"nonlinearity": "relu"}),
    ("LSTM", ((5, 2, 3),), (3, 4), {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ("GRU", ((2, 5, 3),), (3, 4), {"batch_first": True}),
    ("LSTMCell", ((2, 3),), (3, 4), {}),
    ("GRUCell", ((3,),), (3, 4), {}),
    ("MultiheadAttention", ((5, 2, 8), (3, 2, 4), (3, 2, 6)), (8, 2), {"kdim": 4, "vdim": 6, "add_bias_kv": True}),
    ("TransformerEncoderLayer", ((5, 2, 8),), (8, 2, 16), {"dropout": 0.0, "norm_first": True}),
    ("TransformerDecoderLayer", ((5, 2, 8), (3, 2, 8)), (8, 2, 16), {"dropout": 0.0, "activation": "gelu"}),
    ("Embedding", ((3, 4),), (10, 3), {"padding_idx": 2}),
    ("EmbeddingBag", ((3, 4),), (10, 3), {"mode": "mean"}),
    ("MaxPool2d", ((2, 3, 7, 6),), (3, 2, 1), {}),
    ("AvgPool2d", ((2, 3, 7, 6),), (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ("AdaptiveAvgPool2d", ((2, 3, 7, 6),), ((3, 4),), {}),
    ("AdaptiveMaxPool2d", ((2, 3, 7, 6),), ((3, 4),), {}),
    ("LPPool1d", ((2, 3, 8),), (2, 2), {}),
    ("ReflectionPad2d", ((2, 3, 4, 5),), ((1, 2, 3, 0),), {}),
    ("ReplicationPad1d", ((2, 3, 4),), (2,), {}),
    ("CircularPad2d", ((2, 3, 4, 5),), (2,), {}),
    ("PixelShuffle", ((1, 8, 2, 3),), (2,), {}),
    ("Unfold", ((1, 2, 4, 5),), ((2, 3),), {"stride": 2, "padding": 1}),
    ("Fold", ((1, 12, 9),), ((4, 5), (2, 3)), {"stride": 2, "padding": 1}),
    ("Upsample", ((1, 2, 4, 5),), (), {"scale_factor": 2}),
    ("Upsample", ((1, 2, 4, 5),), ((7, 3),), {"mode": "bilinear", "align_corners": True}),
    ("Upsample", ((1, 2, 4, 5),), ((7, 3),), {"mode": "bicubic"}),
    ("CosineSimilarity", ((4, 3), (4, 3)), (), {}),
    ("PairwiseDistance", ((4, 3), (4, 3)), (), {}),
    ("Dropout2d", ((3, 4, 2, 2),), (0.4,), {}),
    ("AlphaDropout", ((4, 5),), (0.3,), {}),
    *[
        (name, ((3, 5),), args, {})
        for name, args in (
            ("ReLU", ()), ("ReLU6", ()), ("ELU", (0.7,)), ("SELU", ()), ("CELU", (1.3,)), ("GELU", ()),
            ("GELU", ("tanh",)), ("SiLU", ()), ("Mish", ()), ("LeakyReLU", (0.2,)), ("PReLU", (5,)),
            ("Hardtanh", (-0.3, 0.4)), ("Hardswish", ()), ("Hardsigmoid", ()), ("Hardshrink", (0.3,)),
            ("Softshrink", (0.3,)), ("Softplus", (2.0,)), ("Softsign", ()), ("Tanhshrink", ()),
            ("Threshold", (0.1, 2.0)), ("LogSigmoid", ()), ("Softmax", (1,)), ("LogSoftmax", (0,)),
            ("Softmin", (1,)), ("Sigmoid", ()), ("Tanh", ()),
        )
    ],
]  # fmt: skip

# name of the loss, its options, how its second argument is made of uniform numbers
LOSSES: list[tuple[str, dict[str, Any], str]] = [
    ("l1_loss", {}, "reals"),
    ("mse_loss", {"reduction": "sum"}, "reals"),
    ("smooth_l1_loss", {"beta": 0.4}, "reals"),
    ("huber_loss", {"delta": 0.3}, "reals"),
    ("kl_div", {"reduction": "batchmean"}, "shares"),
    ("poisson_nll_loss", {"full": True}, "shares"),
    ("binary_cross_entropy_with_logits", {}, "shares"),
    ("soft_margin_loss", {}, "signs"),
    ("hinge_embedding_loss", {"margin": 0.3}, "signs"),
    ("multilabel_soft_margin_loss", {}, "shares"),
    ("multi_margin_loss", {"p": 2}, "classes"),
    ("nll_loss", {"ignore_index": 1}, "classes"),
    ("cross_entropy", {}, "classes"),
    ("cross_entropy", {"label_smoothing": 0.2, "reduction": "none"}, "classes"),
    ("cross_entropy", {"label_smoothing": 0.1}, "shares"),
]

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1, "betas": (0.5, 0.8)}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adadelta", {"rho": 0.7}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.7)}),
    ("ASGD", {"lr": 0.1, "t0": 2.0, "lambd": 0.01}),
    ("Rprop", {"etas": (0.4, 1.3)}),
    ("Adafactor", {"lr": 0.1}),
    ("LBFGS", {"max_iter": 4}),
    ("LBFGS", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
]

SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 7, 7, 12], 0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.25, 0.75, 6),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 6, 0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2, 0.001),
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.95),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 5, mode="exp_range", gamma=0.95),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.2, total_steps=30),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(
        o, 0.2, epochs=5, steps_per_epoch=6, three_phase=True, anneal_strategy="linear"
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 5)], [4, 10]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]),
}

REPRS: dict[str, Program] = {
    "net": lambda t: t.nn.Sequential(
        t.nn.Conv2d(1, 8, 3, padding=1), t.nn.BatchNorm2d(8), t.nn.ReLU(True), t.nn.MaxPool2d(2), t.nn.Flatten(),
        t.nn.Linear(32, 10, bias=False), t.nn.Dropout(0.2), t.nn.LogSoftmax(dim=1),
    ),
    "list": lambda t: t.nn.ModuleList([t.nn.Linear(2, 2), t.nn.Linear(2, 2), t.nn.GELU()]),
    "dict": lambda t: t.nn.ModuleDict({"a": t.nn.LSTM(3, 4, 2, bidirectional=True), "b": t.nn.Embedding(5, 2)}),
    "transformer": lambda t: t.nn.Transformer(8, 2, 2, 1, 16),
    "empty": lambda t: t.nn.Sequential(t.nn.ModuleList(), t.nn.Identity(), t.nn.Softmax()),
    "norms": lambda t: t.nn.Sequential(
        t.nn.LayerNorm((3, 4), bias=False), t.nn.GroupNorm(2, 4), t.nn.RMSNorm(4), t.nn.InstanceNorm1d(3)
    ),
    "SGD": lambda t: t.optim.SGD([t.nn.Parameter(t.zeros(2))], lr=0.1, momentum=0.9),
    "Adam": lambda t: t.optim.Adam(
        [{"params": [t.nn.Parameter(t.zeros(2))]}, {"params": [t.nn.Parameter(t.zeros(2))], "lr": 1.0}]
    ),
}  # fmt: skip


def _loss(t: Any, name: str, options: dict[str, Any], kind: str) -> list[Any]:
    x = _input(t, 4, 5)
    u = t.rand(4, 5)
    target = {
        "reals": lambda: u * 2 - 1,
        "shares": lambda: u,
        "signs": lambda: (u > 0.5).to(u.dtype) * 2 - 1,
        "classes": lambda: (u[:, 0] * 5).to(t.int64),
    }[kind]()
    scores = t.nn.functional.log_softmax(x, 1) if name in ("nll_loss", "kl_div") else x
    return _with_gradients(getattr(t.nn.functional, name)(scores, target, **options), [x])


def _trajectory(t: Any, name: str, options: dict[str, Any]) -> list[Any]:
    params = [t.nn.Parameter(t.rand(3, 2)), t.nn.Parameter(t.rand(4))]
    goals = [t.rand(3, 2), t.rand(4)]
    optimizer = getattr(t.optim, name)(params, **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - goal) ** 2).sum() * (i + 1) for i, (p, goal) in enumerate(zip(params, goals, strict=True)))
        loss.backward()
        return loss

    seen = []
    for _ in range(4):
        if name == "LBFGS":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        seen += [p.detach().clone() for p in params]
    return seen


def _rates(t: Any, make: Callable[[Any, Any], Any]) -> list[float]:
    optimizer = t.optim.SGD([t.nn.Parameter(t.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = make(t.optim.lr_scheduler, optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(20):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def _batches(t: Any) -> list[Any]:
    data = t.utils.data
    whole = data.TensorDataset(t.arange(23), t.arange(23) * 2)
    parts = data.random_split(whole, [0.7, 0.3])
    loaders = [
        data.DataLoader(whole, batch_size=5, shuffle=True, drop_last=True),
        data.DataLoader(parts[0], batch_size=4, shuffle=True, generator=t.Generator().manual_seed(3)),
        data.DataLoader(whole, sampler=data.WeightedRandomSampler([0.1, 0.5, 0.4], 6), batch_size=None),
        data.DataLoader(whole, sampler=data.RandomSampler(whole, replacement=True, num_samples=40), batch_size=16),
        data.DataLoader(whole, sampler=data.SubsetRandomSampler(range(3, 9)), batch_size=3),
        data.DataLoader(whole, sampler=data.DistributedSampler(whole, 3, 1, seed=4), batch_size=4),
    ]
    seen = [batch[0] for loader in loaders for _ in range(2) for batch in loader]
    return [[int(i) for i in x.reshape(-1).tolist()] for x in seen] + [t.rand(3).tolist()]


def _init(t: Any, name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Any:
    return getattr(t.nn.init, name)(t.zeros(*shape), *args, **options)


INITS: list[tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = [
    ("trunc_normal_", (20,), (), {}),
    ("trunc_normal_", (20,), (), {"a": 1.5, "b": 4.0}),
    ("dirac_", (4, 2, 3), (2,), {}),
    ("eye_", (3, 4), (), {}),
    ("sparse_", (6, 3), (0.4,), {}),
    ("kaiming_uniform_", (3, 4, 2), (), {"mode": "fan_out", "nonlinearity": "relu"}),
]


def _digits(value: float) -> float:
    return value if math.isinf(value) or math.isnan(value) else float(f"{value:.7g}")


def numbers(result: Any) -> Any:
    """The heads of tensors, as Python numbers of seven digits."""
    if isinstance(result, (list, tuple)):
        return [numbers(r) for r in result]
    if isinstance(result, float):
        return _digits(result)
    if isinstance(result, (int, str)):
        return result
    return [float(_digits(float(v))) for v in result.detach().reshape(-1).tolist()[:HEAD]]


def programs() -> dict[str, Program]:
    """All programs whose results are numbers, by title."""
    found: dict[str, Program] = {}
    for i, (name, shapes, args, options) in enumerate(MODULES):
        found[f"{i} {name}"] = lambda t, case=(name, shapes, args, options): _module(t, *case[:2], *case[2], **case[3])
    for i, (name, options, kind) in enumerate(LOSSES):
        found[f"loss {i} {name}"] = lambda t, case=(name, options, kind): _loss(t, *case)
    for i, (name, options) in enumerate(OPTIMIZERS):
        found[f"optimizer {i} {name}"] = lambda t, case=(name, options): _trajectory(t, *case)
    for name, make in SCHEDULES.items():
        found[f"schedule {name}"] = lambda t, make=make: _rates(t, make)
    for i, (name, shape, args, options) in enumerate(INITS):
        case = (name, shape, args, options)
        found[f"init {i} {name}"] = lambda t, case=case: _init(t, *case[:2], *case[2], **case[3])
    found["batches"] = _batches
    return found


def run(t: Any, program: Program) -> Any:
    """The numbers that a program gives from the seed."""
    t.manual_seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return numbers(program(t))
