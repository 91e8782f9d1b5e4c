"""Adam for sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._step import check_betas, named_elements, number, zeros_like
from flambeau.optim.optimizer import Optimizer, ParamsT

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that moves only the elements which a sparse gradient names, and averages only these.

    Args:
        params: dense tensors whose gradients are sparse, as those of `nn.Embedding(..., sparse=True)`.
        lr: learning rate.
        betas: how much of the averages of g and g^2 stays at every step.
        eps: added to the denominator.
        maximize: climb instead.

    Example:
        >>> table = torch.nn.Embedding(10, 3, sparse=True)
        >>> opt = torch.optim.SparseAdam(table.parameters(), lr=0.1)
        >>> table(torch.tensor([1, 4])).sum().backward(); opt.step()
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, o.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        self._refuse(lambda p: p.is_sparse, "Sparse", "SparseAdam requires dense parameter tensors")
        self._refuse(lambda p: p.is_complex(), "Complex", "SparseAdam does not support complex parameters")

    def _refuse(self, kind: Callable[[o.Tensor], bool], name: str, why: str) -> None:
        groups = enumerate(self.param_groups)
        found = [[i, k] for i, group in groups for k, p in enumerate(group["params"]) if kind(p)]
        if found:
            raise ValueError(f"{name} params at indices {found}: {why}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters once. `closure` computes the loss anew, with gradients, and returns it."""
        loss = None
        if closure is not None:
            with o.enable_grad():
                loss = closure()
        with o.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._move(p, p.grad, group)
        return loss

    def _move(self, p: o.Tensor, grad: o.Tensor, group: dict[str, Any]) -> None:
        if not grad.is_sparse:
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=zeros_like(p), exp_avg_sq=zeros_like(p))
        state["step"] += 1
        at, g = named_elements(grad, group["maximize"])
        if not g.numel():
            return
        first, second = group["betas"]
        average = state["exp_avg"][at] * first + g * (1 - first)
        square = state["exp_avg_sq"][at] * second + g * g * (1 - second)
        state["exp_avg"][at], state["exp_avg_sq"][at] = average, square
        root = (1 - second ** state["step"]) ** 0.5
        rate = number(group["lr"]) * root / (1 - first ** state["step"])
        p[at] = p[at] - rate * average / (square.sqrt() + group["eps"])
