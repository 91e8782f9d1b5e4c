"""The networks of the whole-step and inference workloads. Each takes the framework first."""

import itertools


def mlp(torch, *sizes):
    """Linear layers with relu between them."""
    nn = torch.nn
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(torch):
    """LeNet-5 for 28x28 images."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def resnet(torch, blocks, bottleneck=False, small=False, classes=10):
    """ResNet: of basic or bottleneck blocks, for 224x224 images or, `small`, for 32x32."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            out = width * 4 if bottleneck else width
            if bottleneck:
                shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
            else:
                shapes = [(inputs, width, 3, stride), (width, width, 3, 1)]
            self.convs = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in shapes)
            self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in shapes)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = None
            if stride != 1 or inputs != out:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x):
            y = x if self.shortcut is None else self.shortcut(x)
            for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
                x = norm(conv(x))
                if i < len(self.convs) - 1:
                    x = self.relu(x)
            x += y
            return self.relu(x)

    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False)] if small else [nn.Conv2d(3, 64, 7, 2, 3, bias=False)]
    layers = [*stem, nn.BatchNorm2d(64), nn.ReLU(inplace=True)] + ([] if small else [nn.MaxPool2d(3, 2, 1)])
    inputs = 64
    for i, count in enumerate(blocks):
        for j in range(count):
            layers.append(Block(inputs, 64 << i, 2 if i and not j else 1))
            inputs = (64 << i) * (4 if bottleneck else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def unet(torch, width=16, classes=2):
    """U-Net with three levels, batch norm and transposed convolutions."""
    nn = torch.nn

    def double(inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width << i for i in range(4)]
            self.down = nn.ModuleList(double(a, b) for a, b in zip([3, *widths], widths, strict=False))
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1]))
            self.join = nn.ModuleList(double(2 * w, w) for w in reversed(widths[:-1]))
            self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(width, classes, 1)

        def forward(self, x):
            kept = []
            for i, block in enumerate(self.down):
                x = block(self.pool(x) if i else x)
                kept.append(x)
            for up, join, skip in zip(self.up, self.join, reversed(kept[:-1]), strict=True):
                x = join(torch.cat([up(x), skip], 1))
            return self.head(x)

    return UNet()


def gpt(torch, layers, width, heads, length, vocabulary=256):
    """A GPT; `model(tokens)`, or `model(tokens, past)` with the keys and values of earlier tokens, which it extends."""
    nn, f = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x, past):
            n, t, _ = x.shape
            q, k, v = (
                y.view(n, t, heads, width // heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(width, 2)
            )
            if past is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            y = f.scaled_dot_product_attention(q, k, v, is_causal=past is None)
            x = x + self.proj(y.transpose(1, 2).reshape(n, t, width))
            return x + self.mlp(self.norm2(x)), (k, v)

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens, past=None):
            begin = 0 if past is None else past[0][0].size(2)
            x = self.tokens(tokens) + self.places(torch.arange(begin, begin + tokens.size(1)))
            extended = []
            for i, block in enumerate(self.blocks):
                x, kv = block(x, None if past is None else past[i])
                extended.append(kv)
            return self.head(self.norm(x)), extended

    return GPT()


def recurrent(torch, kind, vocabulary=1000, width=256, layers=2):
    """Embedding, LSTM or GRU, linear."""
    nn = torch.nn

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(vocabulary, width)
            self.rnn = getattr(nn, kind)(width, width, layers)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, tokens):
            return self.head(self.rnn(self.embed(tokens))[0])

    return Recurrent()


def transformer(torch, classes=10):
    """The framework's own encoder, four layers, mean over the tokens."""
    nn = torch.nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 4), nn.Linear(256, classes)

        def forward(self, x):
            return self.head(self.encoder(x).mean(1))

    return Encoder()


def vae(torch):
    """784-400-20-400-784; answers the reconstruction, mean and log of the variance."""
    nn = torch.nn

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = mlp(torch, 784, 400), mlp(torch, 20, 400, 784)
            self.mean, self.logvar = nn.Linear(400, 20), nn.Linear(400, 20)

        def forward(self, x):
            hidden = torch.relu(self.encode(x))
            mean, logvar = self.mean(hidden), self.logvar(hidden)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
            return torch.sigmoid(self.decode(z)), mean, logvar

    return VAE()


def dlrm(torch, tables=8, rows=10000, width=16, dense=13):
    """Embedding bags, an MLP for the dense features, their dot products, an MLP on top."""
    nn = torch.nn

    class DLRM(nn.Module):
        def __init__(self):
            super().__init__()
            self.bags = nn.ModuleList(nn.EmbeddingBag(rows, width, mode="sum") for _ in range(tables))
            self.bottom = mlp(torch, dense, 64, width)
            pairs = (tables + 1) * tables // 2
            self.top = mlp(torch, width + pairs, 64, 1)
            self.register_buffer("pairs", torch.tril_indices(tables + 1, tables + 1, -1))

        def forward(self, x, ids):
            x = self.bottom(x)
            all_ = torch.stack([x, *(bag(i) for bag, i in zip(self.bags, ids, strict=True))], 1)
            dots = torch.bmm(all_, all_.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
            return self.top(torch.cat([x, dots], 1)).squeeze(1)

    return DLRM()


def gcn(torch, features=512, hidden=64, classes=7):
    """Two graph convolutions over a list of edges."""
    nn = torch.nn

    class Layer(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.linear = nn.Linear(inputs, outputs)

        def forward(self, x, source, target, weight):
            x = self.linear(x)
            return torch.zeros_like(x).index_add(0, target, x[source] * weight)

    class GCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Layer(features, hidden), Layer(hidden, classes)

        def forward(self, x, *edges):
            return self.second(torch.relu(self.first(x, *edges)), *edges)

    return GCN()


def dqn_atari(torch, actions=6):
    """The network that learned to play Atari games, for four frames of 84x84."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, actions),
    )  # fmt: skip
