"""What `flambeau demo` draws, with matplotlib from the extra `demo`."""

from pathlib import Path
from typing import Any

GRID_ROWS, GRID_COLUMNS = 5, 10
BLUE, ORANGE, RED = "#2a6f97", "#e07a1f", "#c1121f"


def available() -> bool:
    """Whether pictures can be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def new_figure(width: float, height: float) -> Any:
    """A figure that needs no screen and leaves the user's own matplotlib state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_curves(path: Path, losses: list[float], train: list[float], held_out: list[float], title: str) -> None:
    """Loss of every step, smoothed, and accuracy after every epoch."""
    figure = new_figure(9, 3.6)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    left.plot(losses, color=BLUE, alpha=0.25, linewidth=0.8, label="each step")
    left.plot(smooth(losses), color=BLUE, linewidth=1.6, label="running mean")
    left.set(title="training loss", xlabel="step", yscale="log")
    epochs = range(1, len(train) + 1)
    right.plot(epochs, [100 * a for a in train], color=BLUE, marker="o", markersize=3, label="training")
    right.plot(epochs, [100 * a for a in held_out], color=ORANGE, marker="o", markersize=3, label="held out")
    right.set(title="accuracy (%)", xlabel="epoch")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(path)


def smooth(values: list[float], keep: float = 0.9) -> list[float]:
    """Exponential running mean, without the pull of its start."""
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(total / weight)
    return result


def draw_predictions(path: Path, images: Any, labels: list[int], predictions: list[int], names: list[str]) -> None:
    """Held-out images with what the network says; where it is wrong, in red, with the truth behind it."""
    figure = new_figure(GRID_COLUMNS * 1.05, GRID_ROWS * 1.3)
    wrong = sum(a != b for a, b in zip(labels, predictions, strict=True))
    figure.suptitle(f"{len(labels)} held-out images, what the network says ({wrong} wrong, in red: said / true)")
    for axes, image, label, said in zip(
        figure.subplots(GRID_ROWS, GRID_COLUMNS).flat, images, labels, predictions, strict=False
    ):
        axes.imshow(image, cmap="gray_r", interpolation="nearest")
        axes.set_axis_off()
        right = label == said
        axes.set_title(
            names[said] if right else f"{names[said]} / {names[label]}", fontsize=8, color="black" if right else RED
        )
    figure.savefig(path)
