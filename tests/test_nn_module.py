"""What Module does: registering, naming, saving, moving, hooks, printing and its messages."""

import copy
import pickle
from collections import OrderedDict

import pytest

import flambeau as torch
from flambeau import nn


def net() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    return nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=inner, c=nn.Linear(3, 1, bias=False)))


def values(tensors) -> list:
    return [t.tolist() for t in tensors]


def test_names_in_order_and_each_once():
    model = net()
    model.again = model.a
    assert [n for n, _ in model.named_parameters()] == ["a.weight", "a.bias", "b.0.weight", "b.0.bias", "c.weight"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 7
    assert [n for n, _ in model.named_buffers()] == [
        "b.0.running_mean",
        "b.0.running_var",
        "b.0.num_batches_tracked",
    ]
    assert [n for n, _ in model.named_modules()] == ["", "a", "b", "b.0", "b.1", "c"]
    assert [n for n, _ in model.named_children()] == ["a", "b", "c"]


def test_attributes_register_and_replace():
    module = nn.Module()
    module.p = nn.Parameter(torch.zeros(2))
    module.register_buffer("kept", torch.zeros(1))
    module.register_buffer("dropped", torch.zeros(1), persistent=False)
    module.mine = nn.Buffer(torch.zeros(3))
    module.kept = torch.ones(1)
    assert list(module.state_dict()) == ["p", "kept", "mine"]
    assert module.kept.item() == 1.0 and isinstance(module.mine, nn.Buffer)
    module.p = None
    assert "p" in module._parameters and list(module.parameters()) == []
    with pytest.raises(TypeError, match="cannot assign 'int' as parameter 'p'"):
        module.p = 3
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'kept'"):
        module.kept = 3
    module.p = nn.Parameter(torch.ones(1))
    del module.p
    assert not hasattr(module, "p")


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [(3, TypeError, "should be a string"), ("a.b", KeyError, 'contain "."'), ("", KeyError, "empty string")],
)
def test_names_are_checked(name, error, text):
    module = nn.Linear(1, 1)
    for register in (
        lambda: module.register_parameter(name, None),
        lambda: module.register_buffer(name, None),
        lambda: module.add_module(name, nn.ReLU()),
    ):
        with pytest.raises(error, match=text):
            register()


def test_nothing_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()


def test_a_computed_tensor_is_no_parameter():
    module = nn.Module()
    with pytest.raises(TypeError, match="Parameter or None required"):
        module.register_parameter("p", torch.ones(2, requires_grad=True) * 2)


def test_missing_attribute():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'weigth'") as caught:
        nn.Linear(1, 1).weigth  # noqa: B018
    assert caught.value.name == "weigth"


# ---- saving


def test_state_goes_round():
    one, two = net(), net()
    with torch.no_grad():
        for p in one.parameters():
            p.add_(1.0)
    assert str(two.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    assert values(one.state_dict().values()) == values(two.state_dict().values())
    assert one.state_dict()._metadata["b.0"] == {"version": 2}


def test_wrong_names_and_shapes_are_all_named():
    state = net().state_dict()
    state["a.weigth"] = state.pop("a.weight")
    state["c.weight"] = torch.zeros(2, 3)
    with pytest.raises(RuntimeError) as caught:
        net().load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for Sequential:")
    assert 'Missing key(s) in state_dict: "a.weight". ' in text
    assert 'Unexpected key(s) in state_dict: "a.weigth". ' in text
    assert '"a.weigth" is closest to "a.weight"' in text
    assert (
        "size mismatch for c.weight: copying a param with shape torch.Size([2, 3]) from checkpoint, the shape in "
        "current model is torch.Size([1, 3])." in text
    )


def test_not_strict_returns_the_differences():
    state = net().state_dict()
    del state["a.bias"]
    state["more"] = torch.zeros(1)
    found = net().load_state_dict(state, strict=False)
    assert found.missing_keys == ["a.bias"] and found.unexpected_keys == ["more"]


def test_assign_takes_the_tensors():
    model, state = net(), {k: v.clone() for k, v in net().state_dict().items()}
    model.load_state_dict(state, assign=True)
    assert model.a.weight.data_ptr() == state["a.weight"].data_ptr()
    assert isinstance(model.a.weight, nn.Parameter) and model.a.weight.requires_grad


def test_extra_state():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.n = 0

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    one, two = nn.Sequential(Counts()), nn.Sequential(Counts())
    one[0].n = 7
    two.load_state_dict(one.state_dict())
    assert two[0].n == 7
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0._extra_state"'):
        two.load_state_dict({})


def test_copies_are_independent():
    model = net()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert values(twin.parameters()) == values(model.parameters())
        assert all(isinstance(p, nn.Parameter) for p in twin.parameters())
        with torch.no_grad():
            twin.a.weight.zero_()
        assert model.a.weight.abs().sum().item() > 0


# ---- moving


def test_casts_keep_the_objects():
    model = net()
    before = [id(p) for p in model.parameters()]
    model.double()
    assert [id(p) for p in model.parameters()] == before
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float64"}
    assert model.b[0].num_batches_tracked.dtype == torch.int64
    assert net().to(torch.zeros(1, dtype=torch.float16)).a.bias.dtype == torch.float16
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        model.to(torch.int32)


def test_gradients_move_too():
    model = net()
    model(torch.rand(4, 2)).sum().backward()
    model.double()
    assert model.a.weight.grad.dtype == torch.float64
    model.zero_grad(set_to_none=False)
    assert model.a.weight.grad.abs().sum().item() == 0
    model.zero_grad()
    assert model.a.weight.grad is None


def test_meta_modules():
    model = nn.Linear(3, 4, device="meta")
    assert model.weight.is_meta
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
        model.to("cpu")
    assert model.to_empty(device="cpu").weight.shape == (4, 3)


def test_modes():
    model = net()
    assert not any(m.training for m in model.eval().modules())
    assert all(m.training for m in model.train().modules())
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        model.train(3)
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())


