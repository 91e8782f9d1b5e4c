"""What networks are made of: products, convolutions, pooling, normalisation, attention, losses. Real numbers, unless said."""

import numpy as np

from cases.make import Case, Fixed, Maker, case, changed, drawn_in_place, quietly, seeded

IMAGES = {1: (5,), 2: (4, 3), 3: (3, 2, 3)}


def _real(cases):
    return lambda s: cases(s) if s.real else []


def _convolution(n: int):
    size, kernel = IMAGES[n], (2,) * n

    def cases(s: Maker) -> list[Case]:
        return [
            case(s.x(1, 2, *size), s.x(2, 2, *kernel), s.x(2)), case(s.x(2, *size), s.x(2, 1, *kernel), None, 2, 1, 1, 2),
            case(s.x(2, 1, *size), s.x(2, 1, *kernel), None, 1, 1, 2),
        ]  # fmt: skip

    return cases


def _padded_convolution(n: int):
    return lambda s: [
        case(s.x(1, 2, *IMAGES[n]), s.x(2, 2, *(2,) * n), s.x(2), padding="same"),
        case(s.x(1, 1, *IMAGES[n]), s.x(1, 1, *(2,) * n), padding="valid"),
    ]


def _transposed(n: int):
    small = {1: (3,), 2: (3, 2), 3: (2, 1, 2)}[n]
    return lambda s: [
        case(s.x(1, 2, *small), s.x(2, 2, *(2,) * n), s.x(2)), case(s.x(2, *small), s.x(2, 1, *(2,) * n), None, 2, 1, 1, 2),
    ]  # fmt: skip


def _pooling(n: int, *more):
    size = IMAGES[n]
    return lambda s: [case(s.distinct(1, 2, *size), 2, *more), case(s.distinct(2, *size), 2, 1, 1)]


def _max_pooling(n: int):
    size = IMAGES[n]
    return lambda s: [
        case(s.distinct(1, 2, *size), 2), case(s.distinct(2, *size), 2, 1, 1), case(s.distinct(1, 1, *size), 2, 2, 0, 1, True),
    ]  # fmt: skip


def _adaptive(n: int):
    size, to = IMAGES[n], {1: 2, 2: (2, 2), 3: (2, 1, 2)}[n]
    return lambda s: [case(s.distinct(1, 2, *size), to), case(s.distinct(2, *size), to)]


def _fractional(n: int):
    size = {2: (5, 5), 3: (3, 3, 3)}[n]
    to = {2: (3, 3), 3: (2, 2, 2)}[n]
    return lambda s: [case(s.distinct(1, 2, *size), 2, to, _random_samples=Fixed(s.within(0.2, 0.8, 1, 2, n)))]


def _unpooled(n: int):
    small, whole = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}[n], {1: 4, 2: 16, 3: 32}[n]
    count = int(np.prod(small))
    return lambda s: [case(s.x(1, 1, *small), Fixed(s.permutation(whole)[:count].reshape(1, 1, *small)), 2)]


def _attention(s: Maker) -> list[Case]:
    q, k, v = (2, 3, 2), (2, 4, 2), (2, 4, 3)
    return [
        case(s.x(*q), s.x(*k), s.x(*v)), case(s.x(*q), s.x(*k), s.x(2, 4, 2), s.x(3, 4)),
        case(s.x(1, 1, 3, 2), s.x(1, 1, 3, 2), s.x(1, 1, 3, 2), is_causal=True),
        case(s.x(*q), s.x(*k), s.x(2, 4, 2), Fixed(np.array([[True] * 4, [True, False, True, True], [False, True, True, True]])), scale=0.7),
    ]  # fmt: skip


def _batch_norm(s: Maker) -> list[Case]:
    mean, var = Fixed(np.array([0.1, -0.2])), Fixed(np.array([1.1, 0.7]))
    return [
        case(s.x(3, 2), None, None, s.x(2), s.x(2), True), case(s.x(2, 2, 3), mean, var, s.x(2), s.x(2), False),
        case(s.x(2, 2, 2), None, None, training=True, eps=1e-3),
    ]  # fmt: skip


