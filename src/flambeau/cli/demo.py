"""`flambeau demo`: a small convolutional network learns to read, and shows what it learned."""

import argparse
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.cli import plots
from flambeau.cli.idx import read_digits, read_split
from flambeau.cli.progress import Progress
from flambeau.nn import functional

DIGIT_NAMES = [str(n) for n in range(10)]
FASHION_NAMES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
EPOCHS = {"digits": 15, "mnist": 3, "fashion-mnist": 3}
BATCH = 64
# A chunk of held-out images that is classified at once.
EVALUATION_BATCH = 500
HELD_OUT = 0.2
LEARNING_RATE = 2e-3
INTERRUPTED = 130


@dataclass
class Split:
    """Images of shape (N, 1, H, W) from 0 to 1, and their classes."""

    images: Any
    labels: Any

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class History:
    """What the curves show."""

    losses: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    held_out_accuracy: list[float] = field(default_factory=list)


class Net(nn.Module):
    """Two convolutions, each normalised and pooled, and two linear layers.

    Shape: (N, 1, H, W) -> (N, 10), H and W at least 4.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 128),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(128, 10),
        )

    def forward(self, images: Any) -> Any:
        return self.classifier(self.features(images))


def to_split(pixels: bytearray, shape: tuple[int, ...], classes: bytearray) -> Split:
    images = torch.frombuffer(pixels, dtype=torch.uint8).reshape(shape[0], 1, *shape[1:]).float()
    return Split(images / images.max(), torch.frombuffer(classes, dtype=torch.uint8).long())


def load_data(data: str, root: Path, seed: int) -> tuple[Split, Split]:
    """Training and held-out images."""
    if data != "digits":
        return to_split(*read_split(root, "train")), to_split(*read_split(root, "test"))
    whole = to_split(*read_digits())
    order = list(range(len(whole)))
    random.Random(seed).shuffle(order)
    count = round(HELD_OUT * len(whole))
    held_out, train = torch.tensor(order[:count]), torch.tensor(order[count:])
    return Split(whole.images[train], whole.labels[train]), Split(whole.images[held_out], whole.labels[held_out])


def predict(model: Any, images: Any) -> Any:
    """The class of each image."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(chunk).argmax(1) for chunk in images.split(EVALUATION_BATCH)])


def accuracy(model: Any, split: Split) -> float:
    return (predict(model, split.images) == split.labels).sum().item() / len(split)


def train(model: Any, split: Split, held_out: Split, epochs: int, history: History, checkpoint: Any) -> None:
    """Adam with a cosine schedule; `checkpoint()` after every epoch."""
    steps = epochs * -(-len(split) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    seen = right = 0
    with Progress(steps, "training") as progress:
        for _ in range(epochs):
            model.train()
            seen = right = 0
            for rows in torch.randperm(len(split)).split(BATCH):
                loss, hits = step(model, optimizer, split.images[rows], split.labels[rows])
                scheduler.step()
                seen, right = seen + len(rows), right + hits
                history.losses.append(loss)
                progress.step(f"loss {loss:.3f}, accuracy {100 * right / seen:.1f}%")
            history.train_accuracy.append(right / seen)
            history.held_out_accuracy.append(accuracy(model, held_out))
            checkpoint()


def step(model: Any, optimizer: Any, images: Any, labels: Any) -> tuple[float, int]:
    """One step of training; its loss, and how many images were classified right."""
    scores = model(images)
    loss = functional.cross_entropy(scores, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item(), int((scores.argmax(1) == labels).sum().item())


def draw(out: Path, model: Any, held_out: Split, history: History, data: str) -> list[Path]:
    """The two pictures; returns where they are."""
    count = plots.GRID_ROWS * plots.GRID_COLUMNS
    shown = Split(held_out.images[:count], held_out.labels[:count])
    curves, predictions = out / "curves.png", out / "predictions.png"
    plots.draw_curves(curves, history.losses, history.train_accuracy, history.held_out_accuracy, data)
    plots.draw_predictions(
        predictions,
        shown.images.squeeze(1).tolist(),
        shown.labels.tolist(),
        predict(model, shown.images).tolist(),
        FASHION_NAMES if data == "fashion-mnist" else DIGIT_NAMES,
    )
    return [curves, predictions]


def viewer() -> str:
    return {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")


def run(options: argparse.Namespace) -> int:
    """Trains, saves, draws; the last line says how well it reads what it never saw."""
    torch.manual_seed(options.seed)
    split, held_out = load_data(options.data, options.root, options.seed)
    model = Net(*split.images.shape[2:])
    parameters = sum(p.numel() for p in model.parameters())
    epochs = options.epochs or EPOCHS[options.data]
    print(
        f"{options.data}: {len(split):,} images to learn from, {len(held_out):,} held out; {parameters:,} parameters, "
        f"{epochs} epochs"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "model.pt"
    history = History()

    def checkpoint() -> None:
        torch.save(model.state_dict(), target)

    start = time.monotonic()
    try:
        train(model, split, held_out, epochs, history, checkpoint)
    except KeyboardInterrupt:
        checkpoint()
        print(f"\nInterrupted after {len(history.losses)} steps; what it has learned is in {target}", file=sys.stderr)
        return INTERRUPTED
    print(f"trained in {time.monotonic() - start:.1f} s")
    print(f'model     {target}    (flambeau.load("{target}") gives its state_dict)')
    if plots.available():
        pictures = draw(options.out, model, held_out, history, options.data)
        for name, picture in zip(("curves", "pictures"), pictures, strict=True):
            print(f"{name:<9} {picture}    (look at it: {viewer()} {picture})")
    else:
        print('No pictures: matplotlib draws them, and comes with the extra "demo": pip install "flambeau[demo]"')
    print(f"held-out accuracy: {100 * accuracy(model, held_out):.1f}%")
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", choices=list(EPOCHS), default="digits", help="what to learn (default: digits)")
    root = Path("/usr/share/datasets")
    parser.add_argument("--root", type=Path, default=root, help=f"folder of their idx files (default: {root})")
    parser.add_argument("--epochs", type=positive, help="how often every image is seen")
    parser.add_argument("--seed", type=int, default=0, help="the same number gives the same run (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("flambeau-demo"), help="folder for model and pictures")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value
