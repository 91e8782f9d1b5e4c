"""Makes the wheel's packs: the commonest kernels, for every level of instructions that this machine runs.

    PYTHONPATH=src python tools/make_pack.py FOLDER        writes FOLDER/x86-64-v3.pack and its like
    python tools/make_pack.py --core _core.so FOLDER       the same for a core that stands outside of the tree

Programs as people write them run with an empty cache each level; what the cache then holds is the pack.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BINARY = "add sub mul div pow"
COMPARE = "eq ne lt le gt ge"
UNARY = "neg abs exp log log1p sqrt rsqrt sin cos tanh sigmoid relu erf square reciprocal floor ceil round sign isnan"
REDUCE = "sum mean amax amin var std prod logsumexp"
ACTIVATIONS = "relu gelu silu elu leaky_relu softplus hardtanh mish"


def levels() -> list[str]:
    """The levels whose code this machine can run, so that programs can."""
    from flambeau.codegen.target import host_level

    highest = host_level()
    return {"x86-64-v4": ["x86-64-v3", "x86-64-v4"]}.get(highest, [highest] if highest else [])


def arithmetic(torch) -> None:
    """Elementwise operators and reductions, with gradients and in place."""
    for dtype in (torch.float32, torch.int64):
        x = torch.arange(1, 13).to(dtype).reshape(3, 4)
        for name in f"{BINARY} {COMPARE}".split():
            for other in (x, 2, x[0], x[:, :1], x.t().contiguous().t()):
                getattr(torch, name)(x, other)
        for name in ["add_", "mul_", "sub_"]:
            getattr(x.clone(), name)(x)
        for reduce in (x.sum, x.max, x.min, x.argmax, x.any, x.all):
            reduce()
        x.sum(0), x.sum(1), x.argmax(1), x.max(1), x.cumsum(0), x.sort(), x.topk(2), x[x > 3], x[[0, 2]]
        torch.cat([x, x]), torch.stack([x, x]), torch.where(x > 2, x, x), x.clamp(2, 5), x.masked_fill(x > 2, 1)
        repr(x), x.to(torch.float32), x.to(torch.float64), x.to(torch.bool), x.to(torch.int64), x.tolist()
    x = torch.rand(3, 4, requires_grad=True)
    for name in BINARY.split():
        for other in (torch.rand(3, 4, requires_grad=True), torch.rand(4, requires_grad=True), 2.0):
            getattr(torch, name)(x, other).sum().backward()
    for name in UNARY.split():
        y = getattr(torch, name)(x)
        if y.dtype == x.dtype:
            y.sum().backward()
    for name in REDUCE.split():
        for dim in (0, 1, -1):
            getattr(torch, name)(x, dim).sum().backward()
    for name in ["sum", "mean", "var", "std", "prod", "norm"]:
        getattr(x, name)().backward()


def layers(torch) -> list:
    """(module, input) for each kind of layer that people stack."""
    nn = torch.nn
    image, rows, words = torch.rand(2, 4, 8, 8), torch.rand(5, 8), torch.rand(2, 6, 8)
    found = [(getattr(nn.functional, name), rows) for name in ACTIVATIONS.split()]
    found += [(lambda x: x.softmax(-1), rows), (lambda x: x.log_softmax(-1), rows), (nn.Dropout(0.5), rows)]
    found += [(nn.Linear(8, 8), rows), (nn.Linear(8, 8, bias=False), words), (nn.BatchNorm1d(8), rows)]
    found += [(nn.LayerNorm(8), words), (nn.RMSNorm(8), words), (nn.GroupNorm(2, 4), image)]
    found += [(nn.Conv2d(4, 6, 3, padding=1), image), (nn.BatchNorm2d(4), image), (nn.Conv1d(6, 4, 3), words)]
    found += [(nn.Conv2d(4, 4, 3, groups=4), image)]
    found += [(nn.ConvTranspose2d(4, 2, 2, stride=2), image), (nn.Upsample(scale_factor=2), image)]
    found += [(nn.MaxPool2d(2), image), (nn.AvgPool2d(2), image), (nn.AdaptiveAvgPool2d(1), image)]
    found += [(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), words)]
    found += [(lambda x, net=net: net(x)[0], words) for net in (nn.LSTM(8, 8), nn.GRU(8, 8), nn.RNN(8, 8))]
    return found


def training(torch) -> None:
    """Losses, layers and optimizers, a few steps each."""
    nn, optim = torch.nn, torch.optim
    for module, x in layers(torch):
        module(x)
        module(x.clone().requires_grad_()).square().mean().backward()
    scores, classes = torch.rand(4, 3, requires_grad=True), torch.tensor([0, 2, 1, 0])
    target = torch.rand(4, 3)
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.HuberLoss()):
        loss(scores.sigmoid(), target).backward()
    for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)):
        loss(scores, classes).backward()
    (scores.argmax(1) == classes).sum().item(), (scores.argmax(1) == classes).float().mean().item()
    table = nn.Embedding(10, 8)
    table(classes).sum().backward()
    for make in (optim.SGD, lambda p: optim.SGD(p, momentum=0.9, weight_decay=1e-4), optim.Adam, optim.AdamW):
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = make(net.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(torch.rand(4, 8)), torch.rand(4, 2)).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()


def images(torch) -> None:
    """LeNet on batches, as the first program of many does it."""
    nn = torch.nn
    convolutions = (nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU())
    dense = (nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10))
    net = nn.Sequential(*convolutions, nn.MaxPool2d(2), *dense)
    optimizer = torch.optim.Adam(net.parameters())
    for batch in (64, 37):
        loss = nn.functional.cross_entropy(net(torch.rand(batch, 1, 28, 28)), torch.randint(0, 10, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def windows(torch) -> None:
    """Convolutions and pooling as they stand in residual networks, U-Nets and networks for phones."""
    nn = torch.nn
    x = torch.rand(2, 4, 16, 16)
    stages = [nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, 2, 1)]
    stages += [nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 2)]
    stages += [nn.UpsamplingBilinear2d(scale_factor=2), nn.BatchNorm2d(4).eval()]
    for stage in stages:
        stage(x)
        stage(x.clone().requires_grad_()).square().mean().backward()
    scores = torch.rand(2, 3, 8, 8, requires_grad=True)
    nn.functional.cross_entropy(scores, torch.zeros(2, 8, 8, dtype=torch.int64)).backward()
    torch.cat([x, x], 1), nn.functional.pad(x, (1, 1, 1, 1)), x.flatten(1), x.mean((2, 3))


def texts(torch) -> None:
    """Attention with and without a mask, causal, of one token; tables of words; sums for each place."""
    nn, attend = torch.nn, torch.nn.functional.scaled_dot_product_attention
    q, k, v = (torch.rand(2, 2, 20, 8, requires_grad=True) for _ in range(3))
    mask = torch.ones(20, 20, dtype=torch.bool).tril()
    for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"attn_mask": torch.zeros(20, 20)}):
        attend(q, k, v, **options).sum().backward()
    attend(q[:, :, :1], k, v)
    words, starts = torch.tensor([3, 1, 4, 1]), torch.tensor([0, 2])
    for bag in (nn.EmbeddingBag(10, 8, mode="sum"), nn.EmbeddingBag(10, 8)):
        bag(words, starts).sum().backward()
    rows = torch.rand(4, 8, requires_grad=True)
    rows[words % 4].sum().backward()
    rows.index_select(0, starts).sum().backward()
    rows.gather(1, words.unsqueeze(1)).sum().backward()
    torch.zeros(6, 8).index_add(0, words, rows).sum().backward()
    torch.zeros(6, 8).scatter_add(0, words.unsqueeze(1).expand(4, 8), rows).sum().backward()
    rows.exp().mean(1).sum().backward(), rows.mean((0, 1)), rows.isnan().any(), rows.isfinite().all()
    torch.multinomial(rows.detach(), 1), torch.triu(torch.ones(4, 4), 1), torch.arange(5), nn.functional.one_hot(words)


def long_rows(torch) -> None:
    """Rows that are cut into chunks: losses, sums for biases and norms of real batches."""
    nn = torch.nn
    x = torch.rand(4096, 128, requires_grad=True)
    for result in (x.sum(0), x.mean(0), x.sum(), x.mean(), x.square().mean(), x.max(), (x > 0).all(), x.norm()):
        result.float().sum().backward() if result.requires_grad else None
    for layer in (nn.LayerNorm(128), nn.RMSNorm(128), nn.BatchNorm1d(128), nn.Linear(128, 64)):
        layer(x).sum().backward()
    nn.BatchNorm2d(4)(torch.rand(16, 4, 64, 64, requires_grad=True)).sum().backward()


def halves(torch) -> None:
    """16-bit numbers: a network of them, and under autocast."""
    nn = torch.nn
    for dtype in (torch.bfloat16, torch.float16):
        x = torch.rand(3, 4).to(dtype)
        x + x, x * x, x * 2, x.sum(), x.float(), x.softmax(-1), nn.functional.gelu(x), x @ x.t(), repr(x)
    net = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 4))
    image = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    optimizer = torch.optim.AdamW(net.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(net(torch.rand(5, 8)), torch.tensor([0, 1, 2, 3, 0]))
        loss = loss + image(torch.rand(2, 3, 8, 8)).float().mean()
    loss.backward()
    optimizer.step()
    net.bfloat16()(torch.rand(5, 8).bfloat16()).sum().backward()
    q = torch.rand(2, 2, 20, 8).bfloat16().requires_grad_()
    nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()


def optimizers(torch) -> None:
    """The settings of optimizers that people choose, two steps each: the first is another program."""
    optim = torch.optim
    choices = [lambda p: optim.SGD(p, 0.1), lambda p: optim.SGD(p, 0.1, 0.9)]
    choices += [lambda p: optim.SGD(p, 0.1, weight_decay=1e-4), lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True)]
    choices += [lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=1e-4)]
    choices += [optim.Adam, optim.AdamW, optim.RMSprop, lambda p: optim.Adam(p, weight_decay=1e-4)]
    choices += [lambda p: optim.AdamW(p, weight_decay=0.0), lambda p: optim.Adam(p, amsgrad=True)]
    for make in choices:
        p = torch.rand(5, 3, requires_grad=True)
        optimizer = make([p])
        for _ in range(2):
            optimizer.zero_grad()
            p.square().sum().backward()
            torch.nn.utils.clip_grad_norm_([p], 1.0)
            optimizer.step()


def run_programs() -> None:
    """What fills the cache."""
    import flambeau as torch

    torch.manual_seed(0)
    for program in (arithmetic, training, images, windows, texts, long_rows, halves, optimizers):
        program(torch)


def make(folder: Path, level: str) -> None:
    """Writes the pack of one level."""
    from flambeau.codegen.digest import sources_digest
    from flambeau.codegen.pack import from_cache

    with tempfile.TemporaryDirectory() as cache:
        environment = dict(os.environ, FLAMBEAU_TARGET=level, FLAMBEAU_CACHE=cache)
        subprocess.run([sys.executable, __file__, "--run", str(folder)], env=environment, check=True)
        (kernels,) = (p for p in (Path(cache) / "kernels").iterdir() if p.is_dir())
        path = folder / f"{level}.pack"
        count = from_cache(path, sources_digest(compiler=False), kernels)
    print(f"{path.name}: {count} kernels, {path.stat().st_size / 1e6:.1f} MB")


def stage(core: Path, folder: Path) -> None:
    """Makes the package importable, in this process and its children: links to the tree's files, and the core."""
    package = folder / "flambeau"
    package.mkdir()
    for entry in (ROOT / "src" / "flambeau").iterdir():
        if entry.suffix != ".so":
            (package / entry.name).symlink_to(entry)
    (package / core.name).symlink_to(core.resolve())
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--core", type=Path, help="the extension module, where it is not in the tree")
    parser.add_argument("--run", action="store_true", help="only run the programs, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        run_programs()
        return
    with tempfile.TemporaryDirectory() as staged:
        if arguments.core:
            stage(arguments.core, Path(staged))
        for level in levels():
            make(arguments.folder, level)


if __name__ == "__main__":
    main()
