"""Adafactor."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, below_zero, new_step, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["Adafactor"]


class Adafactor(ProgramOptimizer):
    """Adam without the first average, and with the second kept as means of rows and columns of a matrix.

    Args:
        params: tensors, or groups of them.
        lr: the largest learning rate.
        beta2_decay: how the averages' memory grows: beta2 = 1 - t^beta2_decay.
        eps: the floor of the squares (the dtype's own where it is None), and that of the parameters' size.
        d: updates larger than this are made smaller.
        weight_decay: strength of the pull to zero.
        foreach: accepted; one program over all parameters runs in any case.
        maximize: climb instead.
    """

    _program = "adafactor"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, o.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if below_zero(lr):
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and below_zero(eps[0]):
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if below_zero(eps[1]):
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if below_zero(weight_decay):
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _check_step(self, params: list[o.Tensor], group: dict[str, Any]) -> None:
        super()._check_step(params, group)
        if any(p.is_complex() for p in params):
            raise RuntimeError("Adafactor does not support complex parameters")

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if param.dim() <= 1:
            return {"step": new_step(), "variance": zeros_like(param)}
        rows = (*param.shape[:-1], 1)
        columns = (*param.shape[:-2], 1, param.shape[-1])
        return {"step": new_step(), "row_var": param.new_zeros(rows), "col_var": param.new_zeros(columns)}
