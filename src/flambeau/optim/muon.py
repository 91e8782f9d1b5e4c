"""Muon."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, below_zero, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["Muon"]


class Muon(ProgramOptimizer):
    """Momentum whose direction is made orthogonal; for matrices inside a network. Others go to AdamW.

    Args:
        params: matrices, or groups of them.
        lr: learning rate.
        weight_decay: by how much a parameter itself is pulled to zero.
        momentum: how much of the last direction stays.
        nesterov: look ahead along the new direction.
        ns_coefficients: those of the iteration towards an orthogonal matrix.
        eps: the smallest norm to divide by.
        ns_steps: steps of that iteration.
        adjust_lr_fn: how the rate follows from a matrix's shape: "original" or "match_rms_adamw".
    """

    _program = "muon"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, o.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if below_zero(lr):
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if below_zero(momentum):
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if below_zero(weight_decay):
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )

    def _check_params(self, params: list[Any]) -> None:
        super()._check_params(params)
        for p in params:
            if p.ndim != 2:
                raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")

    def _check_step(self, params: list[o.Tensor], group: dict[str, Any]) -> None:
        super()._check_step(params, group)
        if any(p.is_complex() for p in params):
            raise RuntimeError("Muon does not support complex parameters")
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": zeros_like(param)}
