"""A line search for points that fulfil the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Point:
    """A place on the line: the loss there, its gradient, and the loss's slope along the line."""

    at: float
    loss: float
    grad: Any
    slope: float


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is lowest, within bounds."""
    low, high = bounds if bounds is not None else (min(a.at, b.at), max(a.at, b.at))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.at - b.at)
    square = d1**2 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    if a.at <= b.at:
        at = b.at - (b.at - a.at) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        at = a.at - (a.at - b.at) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(at, low), high)


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Any]],
    t: float,
    direction: Any,
    loss: float,
    grad: Any,
    slope: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_ls: int = 25,
) -> tuple[float, Any, float, int]:
    """Finds a step with enough decrease (c1) and a flat enough slope (c2).

    Args:
        evaluate: gives loss and gradient at a step.
        t: the first step to try.

    Returns:
        loss, gradient, step, and how many evaluations it took.
    """
    widest = direction.abs().max().item()
    start = Point(0.0, loss, grad.clone(), slope)

    def point(at: float) -> Point:
        value, gradient = evaluate(at)
        return Point(at, value, gradient.clone(), gradient.dot(direction).item())

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + c1 * p.at * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    previous, new = start, point(t)
    evaluations, tries = 1, 0
    bracket: list[Point] | None = None
    while tries < max_ls:
        if too_high(new) or (tries > 1 and new.loss >= previous.loss):
            bracket = [previous, new]
            break
        if flat(new):
            return new.loss, new.grad, new.at, evaluations
        if new.slope >= 0:
            bracket = [previous, new]
            break
        bounds = (new.at + 0.01 * (new.at - previous.at), new.at * 10)
        at = cubic_minimum(previous, new, bounds)
        previous, new = new, point(at)
        evaluations += 1
        tries += 1
    if bracket is None:
        bracket = [start, new]
    return _zoom(bracket, point, too_high, flat, evaluations, tries, max_ls, widest, tolerance_change)


def _zoom(
    bracket: list[Point],
    point: Callable[[float], Point],
    too_high: Callable[[Point], bool],
    flat: Callable[[Point], bool],
    evaluations: int,
    tries: int,
    max_ls: int,
    widest: float,
    tolerance_change: float,
) -> tuple[float, Any, float, int]:
    """Narrows a bracket that holds a good step."""
    low, high = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    insufficient = False
    while tries < max_ls:
        if abs(bracket[1].at - bracket[0].at) * widest < tolerance_change:
            break
        at = cubic_minimum(bracket[0], bracket[1])
        right, left = max(p.at for p in bracket), min(p.at for p in bracket)
        margin = 0.1 * (right - left)
        if min(right - at, at - left) < margin:
            # Close to a border twice, or beyond it: step inside.
            if insufficient or at >= right or at <= left:
                at = right - margin if abs(at - right) < abs(at - left) else left + margin
                insufficient = False
            else:
                insufficient = True
        else:
            insufficient = False
        new = point(at)
        evaluations += 1
        tries += 1
        if too_high(new) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        done = flat(new)
        if not done and new.slope * (bracket[high].at - bracket[low].at) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
        if done:
            break
    best = bracket[low]
    return best.loss, best.grad, best.at, evaluations
