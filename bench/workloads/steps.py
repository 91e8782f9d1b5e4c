"""Whole training steps: zero_grad, forward, loss, backward, optimizer. Each step returns its loss."""

import models


def _trainer(loss_of, optimizer):
    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _classifier(torch, model, x, y, optimizer):
    loss_fn = torch.nn.CrossEntropyLoss()
    return _trainer(lambda: loss_fn(model(x), y), optimizer)


def _sgd(torch, model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def mlp_tiny(torch):
    """4-64-64-2, batch 32."""
    model = models.mlp(torch, 4, 64, 64, 2)
    x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
    return _classifier(torch, model, x, y, _sgd(torch, model))


def mlp(torch):
    """784-512-512-10, batch 64."""
    model = models.mlp(torch, 784, 512, 512, 10)
    x, y = torch.randn(64, 784), torch.randint(0, 10, (64,))
    return _classifier(torch, model, x, y, _sgd(torch, model))


def lenet(torch):
    """LeNet-5 on 28x28 images, batch 64."""
    model = models.lenet(torch)
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    return _classifier(torch, model, x, y, torch.optim.Adam(model.parameters(), lr=1e-3))


def resnet18(torch):
    """ResNet-18 on 32x32 images, batch 32."""
    model = models.resnet(torch, (2, 2, 2, 2), small=True)
    x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    return _classifier(torch, model, x, y, _sgd(torch, model))


def mobilenet(torch):
    """MobileNetV2 on 32x32 images, batch 16; steps are short, as rounding grows fast in so deep a network."""
    model = models.mobilenet(torch)
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    return _classifier(torch, model, x, y, torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9))


def text_cnn(torch):
    """32 sentences of 50 words, embeddings of 100."""
    model = models.text_cnn(torch)
    x, y = torch.randint(0, 5000, (32, 50)), torch.randint(0, 2, (32,))
    return _classifier(torch, model, x, y, torch.optim.Adam(model.parameters(), lr=1e-3))


def diffusion(torch):
    """The noise of 8 images of 32x32."""
    model, images, time = models.denoiser(torch), torch.randn(8, 3, 32, 32), torch.rand(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    share = torch.cos(time)[:, None, None, None]

    def loss_of():
        noise = torch.randn_like(images)
        noisy = share * images + (1 - share**2).sqrt() * noise
        return torch.nn.functional.mse_loss(model(noisy, 1000 * time), noise)

    return _trainer(loss_of, optimizer)


def unet(torch):
    """U-Net, 16 channels at the top, 4 images of 64x64."""
    model = models.unet(torch)
    x, y = torch.randn(4, 3, 64, 64), torch.randint(0, 2, (4, 64, 64))
    return _classifier(torch, model, x, y, torch.optim.Adam(model.parameters(), lr=1e-3))


def _gpt(layers, width, heads, batch, length):
    def make(torch):
        model = models.gpt(torch, layers, width, heads, length)
        tokens = torch.randint(0, 256, (batch, length + 1))
        x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].reshape(-1)
        cross_entropy = torch.nn.functional.cross_entropy
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
        return _trainer(lambda: cross_entropy(model(x)[0].view(-1, 256), y), optimizer)

    return make


def llama(torch):
    """3 layers, 256 wide, 8 heads that share 2 keys, 4 sequences of 96 tokens."""
    model = models.llama(torch, 3, 256, 8, 2, 512, 96)
    tokens = torch.randint(0, 1000, (4, 97))
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].reshape(-1)
    cross_entropy = torch.nn.functional.cross_entropy
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    return _trainer(lambda: cross_entropy(model(x).view(-1, 1000), y), optimizer)


def transformer(torch):
    """TransformerEncoder of 4 layers, 256 wide, 8 sequences of 64 tokens, dropout 0.1."""
    model = models.transformer(torch)
    x, y = torch.randn(8, 64, 256), torch.randint(0, 10, (8,))
    return _classifier(torch, model, x, y, torch.optim.AdamW(model.parameters(), lr=1e-4))


def _recurrent(kind):
    def make(torch):
        model = models.recurrent(torch, kind)
        tokens = torch.randint(0, 1000, (33, 32))
        x, y = tokens[:-1].contiguous(), tokens[1:].reshape(-1)
        cross_entropy = torch.nn.functional.cross_entropy
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return _trainer(lambda: cross_entropy(model(x).view(-1, 1000), y), optimizer)

    return make


def vae(torch):
    """784-400-20, batch 128."""
    model, x = models.vae(torch), torch.rand(128, 784)
    bce = torch.nn.functional.binary_cross_entropy

    def loss_of():
        y, mean, logvar = model(x)
        divergence = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
        return bce(y, x, reduction="sum") + divergence

    return _trainer(loss_of, torch.optim.Adam(model.parameters(), lr=1e-3))


def dlrm(torch):
    """8 tables of 10,000 rows, batch 128, 4 ids a bag."""
    model = models.dlrm(torch)
    x, y = torch.randn(128, 13), torch.randint(0, 2, (128,)).float()
    ids = [torch.randint(0, 10000, (128, 4)) for _ in range(8)]
    loss_fn = torch.nn.BCEWithLogitsLoss()
    return _trainer(lambda: loss_fn(model(x, ids), y), torch.optim.SGD(model.parameters(), lr=0.1))


def gcn(torch):
    """2,700 nodes, 10,800 edges."""
    model, nodes = models.gcn(torch), 2700
    x, y = torch.randn(nodes, 512), torch.randint(0, 7, (nodes,))
    edges = torch.randint(0, nodes, (10800,)), torch.randint(0, nodes, (10800,)), torch.rand(10800, 1)
    loss_fn = torch.nn.CrossEntropyLoss()
    return _trainer(lambda: loss_fn(model(x, *edges), y), torch.optim.Adam(model.parameters(), lr=1e-2))


WORKLOADS = {
    "mlp_tiny": mlp_tiny,
    "mlp": mlp,
    "lenet": lenet,
    "resnet18": resnet18,
    "mobilenet": mobilenet,
    "unet": unet,
    "diffusion": diffusion,
    "gpt_128": _gpt(4, 128, 4, 16, 128),
    "gpt_384": _gpt(6, 384, 6, 4, 128),
    "llama": llama,
    "transformer": transformer,
    "text_cnn": text_cnn,
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU"),
    "vae": vae,
    "dlrm": dlrm,
    "gcn": gcn,
}
# Operations of the products alone, a multiplication and addition being two; a step has three times those of forward.
_GPT = {"gpt_128": (4, 128, 16 * 128), "gpt_384": (6, 384, 4 * 128)}
WORK = {
    name: ("float32", 6.0 * tokens * (layers * (12 * width**2 + 128 * width) + 256 * width))
    for name, (layers, width, tokens) in _GPT.items()
}
WORK.update(
    resnet18=("float32", 6.0 * 32 * 556.6e6),
    transformer=("float32", 6.0 * 8 * 64 * 4 * (4 * 256**2 + 2 * 256 * 1024 + 2 * 64 * 256)),
    lstm=("float32", 6.0 * 32 * 32 * (2 * 8 * 256**2 + 256 * 1000)),
    gru=("float32", 6.0 * 32 * 32 * (2 * 6 * 256**2 + 256 * 1000)),
)
QUICK = ("mlp_tiny", "lenet", "gpt_128", "lstm")
