"""Adamax."""

from __future__ import annotations

from typing import Any

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

__all__ = ["Adamax"]


class Adamax(ProgramOptimizer):
    """m <- average of g; u <- max(beta2 u, |g| + eps); p <- p - lr m / ((1 - beta1^t) u).

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        betas: how much of m and u stays at every step.
        eps: added to |g|.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        foreach, differentiable, capturable: accepted; one program over all parameters runs in any case.
    """

    _program = "adamax"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": new_step(), "exp_avg": zeros_like(param), "exp_inf": zeros_like(param)}

    def _scalars(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        scalars = super()._scalars(group)
        scalars["beta1"], scalars["beta2"] = number(beta1), number(beta2)
        return scalars
