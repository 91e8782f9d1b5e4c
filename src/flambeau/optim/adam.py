"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import functional_ns as o
from flambeau.optim._step import (
    ProgramOptimizer,
    check_betas,
    check_implementation,
    check_not_negative,
    check_rate,
    check_tensor_rate,
    new_step,
    number,
    zeros_like,
)
from flambeau.optim.optimizer import ParamsT

__all__ = ["Adam", "AdamW"]


class Adam(ProgramOptimizer):
    """m, v <- averages of g and g^2; p <- p - lr m' / (sqrt(v') + eps), with m' and v' freed of their bias.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        betas: how much of the two averages stays at every step.
        eps: added to the denominator.
        weight_decay: strength of the pull to zero.
        amsgrad: divide by the largest v so far.
        maximize: climb instead.
        decoupled_weight_decay: pull the parameter itself to zero, as AdamW does, not the gradient.
        foreach, capturable, differentiable, fused: accepted; one kernel over all parameters runs in any case.
    """

    _program = "adam"
    _instead = ", please consider SparseAdam instead"
    _older_defaults: ClassVar[dict[str, Any]] = {"amsgrad": False, "decoupled_weight_decay": False}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_tensor_rate(lr, foreach, capturable)
        check_rate(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_implementation(foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state = {"step": new_step(), "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)
        return state

    def _scalars(self, group: dict[str, Any]) -> dict[str, Any]:
        beta1, beta2 = group["betas"]
        scalars = super()._scalars(group)
        scalars["beta1"], scalars["beta2"] = number(beta1), number(beta2)
        return scalars


class AdamW(Adam):
    """Adam whose weight decay pulls the parameter itself: p <- (1 - lr weight_decay) p at every step.

    Arguments as for `Adam`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