def _reductions(*arguments_of, **options):
    """A loss in its three reductions."""
    return lambda s: [case(*(a(s) for a in arguments_of), reduction=r, **options) for r in ("mean", "sum", "none")]


def _classes(s: Maker) -> np.ndarray:
    return s.integers(0, 3, 4)


def _labels(s: Maker) -> np.ndarray:
    return s.rng.choice([-1.0, 1.0], 4).astype(int)


def _x(s: Maker) -> np.ndarray:
    return s.x(4)


def _apart(s: Maker) -> tuple:
    """Two vectors no elements of which are equal or one apart."""
    numbers = s.distinct(8)
    return numbers[:4], numbers[4:]


def _pairs(**options):
    return lambda s: [case(*_apart(s), reduction=r, **options) for r in ("mean", "sum", "none")]


def _chances(s: Maker) -> np.ndarray:
    return s.within(0.1, 0.9, 4)


def _log_chances(s: Maker) -> np.ndarray:
    p = s.within(0.2, 1, 4)
    return np.log(p / p.sum())


def _ctc(s: Maker) -> list[Case]:
    lengths = Fixed(np.array([5, 4])), Fixed(np.array([2, 1]))
    return [
        case(s.x(5, 2, 3), Fixed(np.array([[1, 2], [1, 1]])), *lengths, reduction=r, call=_of_log_chances)
        for r in ("mean", "sum", "none")
    ]


def _of_log_chances(f, x, *rest, **options):
    return f(x.log_softmax(-1), *rest, **options)


def _interpolations(s: Maker) -> list[Case]:
    image = (1, 2, 3, 3)
    return [
        case(s.x(1, 1, 3), 5, mode="linear"), case(s.x(*image), (4, 5), mode="bilinear", align_corners=True),
        case(s.x(1, 1, 3, 3), scale_factor=2, mode="bicubic"), case(s.x(*image), (2, 4), mode="nearest"),
        case(s.x(1, 1, 2, 2, 2), scale_factor=1.5, mode="trilinear"), case(s.x(*image), (2, 2), mode="area"),
        case(s.x(1, 1, 4, 4), (2, 3), mode="bilinear", antialias=True), case(s.x(*image), (2, 4), mode="nearest-exact"),
    ]  # fmt: skip


def _grids(s: Maker) -> list[Case]:
    grid = s.within(-0.43, 0.43, 1, 2, 2, 2) + s.rng.choice([-0.02, 0.02])
    return [
        case(s.x(1, 2, 3, 3), grid, "bilinear", "zeros", False), case(s.x(1, 1, 3, 3), grid * 3, "bilinear", "border", True),
        case(s.x(1, 1, 3, 3), grid * 3, "bilinear", "reflection", False), case(s.x(1, 1, 4, 4), grid, "bicubic", "zeros", False),
        case(s.x(1, 1, 3, 3), Fixed(grid), "nearest", "zeros", False),
        case(s.x(1, 1, 2, 2, 2), s.within(-0.4, -0.1, 1, 1, 2, 2, 3), "bilinear", "zeros", False),
    ]  # fmt: skip


def _sampler(n: int):
    shape, grid = ((1, 1, 3, 3), (1, 2, 2, 2)) if n == 2 else ((1, 1, 2, 2, 2), (1, 1, 2, 2, 3))
    return lambda s: [case(s.x(*shape), s.within(-0.4, -0.1, *grid), 0, 0, False)]


def _heads(s: Maker) -> list[Case]:
    return [
        case(s.x(3, 1, 4), s.x(2, 1, 4), s.x(2, 1, 4), 4, 2, s.x(12, 4), s.x(12), None, None, False, 0.0, s.x(4, 4), s.x(4)),
    ]  # fmt: skip


def _bags(s: Maker) -> list[Case]:
    return [
        case(s.integers(0, 4, 2, 3), s.x(4, 2), mode="sum"), case(s.integers(0, 4, 2, 3), s.x(4, 2), mode="mean"),
        case(s.integers(0, 4, 5), s.x(4, 2), Fixed(np.array([0, 2])), mode="sum", per_sample_weights=s.x(5)),
        case(s.permutation(4)[:3], s.distinct(4, 2), Fixed(np.array([0, 2])), mode="max"),
    ]  # fmt: skip


