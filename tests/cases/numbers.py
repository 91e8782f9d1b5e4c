"""Element by element, sums of all kinds, statistics, products with factors."""

import numpy as np

from cases.make import Case, Fixed, Maker, case, changed


def _real(cases):
    return lambda s: cases(s) if s.real else []


def _one(s: Maker) -> list[Case]:
    return [case(s.away(2, 3)), case(s.x())]


def _two(s: Maker) -> list[Case]:
    return [case(s.away(2, 3), s.away(2, 3)), case(s.positive(2, 1), s.positive(3)), case(s.positive(2), s.positive())]


def _spread(s: Maker) -> list[Case]:
    return [case(s.x(2, 3)), case(s.x(2, 3), 1), case(s.x(2, 3), 0, correction=0, keepdim=True)]


def _scaled_products(*shapes: tuple[int, ...]):
    """addmm and its like: the term added, the factors."""
    return lambda s: [
        case(*(s.x(*shape) for shape in shapes)), case(*(s.x(*shape) for shape in shapes), beta=0.5, alpha=1.5),
        case(s.x(*shapes[0][-1:]), *(s.x(*shape) for shape in shapes[1:]), beta=2) if len(shapes[0]) else case(*(s.x(*shape) for shape in shapes)),
    ]  # fmt: skip


MASK = np.array([[True, False, True], [False, True, True]])


def _masked(*arguments, **options):
    return _real(lambda s: [
        case(s.distinct(2, 3), *arguments, mask=Fixed(MASK), **options), case(s.positive(2, 3), *arguments, **options),
    ])  # fmt: skip


def _masked_reduction(s: Maker) -> list[Case]:
    return [case(s.distinct(2, 3), mask=Fixed(MASK)), case(s.distinct(2, 3), 1, mask=Fixed(MASK), keepdim=True), case(s.positive(2, 3), (0, 1))]