# ---- finding


def test_dotted_paths():
    model = net()
    assert model.get_submodule("b.0") is model.b[0]
    assert model.get_submodule("") is model
    assert model.get_parameter("a.weight") is model.a.weight
    assert model.get_buffer("b.0.running_mean") is model.b[0].running_mean
    with pytest.raises(AttributeError, match=r"Linear has no attribute `weigth`.*closest name is `weight`"):
        model.get_parameter("a.weigth")
    with pytest.raises(AttributeError, match=r"`weight` is not an nn\.Module"):
        model.get_submodule("a.weight")
    model.set_submodule("b.1", nn.Tanh())
    assert isinstance(model.b[1], nn.Tanh)


# ---- calls and hooks


def test_hooks_in_order():
    log = []
    model = nn.Linear(2, 2)
    model.register_forward_pre_hook(lambda m, args: log.append("pre"))
    model.register_forward_pre_hook(lambda m, args: log.append("first"), prepend=True)
    model.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
    model.register_forward_hook(lambda m, args, out: out + 1)
    taken_away = model.register_forward_hook(lambda m, args, out: log.append("never"))
    taken_away.remove()
    x = torch.rand(3, 2)
    want = nn.functional.linear(x * 2, model.weight, model.bias) + 1
    assert model(x).tolist() == want.tolist()
    assert log == ["first", "pre"]


def test_backward_hooks_see_and_change_gradients():
    seen = {}
    model = net()
    model.c.register_full_backward_pre_hook(lambda m, grads: tuple(g * 3 for g in grads))
    model.c.register_full_backward_hook(lambda m, gi, go: seen.update(c=(gi[0].shape, go[0].tolist())))
    model.a.register_full_backward_hook(lambda m, gi, go: tuple(g * 0 for g in gi))
    x = torch.rand(4, 2, requires_grad=True)
    model(x).sum().backward()
    assert seen["c"] == ((4, 3), [[3.0]] * 4)
    assert x.grad.abs().sum().item() == 0 and model.a.weight.grad.abs().sum().item() > 0


def test_hooks_of_all_modules():
    names = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, args, out: names.append(type(m).__name__))
    with handle:
        net()(torch.rand(4, 2))
    net()(torch.rand(4, 2))
    assert names == ["Linear", "BatchNorm1d", "ReLU", "Sequential", "Linear", "Sequential"]


def test_hook_that_is_called_after_an_error():
    log = []
    model = nn.Linear(2, 2)
    model.register_forward_hook(lambda m, args, out: log.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3))
    assert log == [None]


def test_errors_say_which_module_failed():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)])

        def forward(self, x):
            return self.layers[1](self.layers[0](x)[:, :3])

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(RuntimeError) as caught:
        Model()(torch.rand(2, 4))
    assert caught.value.__notes__ == ["in module Model.encoder.layers.1.0 (Linear)"]


def test_a_module_without_forward():
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


# ---- containers


def test_sequential_as_a_list():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert [type(m).__name__ for m in model[1:]] == ["ReLU", "Linear"]
    model.append(nn.Tanh()).insert(1, nn.Sigmoid())
    del model[2]
    assert [type(m).__name__ for m in model] == ["Linear", "Sigmoid", "Linear", "Tanh"]
    assert list(model._modules) == ["0", "1", "2", "3"]
    assert len(model + nn.Sequential(nn.ReLU())) == 5 and len(model * 2) == 8
    with pytest.raises(IndexError, match="index 9 is out of range"):
        model[9]