LOSSES = {
    "l1_loss": _pairs(),
    "mse_loss": _pairs(),
    "smooth_l1_loss": _pairs(beta=0.9),
    "huber_loss": _pairs(delta=0.9),
    "nll_loss": lambda s: [
        *(case(s.x(4, 3), _classes(s), reduction=r) for r in ("mean", "sum", "none")),
        case(s.x(4, 3), _classes(s), Fixed(s.within(0.5, 1, 3))), case(s.x(1, 3, 2), s.integers(0, 3, 1, 2)), case(s.x(3), s.integers(0, 3)),
    ],
    "cross_entropy": lambda s: [
        *(case(s.x(4, 3), _classes(s), reduction=r) for r in ("mean", "sum", "none")),
        case(s.x(4, 3), _classes(s), Fixed(s.within(0.5, 1, 3)), label_smoothing=0.1), case(s.x(4, 3), s.within(0.1, 1, 4, 3)),
        case(s.x(1, 3, 2), s.integers(0, 3, 1, 2)), case(s.x(3), s.integers(0, 3)),
    ],
    "linear_cross_entropy": lambda s: [case(s.x(4, 2), s.x(3, 2), _classes(s)), case(s.x(4, 2), s.x(3, 2), _classes(s), linear_bias=s.x(3), reduction="sum")],
    "poisson_nll_loss": lambda s: [
        *_reductions(_x, lambda s: s.within(2, 5, 4))(s), case(s.positive(4), s.within(2, 5, 4), log_input=False, full=True),
    ],
    "gaussian_nll_loss": lambda s: [*_reductions(_x, _x, lambda s: s.positive(4))(s), case(s.x(2, 3), s.x(2, 3), s.positive(2), full=True)],
    "kl_div": lambda s: [*(case(_log_chances(s), _chances(s), reduction=r) for r in ("batchmean", "sum", "none")), case(_log_chances(s), _log_chances(s), log_target=True, reduction="sum")],
    "binary_cross_entropy": lambda s: [*_reductions(_chances, _chances)(s), case(_chances(s), _chances(s), s.positive(4))],
    "binary_cross_entropy_with_logits": lambda s: [
        *_reductions(_x, _chances)(s), case(s.x(2, 3), s.within(0, 1, 2, 3), s.positive(3), pos_weight=s.positive(3)),
    ],
    "hinge_embedding_loss": _reductions(lambda s: s.within(0.2, 0.8, 4), _labels),
    "soft_margin_loss": _reductions(_x, _labels),
    "multilabel_soft_margin_loss": lambda s: [case(s.x(2, 3), Fixed(s.integers(0, 2, 2, 3).astype(float)), reduction=r) for r in ("mean", "sum", "none")],
    "multilabel_margin_loss": lambda s: [case(s.distinct(2, 4), Fixed(np.array([[3, 0, -1, 1], [1, -1, 0, 2]])), reduction=r) for r in ("mean", "none")],
    "multi_margin_loss": lambda s: [case(s.distinct(4, 3), _classes(s), reduction=r, p=p) for r in ("mean", "none") for p in (1, 2)],
    "margin_ranking_loss": lambda s: [case(*_apart(s), _labels(s), 0.05, reduction=r) for r in ("mean", "none")],
    "cosine_embedding_loss": lambda s: [case(s.x(4, 3), s.x(4, 3), _labels(s), -0.99, reduction=r) for r in ("mean", "none")],
    "triplet_margin_loss": lambda s: [case(s.x(2, 3), s.x(2, 3), s.x(2, 3), 4.0, reduction=r) for r in ("mean", "none")] + [case(s.x(2, 3), s.x(2, 3), s.x(2, 3), 9.0, swap=True)],
    "triplet_margin_with_distance_loss": lambda s: [case(s.x(2, 3), s.x(2, 3), s.x(2, 3), margin=9.0)],
    "ctc_loss": _ctc,
}  # fmt: skip

