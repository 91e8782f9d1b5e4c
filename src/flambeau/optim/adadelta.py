"""Adadelta."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, check_not_negative, check_rate, new_step, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["Adadelta"]


class Adadelta(ProgramOptimizer):
    """v <- average of g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u <- average of d^2; p <- p - lr d.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        rho: how much of the averages stays at every step.
        eps: added under the roots.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        foreach, capturable, differentiable: accepted; one program over all parameters runs in any case.
    """

    _program = "adadelta"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative("epsilon value", eps)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "capturable": capturable,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"step": new_step(), "square_avg": zeros_like(param), "acc_delta": zeros_like(param)}
