"""Statistics of rounds: ratios, their means, and whether the machine was too noisy to tell."""

import math
import statistics


def summary(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the rounds' ratios; above 1 the first is faster."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def geometric_mean(values: list[float]) -> float:
    """The mean that treats twice as fast and half as fast alike."""
    return math.exp(statistics.fmean(map(math.log, values)))


def noisy(ratio: float, low: float, high: float) -> bool:
    """Whether the rounds contradict each other about who is faster, by more than 10% of their median."""
    return low < 1 < high and high - low > 0.1 * ratio


def totals(rows: list[dict]) -> list[str]:
    """Geometric means of families and over families, and how many workloads fall short."""
    families: dict[str, list[float]] = {}
    for row in rows:
        if "ratio" in row:
            families.setdefault(row["name"].partition(".")[0], []).append(row["ratio"])
    if not families:
        return []
    means = {name: geometric_mean(values) for name, values in families.items()}
    every = [ratio for values in families.values() for ratio in values]
    lines = [f"- {name}: {mean:.2f} ({len(families[name])} workloads)" for name, mean in means.items()]
    lines.append(f"- over families: {geometric_mean(list(means.values())):.2f}")
    lines += [f"- below {bound}: {sum(r < bound for r in every)} of {len(every)}" for bound in (0.97, 0.8)]
    return lines