FUNCTIONS = {
    "softmax": lambda s: [case(s.x(2, 3), 1), case(s.x(3), -1)],
    "log_softmax": lambda s: [case(s.x(2, 3), 1)],
    "softmin": lambda s: [case(s.x(2, 3), 1)],
    "embedding": lambda s: [case(s.integers(0, 4, 2, 3), s.x(4, 2)), case(2 * s.integers(0, 2, 5), s.x(4, 2), 1), case(s.permutation(4), s.x(4, 2), scale_grad_by_freq=True)],
    "embedding_bag": _bags,
    "cosine_similarity": lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(3), s.x(2, 3), dim=-1)],
    "pairwise_distance": lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(2, 3), s.x(3), 3.0, keepdim=True)],
    "normalize": lambda s: [case(s.away(2, 3)), case(s.away(2, 3), 3.0, 0)],
    "glu": lambda s: [case(s.x(2, 4)), case(s.x(4, 2), 0)],
    "local_response_norm": lambda s: [case(s.x(1, 4, 3), 3), case(s.x(2, 3, 2, 1), 2, 0.1)],
    "instance_norm": lambda s: [case(s.x(2, 2, 4)), case(s.x(1, 2, 2, 2), weight=s.x(2), bias=s.x(2)), case(s.x(2, 2, 3), Fixed(np.array([0.1, 0.2])), Fixed(np.array([1.1, 0.9])), use_input_stats=False)],
    "group_norm": lambda s: [case(s.x(2, 4, 2), 2, s.x(4), s.x(4)), case(s.x(1, 4, 3), 4)],
    "rms_norm": lambda s: [case(s.x(2, 3), (3,), s.x(3)), case(s.x(2, 3), (2, 3))],
    "bilinear": lambda s: [case(s.x(2, 3), s.x(2, 2), s.x(2, 3, 2), s.x(2))],
    "interpolate": _interpolations,
    "upsample": lambda s: [case(s.x(1, 1, 2, 2), scale_factor=2, call=quietly)],
    "upsample_nearest": lambda s: [case(s.x(1, 1, 2, 2), scale_factor=2, call=quietly)],
    "upsample_bilinear": lambda s: [case(s.x(1, 1, 2, 2), scale_factor=2, call=quietly)],
    "grid_sample": _grids,
    "affine_grid": lambda s: [case(s.x(1, 2, 3), (1, 1, 2, 3), False), case(s.x(1, 3, 4), (1, 1, 2, 1, 2), True)],
    "pixel_shuffle": lambda s: [case(s.x(1, 4, 2, 1), 2)],
    "pixel_unshuffle": lambda s: [case(s.x(1, 1, 2, 4), 2)],
    "channel_shuffle": lambda s: [case(s.x(1, 4, 2), 2)],
    "unfold": lambda s: [case(s.x(1, 2, 3, 3), 2), case(s.x(1, 3, 4), 2, 1, 1, 2)],
    "fold": lambda s: [case(s.x(1, 4, 4), (3, 3), 2), case(s.x(1, 4, 9), (4, 4), 2, 1, 1, 2)],
    "lp_pool1d": lambda s: [case(s.positive(1, 2, 5), 2, 2)],
    "lp_pool2d": lambda s: [case(s.positive(1, 1, 4, 4), 3, 2)],
    "lp_pool3d": lambda s: [case(s.positive(1, 1, 2, 2, 2), 2, 2)],
    **{f"max_unpool{n}d": _unpooled(n) for n in (1, 2, 3)},
    **{f"fractional_max_pool{n}d{more}": _fractional(n) for n in (2, 3) for more in ("", "_with_indices")},
    "multi_head_attention_forward": _heads,
    "gumbel_softmax": lambda s: [case(s.x(2, 3), call=seeded)],
    "alpha_dropout": lambda s: [case(s.x(4), 0.4, True, call=seeded)],
    "feature_alpha_dropout": lambda s: [case(s.x(2, 3, 2), 0.4, True, call=seeded)],
    **{f"dropout{n}d": (lambda s, n=n: [case(s.x(2, 3, *(2,) * n), 0.4, call=seeded)]) for n in (1, 2, 3)},
    **LOSSES,
}  # fmt: skip


