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


def mobilenet(torch, classes=10):
    """MobileNetV2 for 32x32 images: depthwise convolutions between 1x1 ones, batch norm, relu6."""
    nn = torch.nn

    def conv(inputs, outputs, kernel=3, stride=1, groups=1):
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [layer, nn.BatchNorm2d(outputs)]

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, factor):
            super().__init__()
            wide = inputs * factor
            widen = [*conv(inputs, wide, 1), nn.ReLU6(inplace=True)] if factor > 1 else []
            across = [*conv(wide, wide, 3, stride, wide), nn.ReLU6(inplace=True)]
            self.layers = nn.Sequential(*widen, *across, *conv(wide, outputs, 1))
            self.residual = stride == 1 and inputs == outputs

        def forward(self, x):
            return x + self.layers(x) if self.residual else self.layers(x)

    layers, inputs = [*conv(3, 32), nn.ReLU6(inplace=True)], 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for factor, outputs, count, stride in stages:
        for i in range(count):
            layers.append(Block(inputs, outputs, 1 if i else stride, factor))
            inputs = outputs
    layers += [*conv(inputs, 1280, 1), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, classes))


def text_cnn(torch, vocabulary=5000, width=100, channels=50, classes=2):
    """Convolutions over three, four and five words, each as wide as an embedding; the greatest over the sentence."""
    nn, f = torch.nn, torch.nn.functional

    class TextCNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(vocabulary, width)
            self.convs = nn.ModuleList(nn.Conv2d(1, channels, (words, width)) for words in (3, 4, 5))
            self.head = nn.Linear(3 * channels, classes)

        def forward(self, tokens):
            x = self.embed(tokens).unsqueeze(1)
            found = [f.relu(conv(x)).squeeze(3) for conv in self.convs]
            return self.head(torch.cat([f.max_pool1d(y, y.size(2)).squeeze(2) for y in found], 1))

    return TextCNN()


def llama(torch, layers, width, heads, kv_heads, hidden, length, vocabulary=1000):
    """Rotary positions, grouped queries, RMS norm and gated layers, as programs write them out."""
    nn, f = torch.nn, torch.nn.functional
    depth = width // heads

    def rotated(x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    class RMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

    def linear(inputs, outputs):
        return nn.Linear(inputs, outputs, bias=False)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = RMSNorm(), RMSNorm()
            self.q, self.k, self.v = (
                linear(width, width),
                linear(width, kv_heads * depth),
                linear(width, kv_heads * depth),
            )
            self.out, self.down = linear(width, width), linear(hidden, width)
            self.gate, self.up = linear(width, hidden), linear(width, hidden)

        def forward(self, x, cos, sin):
            n, t, _ = x.shape
            h = self.norm1(x)
            q, k, v = (y(h).view(n, t, -1, depth).transpose(1, 2) for y in (self.q, self.k, self.v))
            q, k = rotated(q, cos, sin), rotated(k, cos, sin)
            y = f.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + self.out(y.transpose(1, 2).reshape(n, t, width))
            h = self.norm2(x)
            return x + self.down(f.silu(self.gate(h)) * self.up(h))

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head, self.norm = nn.Embedding(vocabulary, width), linear(width, vocabulary), RMSNorm()
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            angles = torch.outer(torch.arange(length).float(), 1e4 ** (-torch.arange(0, depth, 2).float() / depth))
            angles = torch.cat([angles, angles], -1)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, tokens):
            x, t = self.embed(tokens), tokens.size(1)
            for block in self.blocks:
                x = block(x, self.cos[:t], self.sin[:t])
            return self.head(self.norm(x))

    return Llama()


def denoiser(torch, width=32, times=128):
    """A small U-Net of diffusion: group norm, SiLU, the time added to every block, attention between pixels."""
    nn, f = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.norm1, self.conv1 = nn.GroupNorm(8, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
            self.norm2, self.conv2 = nn.GroupNorm(8, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
            self.time, self.skip = nn.Linear(times, outputs), nn.Conv2d(inputs, outputs, 1)

        def forward(self, x, time):
            h = self.conv1(f.silu(self.norm1(x))) + self.time(f.silu(time))[:, :, None, None]
            return self.skip(x) + self.conv2(f.silu(self.norm2(h)))

    class Attention(nn.Module):
        def __init__(self, channels, heads=4):
            super().__init__()
            self.norm, self.heads = nn.GroupNorm(8, channels), heads
            self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

        def forward(self, x):
            n, c, h, w = x.shape
            q, k, v = self.qkv(self.norm(x)).view(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
            y = f.scaled_dot_product_attention(q, k, v)
            return x + self.out(y.transpose(2, 3).reshape(n, c, h, w))

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(width, times), nn.SiLU(), nn.Linear(times, times))
            self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
            self.fine, self.down = Block(width, width), nn.Conv2d(width, width, 3, 2, 1)
            self.coarse, self.attend = Block(width, 2 * width), Attention(2 * width)
            self.join, self.norm = Block(3 * width, width), nn.GroupNorm(8, width)
            self.register_buffer("rates", 1e4 ** (-torch.arange(width // 2).float() / (width // 2)))

        def forward(self, x, t):
            angles = t[:, None] * self.rates
            time = self.time(torch.cat([angles.cos(), angles.sin()], 1))
            fine = self.fine(self.first(x), time)
            coarse = self.attend(self.coarse(self.down(fine), time))
            x = self.join(torch.cat([f.interpolate(coarse, scale_factor=2), fine], 1), time)
            return self.last(f.silu(self.norm(x)))

    return Denoiser()


def dqn_atari(torch, actions=6):
    """The network that learned to play Atari games, for four frames of 84x84."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, actions),
    )  # fmt: skip
