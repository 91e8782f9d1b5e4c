"""The bar chart of a comparison: one bar a workload, by how much it is faster, families one below the other."""

import itertools
from pathlib import Path

import ratios

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#b8b8b8"
ROWS_OF_A_COLUMN = 105
CLIP = 40  # longer bars are cut; their numbers stand beside them
TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40]


def draw(path: Path, rows: list[dict], title: str, other: str) -> bool:
    """Draws the rows that have a ratio; False where there are none, or no matplotlib (the extra `demo`).

    Args:
        path: where the PNG goes.
        rows: as `compare.measure` makes them.
        title: first line.
        other: what the ratio compares with.
    """
    rows = [row for row in rows if "ratio" in row]
    if not rows:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    columns = _columns(rows)
    height = max(len(column) for column in columns)
    figure = Figure(figsize=(max(6.4, 4.6 * len(columns)), 1.4 + 0.17 * height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    mean = ratios.geometric_mean([ratios.geometric_mean(v) for v in ratios.families(rows).values()])
    figure.suptitle(f"{title}\nhow many times as fast as {other}; geometric mean over families {mean:.2f}", fontsize=12)
    least = min(0.5, *(row["ratio"] for row in rows)) * 0.9
    most = min(CLIP, max(2.0, *(row["high"] for row in rows))) * 1.8
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        _draw_column(axes, column, least, most)
        axes.set_ylim(height - 0.3, -0.7)
    figure.savefig(path)
    return True


def _columns(rows: list[dict]) -> list[list[dict | str]]:
    """Lines of the chart, a heading before each family, cut into columns between workloads."""
    lines: list[dict | str] = []
    for name, values in ratios.families(rows).items():
        lines.append(f"{name}  {ratios.geometric_mean(values):.2f}")
        lines += [row for row in rows if ratios.family(row["name"]) == name]
    count = -(-len(lines) // ROWS_OF_A_COLUMN)
    length = -(-len(lines) // count)
    columns = [lines[i : i + length] for i in range(0, len(lines), length)]
    for before, after in itertools.pairwise(columns):
        if isinstance(before[-1], str):  # no heading at the foot of a column
            after.insert(0, before.pop())
    return columns


def _draw_column(axes, column: list, least: float, most: float) -> None:
    labels = []
    for y, line in enumerate(column):
        if isinstance(line, str):
            labels.append(line)
            continue
        ratio, low, high = line["ratio"], line["low"], line["high"]
        color = GREY if ratios.noisy(ratio, low, high) else ORANGE if ratio < 1 else BLUE
        axes.barh(y, min(ratio, CLIP) - 1, left=1, height=0.72, color=color)
        axes.plot([min(low, CLIP), min(high, CLIP)], [y, y], color="black", linewidth=0.8, alpha=0.6)
        axes.text(min(CLIP, max(ratio, high, 1)) * 1.04, y, f"{ratio:.2f}", va="center", fontsize=6.5)
        labels.append(line["name"].partition(".")[2])
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    ticks = [t for t in TICKS if least <= t <= most]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks], fontsize=8)
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(column)), labels, fontsize=7)
    for text, line in zip(axes.get_yticklabels(), column, strict=True):
        text.set_fontweight("bold" if isinstance(line, str) else "normal")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
