"""RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, check_not_negative, check_rate, new_step, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["RMSprop"]


class RMSprop(ProgramOptimizer):
    """v <- average of g^2; p <- p - lr g / (sqrt(v) + eps).

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        alpha: how much of the average stays at every step.
        eps: added to the denominator.
        momentum: how much of the last direction stays.
        centered: divide by the deviation: v less the square of the average of g.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        capturable, foreach, differentiable: accepted; one program over all parameters runs in any case.
    """

    _program = "rmsprop"
    _older_defaults: ClassVar[dict[str, Any]] = {"momentum": 0, "centered": False}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": new_step(), "square_avg": zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)
        return state
