"""Averages of models over training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from copy import deepcopy
from typing import Any

from flambeau import functional_ns as _o
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.optim._schedule import LRScheduler
from flambeau.optim._schedule import check_optimizer as _check_optimizer
from flambeau.optim._schedule import per_group as _per_group
from flambeau.optim.optimizer import Optimizer as _Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Tensor = _o.Tensor


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay: float = 0.999) -> _Callable[[Tensor, Tensor, Any], Tensor]:
    """average <- decay average + (1 - decay) new, for one parameter."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with _o.no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> _Callable[[Tensor, Tensor, Any], Tensor]:
    """The mean of all that came, for one parameter."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with _o.no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> _Callable[[Any, Any, Any], None]:
    """average <- decay average + (1 - decay) new, for all parameters."""
    _check_decay(decay)

    def ema_update(ema_params: Any, current_params: Any, num_averaged: Any) -> None:
        with _o.no_grad():
            for average, current in zip(ema_params, current_params, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(current, 1 - decay)
                else:
                    average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> _Callable[[Any, Any, Any], None]:
    """The mean of all that came, for all parameters."""

    def swa_update(averaged_params: Any, current_params: Any, num_averaged: Any) -> None:
        with _o.no_grad():
            for average, current in zip(averaged_params, current_params, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(current, 1 / (float(num_averaged) + 1))
                else:
                    average.add_((current - average) / (num_averaged + 1))

    return swa_update


class AveragedModel(Module):
    """A copy of a model that holds the average of its parameters.

    Args:
        model: the model that is trained.
        device: where the average is kept.
        avg_fn: how one parameter is averaged.
        multi_avg_fn: how all parameters are averaged at a time.
        use_buffers: average buffers too.

    Example:
        >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
        >>> ema.update_parameters(model)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: _Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: _Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _o.tensor(0, dtype=_o.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _averaged_tensors(self, model: Module) -> list[Tensor]:
        tensors: _Iterable[Tensor] = model.parameters()
        return list(itertools.chain(tensors, model.buffers()) if self.use_buffers else tensors)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's present parameters into the average."""
        averages = [t.detach() for t in self._averaged_tensors(self.module)]
        news = [t.detach() for t in self._averaged_tensors(model)]
        news = [new.to(average.device) for average, new in zip(averages, news, strict=True)]
        count = int(self.n_averaged.item())
        if count == 0:
            for average, new in zip(averages, news, strict=True):
                average.copy_(new)
        elif self.avg_fn is not None:
            for average, new in zip(averages, news, strict=True):
                average.copy_(self.avg_fn(average, new, self.n_averaged))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, news, self.n_averaged)
        if not self.use_buffers:
            for own, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(buffer.detach().to(own.device))
        self.n_averaged += 1


def update_bn(loader: _Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the statistics of batch normalisation anew, by one pass over data."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = {layer: layer.momentum for layer in layers}
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    with _o.no_grad():
        for batch in loader:
            inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(inputs if device is None else inputs.to(device))
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Brings the rate to a fixed value within some epochs.

    Args:
        swa_lr: that value, one for all or one a group.
        anneal_epochs: how long it takes.
        anneal_strategy: "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: _Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer)
        for group, lr in zip(optimizer.param_groups, _per_group(optimizer, "swa_lr", swa_lr), strict=True):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, t: float) -> float:
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before = self._share(max(0, min(1, (step - 1) / max(1, self.anneal_epochs))))
        now = self._share(max(0, min(1, step / max(1, self.anneal_epochs))))
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            initial = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + initial * (1 - now))
        return rates
