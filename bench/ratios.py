"""Statistics of rounds: ratios, their means, and whether the machine was too noisy to tell."""

import math
import statistics


def summary(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile of the rounds' ratios; above 1 the first is faster."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    if len(ratios) == 1:
        return (ratios[0],) * 3
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def geometric_mean(values: list[float]) -> float:
    """The mean that treats twice as fast and half as fast alike."""
    return math.exp(statistics.fmean(map(math.log, values)))


def noisy(ratio: float, low: float, high: float) -> bool:
    """Whether the rounds do not tell: their middle half spreads by a third of the median, or by a tenth around 1."""
    spread = (high - low) / ratio
    return spread > 1 / 3 or (low < 1 < high and spread > 0.1)


def family(name: str) -> str:
    """The file that a workload comes from."""
    return name.partition(".")[0]


def families(rows: list[dict]) -> dict[str, list[float]]:
    """Family -> ratios of its workloads."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if "ratio" in row:
            found.setdefault(family(row["name"]), []).append(row["ratio"])
    return found


def totals(rows: list[dict]) -> list[str]:
    """Geometric means of families and over families, how many workloads fall short, and what cannot be told."""
    found = families(rows)
    if not found:
        return []
    means = {name: geometric_mean(values) for name, values in found.items()}
    every = [ratio for values in found.values() for ratio in values]
    lines = [f"- {name}: {mean:.2f} ({len(found[name])} workloads)" for name, mean in means.items()]
    lines.append(f"- over families: {geometric_mean(list(means.values())):.2f}")
    lines += [f"- below {bound}: {sum(r < bound for r in every)} of {len(every)}" for bound in (0.97, 0.8)]
    unsure = [row["name"] for row in rows if "ratio" in row and noisy(row["ratio"], row["low"], row["high"])]
    if unsure:
        lines.append(f"- too noisy to tell, run again on a quieter machine: {', '.join(unsure)}")
    failed = [row["name"] for row in rows if "error" in row]
    if failed:
        lines.append(f"- failed: {', '.join(failed)}")
    return lines
