"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, check_not_negative, check_rate, new_step, number, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["ASGD"]


class ASGD(ProgramOptimizer):
    """Gradient descent whose state holds the average ("ax") of the parameters since step t0.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        lambd: strength of a decay that the rate falls with.
        alpha: power of the fall.
        t0: the step from which on parameters are averaged.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        foreach, differentiable, capturable: accepted; one program over all parameters runs in any case.
    """

    _program = "asgd"
    _captured = "params, mus, etas, and state_steps"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": new_step(),
            "eta": o.tensor(float(number(group["lr"])), dtype=o.float32),
            "mu": o.tensor(1.0, dtype=o.float32),
            "ax": zeros_like(param),
        }
