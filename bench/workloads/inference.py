"""Trained networks at work, one input at a time."""

import models


def _without_grad(torch, call):
    def step():
        with torch.no_grad():
            return call()

    return step


def resnet50(torch):
    """One image of 224x224."""
    model = models.resnet(torch, (3, 4, 6, 3), bottleneck=True, classes=1000).eval()
    x = torch.randn(1, 3, 224, 224)
    return _without_grad(torch, lambda: model(x))


def gpt_token(torch):
    """The next token after 128 whose keys and values are kept; 6 layers, 384 wide."""
    model = models.gpt(torch, 6, 384, 6, 256).eval()
    tokens = torch.randint(0, 256, (1, 128))
    with torch.no_grad():
        past = model(tokens)[1]
    last = tokens[:, -1:]
    return _without_grad(torch, lambda: model(last, past)[0][0, -1].argmax().item())


def dqn_action(torch):
    """The best of two actions for a state of four numbers."""
    model = models.mlp(torch, 4, 128, 128, 2)
    state = torch.randn(1, 4)
    return _without_grad(torch, lambda: model(state).argmax(1).item())


def dqn_atari_action(torch):
    """The best of six actions for four frames of 84x84."""
    model, state = models.dqn_atari(torch), torch.rand(1, 4, 84, 84)
    return _without_grad(torch, lambda: model(state).argmax(1).item())


WORKLOADS = {f.__name__: f for f in (resnet50, gpt_token, dqn_action, dqn_atari_action)}
WORK = {"resnet50": ("float32", 2.0 * 4.09e9)}
QUICK = ("resnet50", "dqn_action")
