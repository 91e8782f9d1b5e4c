"""nn.utils.prune: masks, what a second pruning looks at, removal, and what is refused. Figures recorded from PyTorch."""

import copy
import io
import math

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.utils import prune


def layer(values: list[list[float]]) -> nn.Linear:
    made = nn.Linear(len(values[0]), len(values))
    made.weight.data, made.bias.data = torch.tensor(values), torch.arange(float(len(values)))
    return made


def example() -> nn.Linear:
    return layer([[-2.0, 5.0, 1.5, -3.0], [4.0, 0.5, -4.5, 3.5], [-1.0, -5.5, 2.5, -6.0]])


def test_the_smallest_elements() -> None:
    m = example()
    assert prune.l1_unstructured(m, "weight", amount=0.25) is m
    assert m.weight_mask.tolist() == [[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]]
    assert [n for n, _ in m.named_parameters()] == ["bias", "weight_orig"]
    assert m.weight.tolist() == (m.weight_orig * m.weight_mask).tolist() and not isinstance(m.weight, nn.Parameter)
    assert m(torch.ones(1, 4)).tolist() == [[0.0, 4.0, -7.0]]
    prune.l1_unstructured(m, "weight", amount=2)  # of those that are left
    assert m.weight_mask.tolist() == [[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 1]]
    prune.ln_structured(m, "weight", amount=1, n=2, dim=0)
    assert m.weight_mask.tolist() == [[0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 0, 1]]
    prune.ln_structured(m, "weight", amount=0.5, n=math.inf, dim=-1)  # half of the three columns that are left: two
    assert m.weight_mask.sum(0).tolist() == [0, 1, 0, 2]
    (hook,) = m._forward_pre_hooks.values()
    assert isinstance(hook, prune.PruningContainer) and len(hook) == 4 and isinstance(hook[0], prune.L1Unstructured)
    assert [type(h).__name__ for h in hook][2:] == ["LnStructured", "LnStructured"]


def test_gradients_and_copies() -> None:
    m = prune.l1_unstructured(example(), "weight", amount=6)
    m(torch.ones(2, 4)).sum().backward()
    assert torch.equal(m.weight_orig.grad, 2 * m.weight_mask)
    with torch.no_grad():  # a product without history can be copied
        twin = copy.deepcopy(prune.identity(example(), "bias"))
    assert isinstance(prune.remove(twin, "bias").bias, nn.Parameter)
    buffer = io.BytesIO()
    torch.save(m.state_dict(), buffer)
    buffer.seek(0)
    other = prune.identity(example(), "weight")
    other.load_state_dict(torch.load(buffer))
    assert torch.equal(other(torch.ones(1, 4)), m(torch.ones(1, 4)))


def test_removal() -> None:
    m = nn.Sequential(prune.l1_unstructured(example(), "weight", amount=4))
    pruned, parameter = m[0].weight.detach().clone(), m[0].weight_orig
    assert prune.is_pruned(m)
    assert prune.remove(m[0], "weight") is m[0]
    assert not prune.is_pruned(m) and m[0].weight is parameter and torch.equal(parameter, pruned)
    assert [n for n, _ in m[0].named_parameters()] == ["bias", "weight"] and not list(m.buffers())
    with pytest.raises(ValueError, match="Parameter 'weight' of module Linear"):
        prune.remove(m[0], "weight")


def test_given_scores_and_masks() -> None:
    m = prune.l1_unstructured(example(), "weight", amount=6, importance_scores=torch.arange(12.0).reshape(3, 4))
    assert m.weight_mask.sum(1).tolist() == [0, 2, 4]
    prune.custom_from_mask(m, "bias", torch.tensor([1, 0, 1]))
    assert m.bias.tolist() == [0.0, 0.0, 2.0]
    t = torch.tensor([3.0, -1.0, 2.0, -4.0])
    assert prune.L1Unstructured(2).prune(t).tolist() == [3, 0, 0, -4]
    assert prune.L1Unstructured(2).prune(t, importance_scores=torch.tensor([4.0, 3, 2, 1])).tolist() == [3, -1, 0, 0]
    assert prune.LnStructured(2, n=1, dim=1).prune(torch.tensor([[1.0, 5, 2], [0, 1, 1]])).tolist() == [
        [0, 5, 0],
        [0, 1, 0],
    ]


