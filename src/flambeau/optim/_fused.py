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
    if prepare is None or not params or not _suitable(params, grads, s):
        return False
    return prepare(params, grads, states, s)


def _suitable(params: Sequence[Tensor], grads: Sequence[Tensor], s: dict[str, Any]) -> bool:
    if s.get("differentiable") or isinstance(s["lr"], Tensor):
        return False
    dtype = params[0].dtype
    return dtype.is_floating_point and all(
        p.dtype is dtype
        and g.dtype is dtype
        and g.stride() == p.stride()
        and p.is_contiguous()
        and p.device.type == "cpu"
        for p, g in zip(params, grads, strict=True)
    )


def _launch(name, flags, groups, n_outputs, numbers) -> None:
    """groups: for each parameter its outputs, then its inputs."""
    width = len(groups[0])
    operands = groups[0][n_outputs:]
    dtypes = tuple(_core.dtype_code(t.dtype) for t in operands)
    address = _kernel(name, flags, dtypes, n_outputs, len(numbers))
    _core.run_multi(address, [t for g in groups for t in g], width, numbers)
    for g in groups:
        for t in g[:n_outputs]:
            _core.increment_version(t)


def _sgd(params, grads, states, s) -> bool:
    momentum = s["momentum"] != 0
    fresh = momentum and all(state.get("momentum_buffer") is None for state in states)
    if momentum and not fresh and any(state.get("momentum_buffer") is None for state in states):
        return False
    if fresh:
        for p, state in zip(params, states, strict=True):
            state["momentum_buffer"] = o.empty_like(p)
    flags = (bool(s["nesterov"]), momentum, fresh, s["weight_decay"] != 0, bool(s.get("maximize")))
    numbers = [float(s["lr"]), float(s["weight_decay"]), float(s["momentum"]), 1.0 - s["dampening"]]
    if not momentum:
        _launch("sgd", flags, [(p, p, g) for p, g in zip(params, grads, strict=True)], 1, numbers)
        return True
    buffers = [state["momentum_buffer"] for state in states]
    if any(b.stride() != p.stride() for b, p in zip(buffers, params, strict=True)):
        return False
    inputs = (lambda p, g, b: (p, g)) if fresh else (lambda p, g, b: (p, g, b))
    _launch(
        "sgd", flags, [(p, b, *inputs(p, g, b)) for p, g, b in zip(params, grads, buffers, strict=True)], 2, numbers
    )
    return True


def _adam(params, grads, states, s) -> bool:
    amsgrad = bool(s["amsgrad"])
    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
    kept = [tuple(state[n] for n in names) for state in states]
    if any(t.stride() != p.stride() or t.dtype is not p.dtype for p, ts in zip(params, kept, strict=True) for t in ts):
        return False
    by_step: dict[float, list[int]] = {}
    for i, state in enumerate(states):
        state["step"] += 1
        by_step.setdefault(float(state["step"]), []).append(i)
    lr, beta1, beta2, decay = float(s["lr"]), float(s["beta1"]), float(s["beta2"]), float(s["weight_decay"])
    flags = (bool(s["decoupled_weight_decay"]), amsgrad, decay != 0, bool(s.get("maximize")))
    for step, members in by_step.items():
        numbers = [
            1 - lr * decay, decay, 1 - beta1, beta2, 1 - beta2, math.sqrt(1 - beta2**step), float(s["eps"]),
            lr / (1 - beta1**step),
        ]  # fmt: skip
        groups = [(params[i], *kept[i], params[i], grads[i], *kept[i]) for i in members]
        _launch("adam", flags, groups, 1 + len(names), numbers)
    return True


_PREPARE = {"sgd": _sgd, "adam": _adam}