def _first(f, *args):
    """Gradients go through the first result alone."""
    return f(*args)[0]


ACTIVATIONS = ("relu", "hardtanh", "relu6", "hardsigmoid", "hardswish", "elu", "selu", "celu", "leaky_relu", "silu", "mish")


CASES = {
    **{f"nn.functional.{name}": _real(cases) for name, cases in FUNCTIONS.items()},
    **{f"conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"conv{n}d.padding": _padded_convolution(n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _real(_max_pooling(n)) for n in (1, 2, 3)},
    **{f"max_pool{n}d": _real(_max_pooling(n)) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _real(_pooling(n)) for n in (1, 2, 3)},
    **{f"adaptive_{k}_pool{n}d": _real(_adaptive(n)) for n in (1, 2, 3) for k in ("avg", "max")},
    **{f"adaptive_max_pool{n}d_with_indices": _real(_adaptive(n)) for n in (1, 2, 3)},
    "bilinear": lambda s: [case(s.x(2, 3), s.x(2, 2), s.x(2, 3, 2), s.x(2)), case(s.x(3), s.x(2), s.x(1, 3, 2))],
    "scaled_dot_product_attention": _real(_attention),
    "layer_norm": _real(lambda s: [case(s.x(2, 3), (3,), s.x(3), s.x(3)), case(s.x(2, 3), (2, 3)), case(s.x(2, 2, 2), (2, 2), s.x(2, 2))]),
    "rms_norm": _real(lambda s: [case(s.x(2, 3), (3,), s.x(3)), case(s.x(2, 3), (2, 3))]),
    "group_norm": _real(lambda s: [case(s.x(2, 4, 2), 2, s.x(4), s.x(4)), case(s.x(1, 4, 3), 4)]),
    "batch_norm": _real(_batch_norm),
    "grid_sampler": _real(_sampler(2)),
    "grid_sampler_2d": _real(_sampler(2)),
    "grid_sampler_3d": _real(_sampler(3)),
    **{f"{n}.functional": _real(lambda s: [case(s.distinct(2, 3)), case(s.distinct(2, 3), inplace=True, call=changed)]) for n in ACTIVATIONS},
    "threshold.functional": _real(lambda s: [case(s.distinct(2, 3), 0.2, -1.0), case(s.distinct(2, 3), 0.2, -1.0, inplace=True, call=changed)]),
    "softshrink.functional": _real(lambda s: [case(s.distinct(2, 3), 0.4)]),
    "native_layer_norm": _real(lambda s: [case(s.x(2, 3), (3,), s.x(3), s.x(3), 1e-5, call=_first)]),
    "native_group_norm": _real(lambda s: [case(s.x(2, 4, 3), s.x(4), s.x(4), 2, 4, 3, 2, 1e-5)]),
    "native_batch_norm": _real(lambda s: [case(s.x(3, 2), s.x(2), s.x(2), None, None, True, 0.1, 1e-5, call=_first)]),
    "nn.functional.conv_tbc": lambda s: [case(s.x(4, 1, 2), s.x(2, 2, 3), s.x(3), 1)],
    "threshold": _real(lambda s: [case(s.distinct(2, 3), 0.2, -1.0)]),
    "prelu": _real(lambda s: [case(s.away(2, 3), s.x(3)), case(s.away(4), s.x(1)), case(s.away(2, 2, 2), s.x(2))]),
    "rrelu": _real(lambda s: [case(s.away(2, 3)), case(s.away(2, 3), training=True, call=seeded)]),
    "rrelu.functional": _real(lambda s: [case(s.away(2, 3))]),
    "dropout": lambda s: [case(s.x(2, 3), 0.4, True, call=seeded), case(s.x(3), 0.4, False)],
    "dropout.functional": lambda s: [case(s.x(2, 3), 0.4, True, call=seeded)],
    "dropout_": lambda s: [case(s.x(2, 3), 0.4, True, call=drawn_in_place)],
}  # fmt: skip
