"""One step of an optimizer over all parameters of a group.

`apply` is the only place that changes parameters. A program is a name, and a formula over one parameter that serves
where no kernel over all parameters at once stands behind the name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.optim import _fused

Tensor = o.Tensor
State = dict[str, Any]
Formula = Callable[[Tensor, Tensor, State, dict[str, Any]], None]

_FORMULAS: dict[str, Formula] = {}


def program(name: str) -> Callable[[Formula], Formula]:
    """Registers the formula of a program."""

    def register(formula: Formula) -> Formula:
        _FORMULAS[name] = formula
        return formula

    return register


def apply(
    name: str, params: Sequence[Tensor], grads: Sequence[Tensor], states: Sequence[State], scalars: dict[str, Any]
) -> None:
    """Runs a program over all parameters.

    Args:
        name: the program's name.
        params: what to change.
        grads: their gradients.
        states: what is remembered of each parameter; entries are changed, and may be added.
        scalars: the options of the step, the same for all parameters.
    """
    if _fused.run(name, params, grads, states, scalars):
        return
    formula = _FORMULAS[name]
    for param, grad, state in zip(params, grads, states, strict=True):
        if scalars.get("maximize", False):
            grad = -grad
        if param.is_complex():
            _apply_to_pairs(formula, param, grad, state, scalars)
        else:
            formula(param, grad, state, scalars)


def _apply_to_pairs(formula: Formula, param: Tensor, grad: Tensor, state: State, scalars: dict[str, Any]) -> None:
    """A complex parameter is optimized as twice as many real ones."""
    real = {k: o.view_as_real(v) if isinstance(v, Tensor) and v.is_complex() else v for k, v in state.items()}
    formula(o.view_as_real(param), o.view_as_real(grad), real, scalars)
    for key, value in real.items():
        if key not in state or state[key] is None:
            state[key] = o.view_as_complex(value) if isinstance(value, Tensor) and value.dim() > param.dim() else value


def counted(state: State) -> float:
    """Counts a step and returns how many there were."""
    step = state["step"]
    step += 1
    return step.item()


def _decayed(grad: Tensor, param: Tensor, weight_decay: float) -> Tensor:
    return grad.add(param, alpha=weight_decay) if weight_decay != 0 else grad


@program("sgd")
def _sgd(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    grad = _decayed(grad, param, s["weight_decay"])
    momentum = s["momentum"]
    if momentum != 0:
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = state["momentum_buffer"] = grad.detach().clone()
        else:
            buffer.mul_(momentum).add_(grad, alpha=1 - s["dampening"])
        grad = grad.add(buffer, alpha=momentum) if s["nesterov"] else buffer
    param.add_(grad, alpha=-s["lr"])


@program("adam")
def _adam(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    lr, beta1, beta2 = s["lr"], s["beta1"], s["beta2"]
    if s["decoupled_weight_decay"]:
        if s["weight_decay"] != 0:
            param.mul_(1 - lr * s["weight_decay"])
    else:
        grad = _decayed(grad, param, s["weight_decay"])
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(grad, 1 - beta1)
    square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    if s["amsgrad"]:
        largest = state["max_exp_avg_sq"]
        square = largest.copy_(o.maximum(largest, square))
    scale = math.sqrt(1 - beta2**step)
    denominator = (square.sqrt() / scale).add_(s["eps"])
    param.addcdiv_(mean, denominator, value=-lr / (1 - beta1**step))


@program("adagrad")
def _adagrad(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    grad = _decayed(grad, param, s["weight_decay"])
    total = state["sum"]
    total.addcmul_(grad, grad, value=1)
    param.addcdiv_(grad, total.sqrt().add_(s["eps"]), value=-s["lr"] / (1 + (step - 1) * s["lr_decay"]))


@program("rmsprop")
def _rmsprop(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    counted(state)
    grad = _decayed(grad, param, s["weight_decay"])
    square, alpha = state["square_avg"], s["alpha"]
    square.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
    if s["centered"]:
        mean = state["grad_avg"]
        mean.lerp_(grad, 1 - alpha)
        root = square.addcmul(mean, mean, value=-1).sqrt_()
    else:
        root = square.sqrt()
    root = root.add_(s["eps"])
    if s["momentum"] > 0:
        buffer = state["momentum_buffer"]
        buffer.mul_(s["momentum"]).addcdiv_(grad, root)
        param.add_(buffer, alpha=-s["lr"])
    else:
        param.addcdiv_(grad, root, value=-s["lr"])


@program("adadelta")
def _adadelta(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    counted(state)
    grad = _decayed(grad, param, s["weight_decay"])
    square, moved, rho, eps = state["square_avg"], state["acc_delta"], s["rho"], s["eps"]
    square.mul_(rho).addcmul_(grad, grad, value=1 - rho)
    delta = moved.add(eps).sqrt_().div_(square.add(eps).sqrt_()).mul_(grad)
    moved.mul_(rho).addcmul_(delta, delta, value=1 - rho)
    param.add_(delta, alpha=-s["lr"])


@program("adamax")
def _adamax(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    grad = _decayed(grad, param, s["weight_decay"])
    mean, largest = state["exp_avg"], state["exp_inf"]
    mean.lerp_(grad, 1 - s["beta1"])
    largest.copy_(o.maximum(largest.mul_(s["beta2"]), grad.abs().add_(s["eps"])))
    param.addcdiv_(mean, largest, value=-s["lr"] / (1 - s["beta1"] ** step))


@program("nadam")
def _nadam(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    lr, beta1, beta2 = s["lr"], s["beta1"], s["beta2"]
    if s["decoupled_weight_decay"]:
        if s["weight_decay"] != 0:
            param.mul_(1 - lr * s["weight_decay"])
    else:
        grad = _decayed(grad, param, s["weight_decay"])
    mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (n * s["momentum_decay"])) for n in (step, step + 1))
    state["mu_product"] *= mu
    product = state["mu_product"].item()
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(grad, 1 - beta1)
    square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = square.div(1 - beta2**step).sqrt().add_(s["eps"])
    param.addcdiv_(grad, denominator, value=-lr * (1.0 - mu) / (1.0 - product))
    param.addcdiv_(mean, denominator, value=-lr * mu_next / (1.0 - product * mu_next))


@program("radam")
def _radam(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    lr, beta1, beta2 = s["lr"], s["beta1"], s["beta2"]
    if s["decoupled_weight_decay"]:
        if s["weight_decay"] != 0:
            param.mul_(1 - lr * s["weight_decay"])
    else:
        grad = _decayed(grad, param, s["weight_decay"])
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(grad, 1 - beta1)
    square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    correction = 1 - beta2**step
    limit = 2 / (1 - beta2) - 1  # length of the average's memory
    length = limit - 2 * step * beta2**step / correction
    update = mean / (1 - beta1**step)
    if length > 5.0:  # the variance of the adaptive rate is known well enough
        factor = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
        update = update * (math.sqrt(correction) / square.sqrt().add_(s["eps"])) * factor
    param.add_(update, alpha=-lr)


@program("asgd")
def _asgd(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    grad = _decayed(grad, param, s["weight_decay"])
    eta, mu, average = state["eta"].item(), state["mu"].item(), state["ax"]
    param.mul_(1 - s["lambd"] * eta)
    param.add_(grad, alpha=-eta)
    if mu == 1:
        average.copy_(param)
    else:
        average.add_(param.sub(average).mul_(mu))
    state["eta"].fill_(s["lr"] / ((1 + s["lambd"] * s["lr"] * step) ** s["alpha"]))
    state["mu"].fill_(1 / max(1, step - s["t0"]))


@program("rprop")
def _rprop(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    counted(state)
    previous, size = state["prev"], state["step_size"]
    agreement = grad.mul(previous).sign()
    factor = o.where(agreement > 0, s["etaplus"], o.where(agreement < 0, s["etaminus"], o.ones_like(agreement)))
    size.mul_(factor).clamp_(s["step_size_min"], s["step_size_max"])
    grad = o.where(agreement < 0, 0, grad)  # after a change of sign the step is skipped
    param.addcmul_(grad.sign(), size, value=-1)
    previous.copy_(grad)


@program("adafactor")
def _adafactor(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    step = counted(state)
    eps1, eps2 = s["eps"]
    eps1 = o.epsilon(param.dtype) if eps1 is None else eps1
    forget = step ** s["beta2_decay"]
    rate = min(s["lr"], 1 / math.sqrt(step)) * max(eps2, o.linalg.vector_norm(param).item() / math.sqrt(param.numel()))
    if s["weight_decay"] != 0:
        param.mul_(1 - s["lr"] * s["weight_decay"])
    if grad.dim() > 1:
        rows, columns = state["row_var"], state["col_var"]
        rows.lerp_(grad.square().mean(-1, keepdim=True), forget)
        columns.lerp_(grad.square().mean(-2, keepdim=True), forget)
        estimate = rows @ columns
        estimate.div_(rows.mean(-2, keepdim=True).clamp_(min=eps1))
    else:
        state["variance"].lerp_(grad.square(), forget)
        estimate = state["variance"].clone()
    update = estimate.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
    size = o.linalg.vector_norm(update).item() / (math.sqrt(update.numel()) * s["d"])
    param.add_(update, alpha=-rate / max(1.0, size))


@program("muon")
def _muon(param: Tensor, grad: Tensor, state: State, s: dict[str, Any]) -> None:
    buffer = state["momentum_buffer"]
    buffer.lerp_(grad, 1 - s["momentum"])
    update = grad.lerp(buffer, s["momentum"]) if s["nesterov"] else buffer
    update = _orthogonalized(update, s["ns_coefficients"], s["ns_steps"], s["eps"])
    param.mul_(1 - s["lr"] * s["weight_decay"])
    param.add_(update, alpha=-s["lr"] * _matrix_scale(s["adjust_lr_fn"], param.shape))


def _orthogonalized(grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton and Schulz's iteration towards the nearest orthogonal matrix, in bfloat16."""
    a, b, c = coefficients
    x = grad.bfloat16()
    tall = grad.size(0) > grad.size(1)
    x = x.T if tall else x
    x = x / o.linalg.vector_norm(x).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = o.addmm(x, o.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(grad.dtype)


def _matrix_scale(how: str | None, shape: Sequence[int]) -> float:
    """By how much the rate of a matrix differs from that given."""
    rows, columns = shape[:2]
    if how == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))