CASES = {
    "div.Tensor_mode": lambda s: [case(s.x(2, 3), s.positive(3), rounding_mode=None)],
    "div_.Tensor_mode": lambda s: [case(s.x(2, 3), s.positive(3), rounding_mode=None, call=changed)],
    "pow.Tensor_Scalar": lambda s: [case(s.positive(2, 3), p) for p in (0, 1, 2, 2.5, -1, 0.5)],
    "pow_.Scalar": lambda s: [case(s.positive(2, 3), 2.5, call=changed)],
    "float_power": lambda s: [case(s.positive(2, 3), s.x(3)), case(s.positive(2), 2)],
    "float_power.Scalar": lambda s: [case(1.5, s.x(3))],
    "float_power_": lambda s: [case(s.positive(2, 3), s.x(3), call=changed)],
    "celu": lambda s: [case(s.distinct(2, 3), 0.7)] if s.real else [],
    "celu_": lambda s: [case(s.distinct(2, 3), 0.7, call=changed)] if s.real else [],
    "ldexp": lambda s: [case(s.x(2, 3), s.real_x(3))] if s.real else [],
    "ldexp_": lambda s: [case(s.x(2, 3), s.real_x(3), call=changed)] if s.real else [],
    "frexp": _real(lambda s: [case(s.away(2, 3))]),
    "nan_to_num_": _real(lambda s: [case(s.x(2, 3), call=changed)]),
    "polygamma": _real(lambda s: [case(n, s.positive(2, 2)) for n in (0, 1, 2)]),
    "polygamma.method": _real(lambda s: [case(s.positive(2, 2), 1)]),
    "polygamma_": _real(lambda s: [case(s.positive(2, 2), 1, call=changed)]),
    "mvlgamma": _real(lambda s: [case(s.positive(2, 2) + 2, 3)]),
    "mvlgamma_": _real(lambda s: [case(s.positive(2, 2) + 2, 3, call=changed)]),
    "special_zeta": _real(lambda s: [case(Fixed(s.positive(2) + 1), s.positive(2))]),
    "igamma": _real(lambda s: [case(Fixed(s.positive(2, 2)), s.positive(2, 2))]),
    "igammac": _real(lambda s: [case(Fixed(s.positive(2, 2)), s.positive(2, 2))]),
    "max.other": _real(lambda s: [case(*s.distinct(2, 4))]),
    "min.other": _real(lambda s: [case(*s.distinct(2, 4))]),
    "clamp": _real(lambda s: [
        case(s.distinct(2, 3), -0.3, 0.4), case(*s.distinct(3, 4)), case(s.distinct(4), min=0.05), case(s.distinct(4), None, s.within(0, 0.1)),
    ]),
    "clamp_min": _real(lambda s: [case(s.distinct(2, 3), 0.05)]),
    "clamp_max": _real(lambda s: [case(s.distinct(2, 3), 0.05)]),
    "positive": _one,
    # statistics
    "var.correction": _spread,
    "std.correction": _spread,
    "var_mean.correction": _spread,
    "std_mean.correction": _spread,
    **{f"{n}.unbiased": lambda s: [case(s.x(2, 3), False), case(s.x(4), True)] for n in ("var", "std", "var_mean", "std_mean")},
    **{f"{n}.dim": lambda s: [case(s.x(2, 3), 1), case(s.x(2, 3), (0, 1), False, True)] for n in ("var", "std", "var_mean", "std_mean")},
    "aminmax": _real(lambda s: [case(s.distinct(2, 3)), case(s.distinct(2, 3), dim=1), case(s.distinct(2, 3), dim=0, keepdim=True)]),
    "cov": lambda s: [case(s.x(2, 4)), case(s.x(4)), case(s.x(2, 4), correction=0, fweights=Fixed(s.integers(1, 4, 4)), aweights=Fixed(s.within(0.5, 1, 4)))],
    "corrcoef": lambda s: [case(s.x(2, 4))],
    "renorm": lambda s: [case(s.away(3, 2), 2, 0, 1.0), case(s.away(2, 3), 1, 1, 1.5)],
    "dist": lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(2, 1), s.x(3), 3), case(s.x(3), s.x(3), 1)],
    "gradient.scalarint": lambda s: [case(s.x(4)), case(s.x(3, 4), spacing=0.5, dim=1, edge_order=2)],
    "gradient.scalararray": lambda s: [case(s.x(3, 4), spacing=0.5, dim=(0, 1))],
    "gradient.scalarrayint": lambda s: [case(s.x(3, 4), spacing=(0.5, 2.0))],
    "gradient.scalarrayarray": lambda s: [case(s.x(3, 4), spacing=(0.5, 2.0), dim=(0, 1))],
    "gradient.tensorarrayint": lambda s: [case(s.x(4), spacing=[Fixed(np.array([0.0, 1.0, 2.5, 3.0]))])],
    "gradient.tensorarray": lambda s: [case(s.x(4), spacing=[Fixed(np.array([0.0, 1.0, 2.5, 3.0]))], dim=(0,))],
    # products
    "addmm": _scaled_products((2, 3), (2, 2), (2, 3)),
    "addmv": _scaled_products((3,), (3, 2), (2,)),
    "addbmm": _scaled_products((2, 2), (2, 2, 3), (2, 3, 2)),
    "baddbmm": _scaled_products((2, 2, 2), (2, 2, 3), (2, 3, 2)),
    "addr": _scaled_products((2, 3), (2,), (3,)),
    "addbmm_": lambda s: [case(s.x(2, 2), s.x(2, 2, 3), s.x(2, 3, 2), beta=0.5, call=changed)],
    "outer": lambda s: [case(s.x(2), s.x(3))],
    "ger": lambda s: [case(s.x(2), s.x(3))],
    "einsum": lambda s: [
        case("ij,jk->ik", s.x(2, 3), s.x(3, 2)), case("bi,bi->b", s.x(2, 3), s.x(2, 3)), case("ii->i", s.x(3, 3)),
        case("ij,kl,jk->il", s.x(2, 2), s.x(2, 2), s.x(2, 2)), case("...i->...", s.x(2, 3)),
    ],
    # with masks
    **{f"masked_{n}": _real(_masked_reduction) for n in ("sum", "prod", "amax", "amin", "mean", "var", "std", "logsumexp")},
    "masked_norm": _masked(2.0, 1),
    "masked_logaddexp": _real(lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(2, 3), s.x(2, 3), input_mask=Fixed(MASK | True), other_mask=Fixed(MASK))]),
    "masked_median": _masked(1),
    "masked_cumsum": _masked(1),
    "masked_cumprod": _masked(0),
    "masked_softmax": _masked(1),
    "masked_log_softmax": _real(lambda s: [case(s.x(2, 3), 1)]),
    "masked_softmin": _masked(1),
    "masked_normalize": _masked(2.0, 1),
}  # fmt: skip
