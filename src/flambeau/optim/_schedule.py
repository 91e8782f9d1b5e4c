"""The base class of learning rate schedules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import functional_ns as o
from flambeau.optim.optimizer import Optimizer

Tensor = o.Tensor

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available. Please open an issue if you are unable to "
    "replicate your use case: https://github.com/pytorch/pytorch/issues/new/choose."
)
_ORDER_WARNING = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call "
    "them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in "
    "PyTorch skipping the first value of the learning rate schedule. See more details at "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)


def set_value(group: dict[str, Any], key: str, value: Any) -> None:
    """Sets an option of a group; a tensor stays the same tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value.item() if isinstance(value, Tensor) else value)
    else:
        group[key] = value


def copied(values: list[Any]) -> list[Any]:
    """The values, tensors copied."""
    return [v.clone() if isinstance(v, Tensor) else v for v in values]


def per_group(optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """One value for each parameter group."""
    groups = optimizer.param_groups
    if not isinstance(value, (list, tuple)):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
            f"param_groups has {len(groups)}."
        )
    return list(value)


def check_optimizer(optimizer: Any) -> None:
    """Raises where a schedule is not given an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


class LRScheduler:
    """Base class of schedules; a subclass says in `get_lr` what follows from the groups' present rates.

    Args:
        optimizer: whose learning rates to set.
        last_epoch: where to go on; -1 starts anew.
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self._remember_initial(last_epoch)
        self.base_lrs: list[Any] = copied([group["initial_lr"] for group in optimizer.param_groups])
        self.last_epoch: int = last_epoch
        self._initial_step()

    def _remember_initial(self, last_epoch: int) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied([group["lr"]])[0])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    "last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume training from a "
                    "checkpoint but haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 for a "
                    "fresh training run (not recommended)"
                )

    def _initial_step(self) -> None:
        """The step that sets the rates to begin with."""
        self._step_count = 0
        with self._initially():
            self.step()

    @contextmanager
    def _initially(self) -> Iterator[None]:
        self._is_initial = True
        try:
            yield
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates set last."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The next rates, one a group."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Goes one epoch on and sets the rates."""
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._advance(epoch)

    def _check_order(self) -> None:
        replaced = "step" in vars(self.optimizer)
        if not getattr(self.optimizer, "_opt_called", False) and not replaced:
            warnings.warn(_ORDER_WARNING, UserWarning, stacklevel=3)

    def _advance(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", None)
                values = closed() if closed is not None else self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(values)

    def _set(self, values: list[Any]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            set_value(group, "lr", value)
        self._last_lr: list[Any] = copied([group["lr"] for group in self.optimizer.param_groups])

    # ---- for subclasses

    def _rates(self) -> list[Any]:
        """The groups' present rates."""
        return copied([group["lr"] for group in self.optimizer.param_groups])

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _scaled(self, factor: float) -> list[Any]:
        return [lr * factor for lr in self._rates()]


class LambdaState(LRScheduler):
    """A schedule with functions of the user's: callable objects are saved with it, plain functions are not."""

    lr_lambdas: list[Callable[[int], float]]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions."""
        state = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "lr_lambdas")}
        state["lr_lambdas"] = [
            None if isinstance(fn, type(lambda: None)) else fn.__dict__.copy() for fn in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        rest = dict(state_dict)
        saved = rest.pop("lr_lambdas")
        self.__dict__.update(rest)
        for fn, state in zip(self.lr_lambdas, saved, strict=True):
            if state is not None:
                fn.__dict__.update(state)

    def _functions(self, optimizer: Optimizer, lr_lambda: Any) -> list[Callable[[int], float]]:
        groups = optimizer.param_groups
        if not isinstance(lr_lambda, (list, tuple)):
            return [lr_lambda] * len(groups)
        if len(lr_lambda) != len(groups):
            raise ValueError(f"Expected {len(groups)} lr_lambdas, but got {len(lr_lambda)}")
        return list(lr_lambda)