def test_parameter_containers():
    holder = nn.ParameterList([torch.zeros(2), nn.Parameter(torch.ones(3)), "text"])
    holder.append(torch.ones(1))
    assert len(holder) == 4 and len(list(holder.parameters())) == 3
    assert isinstance(holder[0], nn.Parameter) and holder[2] == "text"
    named = nn.ParameterDict({"b": torch.zeros(2), "a": torch.ones(1)})
    assert list(named) == ["a", "b"] and "a" in named
    assert list((named | nn.ParameterDict({"c": torch.zeros(1)})).keys()) == ["a", "b", "c"]


def test_lazy_modules_learn_their_shapes():
    model = nn.Sequential(nn.LazyConv2d(3, 2), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    assert model(torch.rand(2, 4, 5, 5)).shape == (2, 2)
    assert [type(m).__name__ for m in model] == ["Conv2d", "BatchNorm2d", "Flatten", "Linear"]
    assert model[0].weight.shape == (3, 4, 2, 2) and model[3].in_features == 48


def test_an_empty_batch_leaves_the_statistics():
    norm = nn.BatchNorm1d(3)
    norm.running_mean.fill_(2.0)
    assert norm(torch.zeros(0, 3)).shape == (0, 3)
    assert norm.running_mean.tolist() == [2.0] * 3 and norm.running_var.tolist() == [1.0] * 3


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.register_buffer("b", torch.zeros(2))
        self.child = nn.Identity()

    def forward(self, x, *more, scale=1.0):
        return (x, *more, scale)


def test_attributes_with_and_without_a_class_of_ones_own():
    """A class may define __getattr__, before or after it is used; it sees names that Module would have found too."""

    class Own(Plain):
        def __getattr__(self, name):
            if name in self.__dict__.get("mine", ()):
                return f"my {name}"
            return super().__getattr__(name)

    plain, own = Plain(), Own()
    own.mine = ("w", "other")
    assert own.w == "my w" and own.other == "my other" and own.b is own._buffers["b"]
    assert plain.w is plain._parameters["w"] and plain.child is plain._modules["child"]
    plain._parameters["w"] = other = nn.Parameter(torch.zeros(1))  # as many programs do
    assert plain.w is other and plain.__getattr__("w") is other
    with pytest.raises(AttributeError, match="'Plain' object has no attribute 'absent'") as caught:
        plain.absent  # noqa: B018
    assert caught.value.name == "absent" and caught.value.obj is plain
    plain.__dict__["w"] = "first"
    assert plain.w == "first"
    Later = type("Later", (Plain,), {})
    later = Later()
    assert later.w.tolist() == [1, 1]
    Later.__getattr__ = lambda self, name: f"later {name}"
    assert later.w == "later w"
    del Later.__getattr__
    assert later.w.tolist() == [1, 1]


def test_a_property_that_fails_reads_as_missing():
    class Broken(Plain):
        @property
        def b(self):
            return self.nothing

        @property
        def sum(self):
            raise ValueError("not now")

    broken = Plain.__new__(Broken)
    nn.Module.__init__(broken)
    with pytest.raises(AttributeError, match="has no attribute 'b'"):
        broken.b  # noqa: B018
    with pytest.raises(ValueError, match="not now"):
        broken.sum  # noqa: B018
    broken._buffers["b"] = torch.ones(1)
    assert broken.b.tolist() == [1]


def test_calls_find_what_stands_for_forward():
    plain = Plain()
    assert plain(1) == (1, 1.0) and plain(1, 2, scale=3) == (1, 2, 3) and plain(x=4) == (4, 1.0)
    assert plain(*range(20)) == (*range(20), 1.0)
    plain.forward = lambda *args: ("instance", *args)
    assert plain(1, 2) == ("instance", 1, 2)

    class Static(nn.Module):
        forward = staticmethod(lambda x: ("static", x))

    class Called(Plain):
        def __call__(self, *args):
            return ("called", super().__call__(*args))

    assert Static()(3) == ("static", 3) and Called()(5) == ("called", (5, 1.0))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Plain()()


def test_a_call_replaced_for_all_modules(monkeypatch):
    """Tracers put their own __call__ on Module."""
    seen = []
    usual = nn.Module.__call__

    def traced(self, *args, **kwargs):
        seen.append(type(self).__name__)
        return usual(self, *args, **kwargs)

    model = nn.Sequential(nn.Identity(), Plain())
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "__call__", traced)
        model(1)
        Patched = type("Patched", (Plain,), {})
        Patched()(1)
    assert seen == ["Sequential", "Identity", "Plain", "Patched"]
    model(1)
    assert len(seen) == 4
