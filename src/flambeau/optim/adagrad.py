"""Adagrad."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import (
    ProgramOptimizer,
    check_implementation,
    check_not_negative,
    check_rate,
    named_elements,
    new_step,
    number,
)
from flambeau.optim.optimizer import ParamsT

__all__ = ["Adagrad"]


class Adagrad(ProgramOptimizer):
    """s <- s + g^2; p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        lr_decay: how the rate falls with the steps t.
        initial_accumulator_value: what s is in the beginning.
        eps: added to the denominator.
        weight_decay: strength of the pull to zero.
        maximize: climb instead.
        foreach, differentiable, fused: accepted; one program over all parameters runs in any case.
    """

    _program = "adagrad"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        check_not_negative("epsilon value", eps)
        check_implementation(foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

        for group in self.param_groups:
            for p in group["params"]:
                self._state_of(p, group)

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        value = group["initial_accumulator_value"]
        value = complex(value, value) if param.is_complex() else value
        start = o.full_like(param, value, memory_format=o.preserve_format)
        return {"step": new_step(), "sum": start}

    def _sparse_step(self, param: o.Tensor, grad: o.Tensor, group: dict[str, Any]) -> bool:
        """Only the elements that the gradient names are touched."""
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        state = self._state_of(param, group)
        state["step"] += 1
        at, g = named_elements(grad, group["maximize"])
        state["sum"][at] = total = state["sum"][at] + g * g
        rate = number(group["lr"]) / (1 + (state["step"].item() - 1) * group["lr_decay"])
        param[at] = param[at] - rate * g / (total.sqrt() + group["eps"])
        return True

    def share_memory(self) -> None:
        """Moves the sums into memory that other processes can map."""
        for state in self.state.values():
            state["sum"].share_memory_()
