"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, check_implementation, check_not_negative, check_rate, number
from flambeau.optim.optimizer import ParamsT

__all__ = ["SGD"]


class SGD(ProgramOptimizer):
    """v <- momentum v + (1 - dampening) g; p <- p - lr v, with g the gradient + weight_decay p.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        momentum: how much of the last direction stays.
        dampening: taken off the gradient's share in the direction.
        weight_decay: strength of the pull to zero.
        nesterov: look ahead along the new direction.
        maximize: climb instead.
        foreach, differentiable, fused: accepted; one kernel over all parameters runs in any case.

    Example:
        >>> opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> opt.zero_grad(); loss.backward(); opt.step()
    """

    _program = "sgd"
    _foreach_differentiates = True
    _older_defaults: ClassVar[dict[str, Any]] = {"nesterov": False}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_implementation(foreach, fused, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _sparse_step(self, param: o.Tensor, grad: o.Tensor, group: dict[str, Any]) -> bool:
        """Only the rows that the gradient names are touched, where no momentum remembers all of them."""
        if group["weight_decay"] != 0:
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        if group["momentum"] != 0:
            param.grad = grad.to_dense()
            return False
        rate = number(group["lr"]) * (1 if group["maximize"] else -1)
        param.add_(grad, alpha=rate)
        return True

    def _state_of(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return self.state[param] if group["momentum"] != 0 else {}