def test_drawn_units() -> None:
    torch.manual_seed(0)
    m = prune.random_unstructured(example(), "weight", amount=5)
    assert m.weight_mask.sum() == 7
    prune.random_structured(m, "weight", amount=2, dim=1)
    assert (m.weight_mask.sum(0) == 0).sum() >= 2
    conv = prune.random_structured(nn.Conv2d(2, 5, 3), "weight", amount=0.4, dim=0)
    assert sorted(conv.weight_mask.sum((1, 2, 3)).tolist()) == [0, 0, 18, 18, 18]


def test_several_parameters_as_one() -> None:
    net = nn.Sequential(example(), layer([[0.1, 9.0, -8.0], [7.0, 0.2, -0.3]]))
    pairs = [(net[0], "weight"), (net[1], "weight")]
    prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=5)
    assert net[0].weight_mask.tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1]]
    assert net[1].weight_mask.tolist() == [[0, 1, 1], [1, 0, 0]]
    scores = {pairs[0]: 100 * torch.ones(3, 4)}
    prune.global_unstructured(pairs, prune.L1Unstructured, importance_scores=scores, amount=3)
    assert net[1].weight_mask.sum() == 0 and net[0].weight_mask.sum() == 10


class EveryOther(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


def test_a_method_of_ones_own() -> None:
    m = example()
    EveryOther.apply(m, "bias")
    assert m.bias_mask.tolist() == [0, 1, 0]
    EveryOther.apply(m, "weight")
    EveryOther.apply(m, "weight")
    assert m.weight_mask.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]

    class Unknown(EveryOther):
        PRUNING_TYPE = "odd"

    class Channels(EveryOther):
        PRUNING_TYPE = "structured"

    with pytest.raises(ValueError, match="Unrecognized PRUNING_TYPE odd"):
        Unknown.apply(m, "weight")
    with pytest.raises(AttributeError, match="need to have the attribute `dim` defined"):
        Channels.apply(m, "weight")
    assert len(next(iter(m._forward_pre_hooks.values()))._tensor_name) > 0  # still as it was
    assert m(torch.ones(1, 4)).shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda m: prune.l1_unstructured(m, "weight", amount="x"), TypeError, "Invalid type for amount: x. Must be int or float."),
        (lambda m: prune.l1_unstructured(m, "weight", amount=-1), ValueError, r"amount=-1 should either be a float in the range"),
        (lambda m: prune.l1_unstructured(m, "weight", amount=1.5), ValueError, r"amount=1.5 should either be a float"),
        (lambda m: prune.l1_unstructured(m, "weight", amount=100), ValueError, "amount=100 should be smaller than the number of parameters to prune=12"),
        (lambda m: prune.ln_structured(m, "bias", 1, n=1, dim=0), ValueError, r"multidimensional tensors. Found tensor of shape torch.Size\(\[3\]\) with 1 dims"),
        (lambda m: prune.ln_structured(m, "weight", 1, n=1, dim=2), IndexError, "Invalid index 2 for tensor of size"),
        (lambda m: prune.l1_unstructured(m, "weight", 1, torch.ones(2)), AssertionError, "same shape as parameter weight of Linear"),
        (lambda m: prune.custom_from_mask(m, "weight", torch.ones(2)), AssertionError, r"default_mask shape torch.Size\(\[3, 4\]\) must match"),
        (lambda m: prune.PruningContainer().add_pruning_method(3), TypeError, "is not a BasePruningMethod subclass"),
        (lambda m: prune.l1_unstructured(m, "nothing", 1), AttributeError, "nothing"),
        (lambda m: prune.global_unstructured([(m, "weight")], prune.LnStructured, amount=1, n=2), TypeError, 'Only "unstructured" PRUNING_TYPE supported'),
        (lambda m: prune.global_unstructured(3, prune.L1Unstructured, amount=1), TypeError, "parameters is not an Iterable"),
        (lambda m: prune.global_unstructured([(m, "weight")], prune.L1Unstructured, 3, amount=1), TypeError, "importance_scores must be of type dict"),
    ],
)  # fmt: skip
def test_refusals(call, error, sentence: str) -> None:
    m = example()
    with pytest.raises(error, match=sentence):
        call(m)
    assert [n for n, _ in m.named_parameters()] == ["weight", "bias"] and not m._forward_pre_hooks
