"""SGD, Adam and AdamW as one generated kernel over all parameters of a group: one launch a step.

A kernel reads each parameter, its gradient and its state once and writes them back. Which options are on is compiled
in; their values are run-time numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from flambeau import _core
from flambeau import functional_ns as o

Tensor = o.Tensor


def _sgd_body(nesterov: bool, momentum: bool, first: bool, decay: bool, maximize: bool) -> Callable:
    """Takes (param, gradient, buffer unless there is none yet, numbers)."""

    def body(p, g, buffer, lr, weight_decay, mu, keep):
        g = -g if maximize else g
        g = g + p * weight_decay if decay else g
        if not momentum:
            return p - g * lr
        buffer = g if first else buffer * mu + g * keep
        g = g + buffer * mu if nesterov else buffer
        return p - g * lr, buffer

    if momentum and not first:
        return body
    return lambda p, g, *rest: body(p, g, None, *rest)


def _adam_body(decoupled: bool, amsgrad: bool, decay: bool, maximize: bool) -> Callable:
    from flambeau.ir.fn import maximum, sqrt

    def body(p, g, m, v, *rest):
        largest, rest = (rest[0], rest[1:]) if amsgrad else (None, rest)
        shrink, weight_decay, grow1, keep2, grow2, scale, eps, rate = rest
        g = -g if maximize else g
        if decay:
            p, g = (p * shrink, g) if decoupled else (p, g + p * weight_decay)
        m = m + (g - m) * grow1
        v = v * keep2 + g * g * grow2
        square = maximum(largest, v) if amsgrad else v
        p = p - m / (sqrt(square) / scale + eps) * rate
        return (p, m, v, square) if amsgrad else (p, m, v)

    return body


@cache
def _kernel(name: str, flags: tuple[bool, ...], dtypes: tuple[str, ...], n_outputs: int, n_numbers: int) -> int:
    """The address of a program's kernel."""
    from flambeau.codegen.resolve import compile_program, resolve_family
    from flambeau.codegen.target import host
    from flambeau.ir.program import In, Par, trace
    from flambeau.ir.types import compute_dtype

    outputs = dtypes[:1] * n_outputs
    classes = "c" * (len(outputs) + len(dtypes))
    key = f"fused_{name}|step|{flags}|{','.join((*outputs, *dtypes))}|{classes}|{host().level}"

    def make():
        body = (_sgd_body if name == "sgd" else _adam_body)(*flags)
        number = Par(compute_dtype(dtypes[0]))
        program = trace(body, [*(In(d) for d in dtypes), *[number] * n_numbers], outputs, f"fused_{name}")
        return compile_program(program, host(), classes)

    return resolve_family(key, make)["k"]


def run(
    name: str, params: Sequence[Tensor], grads: Sequence[Tensor], states: Sequence[dict], s: dict[str, Any]
) -> bool:
    """Runs a step by one kernel; False (and nothing done) where these tensors want the plain formula."""
    prepare = _PREPARE.get(name)
    if prepare is None or not params or s.get("differentiable"):
        return False
    return prepare(params, grads, states, s)


def _launch(name: str, flags: tuple[bool, ...], flat: list[Tensor], width: int, outputs: int, numbers: list) -> None:
    """`flat`: for each parameter its outputs, then its inputs, `width` tensors together."""
    dtypes = (_core.dtype_code(flat[0].dtype),) * (width - outputs)
    address = _kernel(name, flags, dtypes, outputs, len(numbers))
    _core.run_multi(address, flat, width, numbers, outputs)


def _sgd(params, grads, states, s) -> bool:
    momentum = s["momentum"] != 0
    fresh = momentum and all(state.get("momentum_buffer") is None for state in states)
    if momentum and not fresh and any(state.get("momentum_buffer") is None for state in states):
        return False
    if fresh:
        buffers = [o.empty_like(p) for p in params]
        flat = [t for p, b, g in zip(params, buffers, grads, strict=True) for t in (p, b, p, g)]
    elif momentum:
        buffers = [state["momentum_buffer"] for state in states]
        flat = [t for p, b, g in zip(params, buffers, grads, strict=True) for t in (p, b, p, g, b)]
    else:
        flat = [t for p, g in zip(params, grads, strict=True) for t in (p, p, g)]
    width = len(flat) // len(params)
    if not _core.fits_multi(flat, width):
        return False
    if fresh:
        for state, buffer in zip(states, buffers, strict=True):
            state["momentum_buffer"] = buffer
    flags = (bool(s["nesterov"]), momentum, fresh, s["weight_decay"] != 0, bool(s["maximize"]))
    numbers = [float(s["lr"]), float(s["weight_decay"]), float(s["momentum"]), 1.0 - s["dampening"]]
    _launch("sgd", flags, flat, width, 2 if momentum else 1, numbers)
    return True


def _adam(params, grads, states, s) -> bool:
    amsgrad = bool(s["amsgrad"])
    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
    flat: list[Tensor] = []
    for p, g, state in zip(params, grads, states, strict=True):
        kept = [state[name] for name in names]
        flat += (p, *kept, p, g, *kept)
    width = len(flat) // len(params)
    if not _core.fits_multi(flat, width):
        return False
    counts = _core.count_up([state["step"] for state in states])
    if counts is None:
        return False
    lr, beta1, beta2, decay = float(s["lr"]), float(s["beta1"]), float(s["beta2"]), float(s["weight_decay"])
    flags = (bool(s["decoupled_weight_decay"]), amsgrad, decay != 0, bool(s["maximize"]))
    for step in dict.fromkeys(counts):  # one, unless parameters joined later or had no gradient once
        numbers = [
            1 - lr * decay, decay, 1 - beta1, beta2, 1 - beta2, math.sqrt(1 - beta2**step), float(s["eps"]),
            lr / (1 - beta1**step),
        ]  # fmt: skip
        members = flat
        if counts.count(step) != len(counts):
            members = [t for i, n in enumerate(counts) if n == step for t in flat[i * width : (i + 1) * width]]
        _launch("adam", flags, members, width, 1 + len(names), numbers)
    return True


_PREPARE = {"sgd": _sgd, "adam": _adam}
