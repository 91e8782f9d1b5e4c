"""Resilient backpropagation."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import ProgramOptimizer, check_rate, new_step, number, zeros_like
from flambeau.optim.optimizer import ParamsT

__all__ = ["Rprop"]


class Rprop(ProgramOptimizer):
    """Steps by the sign of the gradient; an element's step grows while the sign stays and shrinks when it changes.

    Args:
        params: tensors, or groups of them.
        lr: the first step.
        etas: the factors of shrinking and growing.
        step_sizes: the smallest and the largest step.
        maximize: climb instead.
        capturable, foreach, differentiable: accepted; one program over all parameters runs in any case.
    """

    _program = "rprop"

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _new_state(self, param: o.Tensor, group: dict[str, Any]) -> dict[str, Any]:
        first = number(group["lr"])
        first = complex(first, first) if param.is_complex() else first
        size = o.full_like(param, first, memory_format=o.preserve_format)
        return {"step": new_step(), "prev": zeros_like(param), "step_size": size}

    def _scalars(self, group: dict[str, Any]) -> dict[str, Any]:
        etaminus, etaplus = group["etas"]
        smallest, largest = group["step_sizes"]
        return {
            "maximize": group["maximize"],
            "etaminus": etaminus,
            "etaplus": etaplus,
            "step_size_min": smallest,
            "step_size_max": largest,
        }
