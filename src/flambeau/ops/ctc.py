"""Connectionist temporal classification: the sum over all alignments of a target by dynamic programming, and its slope.

The states of a target a, b are: blank, a, blank, b, blank. A step goes on in its state, takes the next one, or skips a
blank between labels that differ. alpha[t, s] is the log of the probability of all beginnings that are in state s at step
t, beta[t, s] that of all ends (A. Graves et al., Connectionist Temporal Classification, ICML 2006).
"""

import math

from flambeau import _core
from flambeau.ir import fn

from .launch import Launch
from .table import Loop, op

_DTYPES = (_core.float32, _core.float64)
_PAD = 2  # impossible states beside the real ones, so that every state has two neighbours


# ints: steps, samples, classes, longest target, blank
class _Sample:
    """Sample n: its states and its rows of the buffers. `rows`: a state's class, and what skipping to it costs."""

    def __init__(self, b, n, log_probs: int):
        self.b, self.n, self._log_probs = b, n, log_probs
        labels, classes, penalties, steps, length = range(log_probs + 1, log_probs + 6)
        self._labels, self._classes, self._penalties = labels, classes, penalties
        self.steps, self.states = b.load(steps, n), b.load(length, n) * 2 + 1
        self.row = b.int(3) * 2 + 1 + _PAD
        self.none = fn.const(-math.inf, b.compute_dtype(log_probs))
        self._find_states(b, b.int(4))

    def _find_states(self, b, blank):
        with b.loop(0, self.row, independent=True) as s:
            at = self.n * b.int(3)
            first, second = (fn.maximum(fn.minimum(s // 2 - k, b.int(3) - 1), fn.const(0, "i64")) for k in (0, 1))
            label, before = (b.load(self._labels, at + k) for k in (first, second))
            is_label = fn.ne(s % 2, 0)
            b.store(self._classes, self.n * self.row + s, fn.where(is_label, label, blank))
            skips = fn.logical_and(fn.logical_and(is_label, s >= 3), fn.ne(label, before))
            skips = fn.logical_and(skips, s < self.states)
            b.store(self._penalties, self.n * self.row + s, fn.where(skips, fn.const(0, self.none.dtype), self.none))

    def class_of(self, s):
        return self.b.load(self._classes, self.n * self.row + s)

    def penalty(self, s):
        return self.b.load(self._penalties, self.n * self.row + s)

    def log_prob(self, t, c):
        return self.b.load(self._log_probs, (t * self.b.int(1) + self.n) * self.b.int(2) + c)


def _log_sum(*terms):
    """log(exp(a) + exp(b) + ...), also where all are log(0)."""
    greatest = terms[0]
    for x in terms[1:]:
        greatest = fn.where(x > greatest, x, greatest)
    shift = fn.where(fn.eq(greatest, -math.inf), fn.const(0, greatest.dtype), greatest)
    total = fn.exp(terms[0] - shift)
    for x in terms[1:]:
        total = total + fn.exp(x - shift)
    return fn.log(total) + shift


def _loss_program(b):
    """Buffers: losses, alpha [sample, step, padded states], log_probs, labels, and for each sample classes and penalties
    of its states, its steps, its length. The padding stands before the states."""
    with b.parallel() as n:
        sample = _Sample(b, n, 2)
        steps, states, row = sample.steps, sample.states, sample.row
        alpha = n * b.int(0) * row
        with b.when(steps > 0):
            with b.loop(0, steps, simd=False) as t, b.loop(0, _PAD) as s:
                b.store(1, alpha + t * row + s, sample.none)
            with b.loop(0, states, independent=True) as s:
                first = fn.where(s < 2, sample.log_prob(fn.const(0, "i64"), sample.class_of(s)), sample.none)
                b.store(1, alpha + s + _PAD, first)
        with b.loop(1, steps, simd=False) as t, b.loop(0, states, independent=True) as s:
            before = alpha + (t - 1) * row + s
            stay, step, skip = (b.load(1, before + k) for k in (_PAD, _PAD - 1, _PAD - 2))
            reached = _log_sum(stay, step, skip + sample.penalty(s))
            b.store(1, alpha + t * row + s + _PAD, reached + sample.log_prob(t, sample.class_of(s)))
        with b.when(steps > 0):
            last = alpha + (steps - 1) * row + states + _PAD
            b.store(0, n, -_log_sum(b.load(1, last - 1), b.load(1, last - 2)))
        with b.otherwise():  # only an empty target fits no steps
            b.store(0, n, fn.where(fn.eq(states, 1), fn.const(0, sample.none.dtype), -sample.none))


def _slope_program(b, zero_infinity: bool):
    """Buffers: slopes (like log_probs), beta [sample, two steps, states and padding], occupancies [sample, states], alpha,
    losses, and then as of `_loss_program` from log_probs on."""
    with b.parallel() as n:
        sample = _Sample(b, n, 5)
        steps, states, row, none = sample.steps, sample.states, sample.row, sample.none
        alpha, beta = n * b.int(0) * row, n * 2 * row
        loss = b.load(4, n)
        possible = loss < math.inf

        def slope_at(t, c):
            return (t * b.int(1) + n) * b.int(2) + c

        with b.loop(0, 2 * row) as s:
            b.store(1, beta + s, none)
        with b.loop(0, steps, simd=False) as back:
            t = steps - 1 - back
            now, after = beta + back % 2 * row, beta + (back + 1) % 2 * row
            with b.loop(0, states, independent=True) as s:
                stay, step, skip = (b.load(1, after + s + k) for k in (0, 1, 2))
                reached = _log_sum(stay, step, skip + sample.penalty(s + 2))
                start = fn.where(s >= states - 2, fn.const(0, none.dtype), none)
                log_prob = sample.log_prob(t, sample.class_of(s))
                follows = fn.where(fn.eq(back, 0), start, reached)
                b.store(1, now + s, follows + log_prob)
                b.store(2, n * row + s, fn.exp(b.load(3, alpha + t * row + s + _PAD) + follows + loss))
            with b.loop(0, b.int(2), independent=True) as c:
                p = fn.exp(sample.log_prob(t, c))
                wrong = fn.const(0.0 if zero_infinity else math.nan, none.dtype)
                b.store(0, slope_at(t, c), fn.where(possible, p, wrong))
            with b.when(possible), b.loop(0, states, simd=False) as s:
                at = slope_at(t, sample.class_of(s))
                b.store(0, at, b.load(0, at) - b.load(2, n * row + s))
        with b.loop(steps, b.int(0), simd=False) as t, b.loop(0, b.int(2)) as c:
            b.store(0, slope_at(t, c), 0)


def _temporaries(o, log_probs, labels):
    n, longest = labels.shape
    row = (n, 2 * longest + 1 + _PAD)
    options = {"dtype": log_probs.dtype, "device": log_probs.device}
    return o.empty(row, dtype=o.int64, device=log_probs.device), o.empty(row, **options), row, options


def _ints(log_probs, labels, blank):
    return [*log_probs.shape, labels.shape[1], blank]


def _loss_plan(o, log_probs, labels, steps, lengths, blank, zero_infinity):
    classes, penalties, (n, row), options = _temporaries(o, log_probs, labels)
    loss, alpha = o.empty((n,), **options), o.empty((n, log_probs.shape[0], row), **options)
    buffers = (loss, alpha, log_probs.contiguous(), labels, classes, penalties, steps, lengths)
    work = 16 * log_probs.shape[0] * row
    return Launch((loss, alpha), buffers, _ints(log_probs, labels, blank), n, work, _loss_program)


def _slope_plan(o, log_probs, labels, steps, lengths, blank, zero_infinity, loss, alpha):
    classes, penalties, (n, row), options = _temporaries(o, log_probs, labels)
    slope, beta, occupied = o.empty(log_probs.shape, **options), o.empty((n, 2, row), **options), o.empty((n, row), **options)
    buffers = (
        slope, beta, occupied, alpha, loss, log_probs.contiguous(), labels, classes, penalties, steps, lengths,
    )  # fmt: skip
    work = log_probs.shape[0] * (16 * row + 8 * log_probs.shape[2])
    return Launch((slope,), buffers, _ints(log_probs, labels, blank), n, work, _slope_program, (zero_infinity,))


def _loss_grad(o, g, log_probs, labels, steps, lengths, blank, zero_infinity):
    loss, alpha = o.saved.output(0), o.saved.output(1)
    slope = o.ctc_slope(log_probs, labels, steps, lengths, blank, zero_infinity, loss, alpha)
    return o.mul(o.unsqueeze(g[0], 1), slope), None, None, None


op(
    "ctc(Tensor log_probs, Tensor labels, Tensor steps, Tensor lengths, int blank, bool zero_infinity) -> (Tensor, Tensor)",
    names=(),
    dtypes=_DTYPES,
    body=Loop(_loss_plan),
    grad=_loss_grad,
    saves=("o0", "o1"),
    doc="-log of the probability of each sample's labels, and alpha. The gradient is that of the logits before log_softmax.",
)
op(
    "ctc_slope(Tensor log_probs, Tensor labels, Tensor steps, Tensor lengths, int blank, bool zero_infinity, Tensor loss, "
    "Tensor alpha) -> Tensor",
    names=(),
    dtypes=_DTYPES,
    body=Loop(_slope_plan),
    grad=lambda o, h, log_probs, *rest: (
        o.missing_derivative(log_probs, "_ctc_loss_backward"), *[None] * 5,
    ),
    doc="The slope of each loss of `ctc` in the logits: the probabilities less the share that the alignments have.",
)  # fmt: skip
