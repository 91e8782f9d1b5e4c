"""What the optimizers that run as one program over all parameters share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from flambeau import functional_ns as o
from flambeau.optim import _multi
from flambeau.optim.optimizer import Optimizer

Tensor = o.Tensor


def below_zero(value: Any) -> bool:
    """Whether a number is below zero, or nan."""
    return not 0.0 <= value  # noqa: SIM300 - who compares a str sees the order in the error


def check_rate(lr: Any) -> None:
    """Raises where a learning rate cannot be one."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_not_negative("learning rate", lr)


def check_not_negative(what: str, value: Any) -> None:
    """Raises where a value is below zero, or is nan."""
    if below_zero(value):
        raise ValueError(f"Invalid {what}: {value}")


def check_betas(betas: Any) -> None:
    """Raises where a rate of averaging is not in [0, 1)."""
    for i in range(2):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def check_implementation(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Raises where the choices of implementation exclude each other; all of them run the same program here."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_tensor_rate(lr: Any, foreach: bool | None, capturable: bool) -> None:
    """Raises where PyTorch would not take a tensor for the learning rate."""
    if isinstance(lr, Tensor) and foreach and not capturable:
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")


def number(value: Any) -> Any:
    """The number in a tensor of one element."""
    return value.item() if isinstance(value, Tensor) else value


def named_elements(grad: Tensor, maximize: bool) -> tuple[tuple[Tensor, ...], Tensor]:
    """Where a sparse gradient has elements, each place once, and the elements; negative ones to climb."""
    grad = grad.coalesce()
    return tuple(grad.indices()), -grad.values() if maximize else grad.values()


def new_step() -> Tensor:
    """The count of steps in an optimizer's state."""
    return o.tensor(0.0, dtype=o.float32)


class ProgramOptimizer(Optimizer):
    """An optimizer whose step is one program over all parameters of a group.

    A subclass names its program, says what it remembers of a parameter and which options the program takes.
    """

    _program: str
    _instead = ""  # what takes sparse gradients, for the error
    _captured = "params and state_steps"  # what capturable=True wants on a GPU, for the error
    _foreach_differentiates = False  # whether foreach=True goes with differentiable=True
    _older_defaults: ClassVar[dict[str, Any]] = {}  # options that groups saved by older versions lack

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """What to remember of a parameter before its first step."""
        return {}

    def _scalars(self, group: dict[str, Any]) -> dict[str, Any]:
        """The options that the program takes."""
        scalars = group.copy()
        for name in ("lr", "weight_decay"):
            if isinstance(scalars.get(name), Tensor):
                scalars[name] = scalars[name].item()
        return scalars

    @property
    def _options(self) -> Any:
        """Names of the options that the class has."""
        return inspect.signature(type(self).__init__).parameters

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        defaults = {"maximize": False, "foreach": None, "capturable": False, "differentiable": False, "fused": None}
        for group in self.param_groups:
            for name, default in {**defaults, **self._older_defaults}.items():
                if name in self._options:
                    group.setdefault(name, default)
            for p in group["params"]:
                remembered = self.state.get(p, {})
                if "step" in remembered and not isinstance(remembered["step"], Tensor):
                    remembered["step"] = o.tensor(float(remembered["step"]), dtype=o.float32)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters once. `closure` computes the loss anew, with gradients, and returns it."""
        loss = None
        if closure is not None:
            with o.enable_grad():
                loss = closure()
        with o.set_grad_enabled(bool(self.defaults.get("differentiable", False))):
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _state_of(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = self.state[param]
        if not state:
            state.update(self._new_state(param, group))
        return state

    def _sparse_step(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> bool:
        """Takes the step of one parameter for its sparse gradient; False where it made the gradient dense instead."""
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients{self._instead}")

    def _check_step(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Raises where PyTorch's implementation that the options choose would."""
        if group.get("capturable") and any(p.device.type == "cpu" for p in params):
            raise AssertionError(
                f"If capturable=True, {self._captured} must be on supported devices: "
                "['cuda', 'xpu', 'hpu', 'privateuseone', 'xla']."
            )
        if group.get("foreach") and group.get("differentiable") and not self._foreach_differentiates:
            raise AssertionError("_foreach ops don't support autograd")

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        self._check_step(params, group)
        if any(p.grad.is_sparse for p in params):
            params = [p for p in params if not (p.grad.is_sparse and self._sparse_step(p, p.grad, group))]
        states = [self._state_of(p, group) for p in params]
        _multi.apply(self._program, params, [p.grad for p in params], states, self._scalars(group))


def zeros_like(param: Tensor) -> Tensor:
    """Zeros in the layout of a parameter."""
    return o.zeros_like(param, memory_format=o.preserve_format)
