"""Margins between the classes that a sample belongs to and the others: a sum over pairs of them, and its slope."""

import math

from flambeau.ir.fn import cast, const, where

from .launch import Launch
from .table import Loop, op


# ints: classes. Where a sample's list ends is seen only while it is read: what is stored behind stays zero.
def _program(b, slope: bool):
    """Buffers: output, what classes outside of the list reach, sums, input, lists. One iteration: one sample."""
    output, reach, sums, x, lists = range(5)
    dtype = b.compute_dtype(x)
    zero, classes = const(0, dtype), b.int(0)
    with b.parallel() as sample:
        first = sample * classes
        with b.loop(0, classes, independent=True) as i:
            b.store(reach, first + i, b.load(x, first + i))
            b.store(sums, first + i, 0)
        listed = b.variable(const(0, "i64"), "i64")
        with b.loop(0, classes, simd=False) as k, b.when((listed.value == k) & (b.load(lists, first + k) >= 0)):
            b.store(reach, first + b.load(lists, first + k), -math.inf)
            listed.value = k + 1
        with b.loop(0, listed.value, simd=False) as k:
            at = first + b.load(lists, first + k)
            least = 1 - b.load(x, at)
            pairs = b.variable(const(0, "i32"), "i32")
            with b.loop(0, classes, independent=True) as i:
                margin = least + b.load(reach, first + i)
                more = where(margin > 0, const(1, dtype) if slope else margin, zero)
                b.store(sums, first + i, b.load(sums, first + i) + more)
                pairs.value = pairs.value + cast(margin > 0, "i32")
            if slope:
                b.store(sums, at, b.load(sums, at) - cast(pairs.value, dtype))
        count = cast(classes, dtype)
        if slope:
            with b.loop(0, classes, independent=True) as i:
                b.store(output, first + i, b.load(sums, first + i) / count)
            return
        total = b.variable(zero, dtype)
        with b.loop(0, classes, simd=False) as i:
            total.value = total.value + b.load(sums, first + i)
        b.store(output, sample, total.value / count)


def _check(o, self, target) -> None:
    """Raises where lists of classes are no int64, or name one that there is not."""
    if self.dtype is not o.float32 and self.dtype is not o.float64:
        kernel = "multilabel_margin_loss_forward_out_frame"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{self.dtype.title}'")
    if target.dtype is not o.int64:
        got = target.dtype.title
        raise RuntimeError(f"expected scalar type Long but found {got} [in multilabel_margin_loss: target]")
    classes = self.shape[-1]
    bad = o.first_outside(target + 1, classes + 1)
    if bad is not None:
        raise RuntimeError(
            f"argument #2 'target' is out of range [in multilabel_margin_loss: it holds {bad - 1}]. Classes lie in "
            f"[0, {classes}); -1 ends a list."
        )


def _plan(slope: bool):
    def plan(o, self, target):
        if not slope:
            _check(o, self, target)
        samples, classes = self.shape
        out, reach, sums = (
            o.empty(sizes, dtype=self.dtype, device=self.device)
            for sizes in ([samples, classes] if slope else [samples], [samples, classes], [samples, classes])
        )
        buffers = (out, reach, sums, self.contiguous(), target.contiguous())
        return Launch((out,), buffers, [classes], samples, 4 * classes, _program, (slope,))

    return plan


op(
    "multilabel_margins(Tensor self, Tensor target) -> Tensor",
    names=(),
    body=Loop(_plan(False)),
    grad=lambda o, g, self, target: (o.unsqueeze(g, 1) * o.multilabel_margin_slopes(self, target), None),
    doc="multilabel_margin_loss of each row.",
)
op(
    "multilabel_margin_slopes(Tensor self, Tensor target) -> Tensor",
    names=(),
    body=Loop(_plan(True)),
    differentiable=False,
    doc="The gradient of multilabel_margins, whose target was checked; constant between kinks.",
)
