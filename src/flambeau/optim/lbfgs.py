"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.optim._line_search import strong_wolfe
from flambeau.optim._step import below_zero, number
from flambeau.optim.optimizer import Optimizer, ParamsT

__all__ = ["LBFGS"]

Tensor = o.Tensor


class LBFGS(Optimizer):
    """Quasi-Newton steps from a limited history of gradients. `step` needs a closure, which it calls several times.

    Args:
        params: tensors; one group only.
        lr: learning rate.
        max_iter: iterations in a step.
        max_eval: evaluations in a step; max_iter * 5 / 4 where it is left out.
        tolerance_grad: end where no element of the gradient is larger.
        tolerance_change: end where neither loss nor parameters change by more.
        history_size: pairs of changes to remember.
        line_search_fn: "strong_wolfe" or None.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if below_zero(lr):
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    # ---- all parameters as one vector

    def _gather_flat_grad(self) -> Tensor:
        parts = []
        for p in self._params:
            part = p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1)
            parts.append(o.view_as_real(part).reshape(-1) if part.is_complex() else part)
        return o.cat(parts, 0)

    def _add_grad(self, step_size: float, direction: Tensor) -> None:
        offset = 0
        for p in self._params:
            real = o.view_as_real(p) if p.is_complex() else p
            n = real.numel()
            real.add_(direction[offset : offset + n].view_as(real), alpha=step_size)
            offset += n

    def _clone_param(self) -> list[Tensor]:
        return [p.clone() for p in self._params]

    def _set_param(self, values: list[Tensor]) -> None:
        for p, value in zip(self._params, values, strict=True):
            p.copy_(value)

    # ---- the step

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Runs up to max_iter iterations. `closure` clears gradients, computes the loss and calls `backward`."""
        with o.no_grad():
            return self._step(o.enable_grad()(closure))

    def _step(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._gather_flat_grad()
        if grad.abs().max().item() <= group["tolerance_grad"]:
            return first_loss
        d, t = state.get("d"), state.get("t")
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            d = self._direction(state, grad, d, t, group["history_size"])
            state["prev_flat_grad"] = grad.clone(memory_format=o.contiguous_format)
            last_loss = state["prev_loss"] = loss
            lr = number(group["lr"])
            t = min(1.0, 1.0 / grad.abs().sum().item()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(d).item()
            if slope > -group["tolerance_change"]:
                break
            done = 0
            if group["line_search_fn"] is not None:
                loss, grad, t, done = self._search(closure, t, d, loss, grad, slope)
            else:
                self._add_grad(t, d)
                if iterations != group["max_iter"]:
                    # The last evaluation would serve the next step only, which makes its own.
                    loss = float(closure())
                    grad = self._gather_flat_grad()
                    done = 1
            evaluations += done
            state["func_evals"] += done
            if (
                iterations == group["max_iter"]
                or evaluations >= group["max_eval"]
                or grad.abs().max().item() <= group["tolerance_grad"]
                or d.mul(t).abs().max().item() <= group["tolerance_change"]
                or abs(loss - last_loss) < group["tolerance_change"]
            ):
                break
        state["d"], state["t"] = d, t
        return first_loss

    def _direction(self, state: dict[str, Any], grad: Tensor, d: Any, t: Any, history_size: int) -> Tensor:
        """-H g, with H the inverse Hessian that the history stands for."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        change, moved = grad.sub(state["prev_flat_grad"]), d.mul(t)
        curvature = change.dot(moved).item()
        old_dirs, old_stps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        if curvature > 1e-10:
            if len(old_dirs) == history_size:
                old_dirs.pop(0)
                old_stps.pop(0)
                ro.pop(0)
            old_dirs.append(change)
            old_stps.append(moved)
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change).item()
        q = grad.neg()
        shares = []
        state.setdefault("al", [None] * history_size)  # PyTorch keeps its shares here, and a saved state has them
        for y, s, r in zip(reversed(old_dirs), reversed(old_stps), reversed(ro), strict=True):
            shares.append(s.dot(q).item() * r)
            q.add_(y, alpha=-shares[-1])
        d = q.mul(state["H_diag"])
        for y, s, r, share in zip(old_dirs, old_stps, ro, reversed(shares), strict=True):
            d.add_(s, alpha=share - y.dot(d).item() * r)
        return d

    def _search(
        self, closure: Callable[[], Any], t: float, d: Tensor, loss: float, grad: Tensor, slope: float
    ) -> tuple[float, Tensor, float, int]:
        if self.param_groups[0]["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        start = self._clone_param()

        def evaluate(at: float) -> tuple[float, Tensor]:
            self._add_grad(at, d)
            value = float(closure())
            gradient = self._gather_flat_grad()
            self._set_param(start)
            return value, gradient

        loss, grad, t, done = strong_wolfe(evaluate, t, d, loss, grad, slope)
        self._add_grad(t, d)
        return loss, grad, t, done
