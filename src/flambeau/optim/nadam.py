"""NAdam."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import functional_ns as o
from flambeau.optim._step import (
    ProgramOptimizer,
    check_betas,
    check_not_negative,
    check_rate,
    new_step,
    number,
    zeros_like,
)
from flambeau.optim.optimizer import ParamsT

__all__ = ["NAdam"]


class NAdam(ProgramOptimizer):
    """Adam that looks ahead along the new direction, as Nesterov momentum does.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        betas: how much of the two averages stays at every step.
        eps: added to the denominator.
        momentum_decay: how the weight of the direction grows with the steps.
        decoupled_weight_decay: pull the parameter itself to zero, not the gradient.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        foreach, capturable, differentiable: accepted; one program over all parameters runs in any case.
    """

    _program = "nadam"
    _captured = "params, mu_products and state_steps"
    _older_defaults: ClassVar[dict[str, Any]] = {"decoupled_weight_decay": False}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("momentum_decay value", momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_step(),
            "mu_product": o.tensor(1.0, dtype=o.float32),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }

    def _scalars(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        scalars = super()._scalars(group)
        scalars["beta1"], scalars["beta2"] = number(beta1), number(beta2)
        return scalars
