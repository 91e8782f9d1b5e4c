"""What all optimizers and schedules share: groups, state, hooks, messages."""

import copy
import pickle
import warnings

import pytest

import flambeau as torch
from flambeau import nn, optim
from flambeau.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, SequentialLR, StepLR


def params() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]


def descend(optimizer, ps, steps: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        sum((p**2).sum() for p in ps).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda: optim.SGD(torch.zeros(2)), TypeError, "should be an iterable of Tensors or dicts"),
        (lambda: optim.SGD([("a", params()[0]), params()[1]]), ValueError, "Some param names are missing"),
        (lambda: optim.Adam(params(), lr="a"), TypeError, "'<=' not supported between instances of 'float' and 'str'"),
        (lambda: optim.Muon([torch.ones(2, 2)], lr=-1), ValueError, "Learning rate should be >= 0 but is: -1"),
        (lambda: optim.SparseAdam([torch.ones(2) + 1j]), ValueError, r"Complex params at indices \[\[0, 0\]\]: SparseAdam"),
        (lambda: optim.SGD([3]), TypeError, "optimizer can only optimize Tensors, but one of the params is int"),
        (lambda: optim.SGD([{"params": set(params())}]), TypeError, "ordered collections"),
        (lambda: optim.SGD([params()[0] * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: optim.SGD(params(), lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: optim.SGD(params(), nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda: optim.Adam(params(), betas=(1.0, 0.5)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda: optim.Adam(params(), lr=torch.zeros(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda: optim.LBFGS([{"params": p} for p in params()]), ValueError, "doesn't support per-parameter options"),
        (lambda: optim.Muon(params()), ValueError, "Muon only supports 2D parameters"),
    ],
)
def test_arguments_are_checked(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_groups_have_options_of_their_own():
    first, second = params()
    opt = optim.SGD([{"params": [first], "lr": 0.5}, {"params": second}], lr=0.1)
    descend(opt, [first, second])
    assert first.tolist() == pytest.approx([0.0, 0.0]) and second.tolist() == pytest.approx([0.8] * 3)
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        opt.add_param_group({"params": first})


def test_named_parameters():
    layer = nn.Linear(2, 2)
    opt = optim.SGD(layer.named_parameters())
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="cannot add param group without names"):
        opt.add_param_group({"params": params()})


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "LBFGS"])
def test_training_goes_on_from_a_saved_state(name):
    def make(ps):
        return getattr(optim, name)(ps, lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))

    def step(opt, ps):
        def closure():
            opt.zero_grad()
            loss = sum((p**2).sum() for p in ps)
            loss.backward()
            return loss

        opt.step(closure)

    one = params()
    opt = make(one)
    step(opt, one)
    two = [nn.Parameter(p.detach().clone()) for p in one]
    other = make(two)
    other.load_state_dict(pickle.loads(pickle.dumps(opt.state_dict())))
    for _ in range(2):
        step(opt, one)
        step(other, two)
    assert [p.tolist() for p in one] == [p.tolist() for p in two]


def test_a_state_of_another_shape_is_refused():
    opt = optim.SGD(params())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        opt.load_state_dict(optim.SGD([{"params": p} for p in params()]).state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        opt.load_state_dict(optim.SGD(params()[:1]).state_dict())


def test_hooks_and_copies():
    log, ps = [], params()
    opt = optim.SGD(ps, lr=0.1)
    opt.register_step_pre_hook(lambda o, args, kwargs: log.append("pre"))
    opt.register_step_post_hook(lambda o, args, kwargs: log.append("post"))
    opt.register_state_dict_post_hook(lambda o, state: log.append("saved"))
    descend(opt, ps)
    opt.state_dict()
    assert log == ["pre", "post", "saved"]
    assert repr(copy.deepcopy(opt)) == repr(pickle.loads(pickle.dumps(opt))) == repr(opt)


def test_parameters_without_gradient_stay():
    used, unused = params()
    opt = optim.Adam([used, unused], lr=0.1)
    (used**2).sum().backward()
    opt.step()
    assert unused.tolist() == [1.0] * 3 and unused not in opt.state


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes_learn(name, dtype):
    ps = [nn.Parameter(torch.ones(40, dtype=getattr(torch, dtype)))]
    descend(getattr(optim, name)(ps, lr=0.1), ps, steps=10)
    assert 0 < ps[0].abs().max().item() < 0.5


def test_parameters_that_are_not_contiguous_learn_the_same():
    torch.manual_seed(0)
    start = torch.rand(4, 6)
    plain, turned = nn.Parameter(start.clone()), nn.Parameter(start.t().contiguous().t())
    assert not turned.is_contiguous()
    for p in (plain, turned):
        descend(optim.Adam([p], lr=0.1), [p], steps=3)
    assert ((plain - turned).abs() < 1e-6).all()


def test_sgd_step_by_hand():
    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    opt = optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.5)
    expected, buffer = [1.0, -2.0], [0.0, 0.0]
    for step in range(3):
        p.grad = torch.tensor([0.3, 0.7])
        opt.step()
        grads = [g + 0.5 * x for g, x in zip((0.3, 0.7), expected, strict=True)]
        buffer = grads if step == 0 else [0.9 * b + g for b, g in zip(buffer, grads, strict=True)]
        expected = [x - 0.1 * b for x, b in zip(expected, buffer, strict=True)]
        assert p.tolist() == pytest.approx(expected, rel=1e-6)


# ---- schedules


def schedule(make):
    ps = params()
    opt = optim.SGD(ps, lr=0.1, momentum=0.9)
    return opt, make(opt)


def test_schedules_go_on_from_a_saved_state():
    opt, scheduler = schedule(lambda o: CosineAnnealingLR(o, 7))
    rates = []
    for i in range(10):
        opt.step()
        scheduler.step()
        if i == 4:
            state = pickle.loads(pickle.dumps((opt.state_dict(), scheduler.state_dict())))
        if i > 4:
            rates.append(scheduler.get_last_lr()[0])
    opt, scheduler = schedule(lambda o: CosineAnnealingLR(o, 7))
    opt.load_state_dict(state[0])
    scheduler.load_state_dict(state[1])
    again = []
    for _ in range(5):
        opt.step()
        scheduler.step()
        again.append(scheduler.get_last_lr()[0])
    assert again == rates


def test_the_wrong_order_is_told():
    _, scheduler = schedule(lambda o: StepLR(o, 2))
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()


def test_plateau():
    opt, scheduler = schedule(lambda o: ReduceLROnPlateau(o, factor=0.5, patience=1, min_lr=0.03))
    rates = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9):
        scheduler.step(loss)
        rates.append(opt.param_groups[0]["lr"])
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03]


def test_schedules_check_their_arguments():
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        StepLR(3, 1)
    opt = optim.SGD(params(), lr=0.1)
    with pytest.raises(ValueError, match="number of schedulers provided to be one more than the number of milestone"):
        SequentialLR(opt, [StepLR(opt, 1)], [1])
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified in param_groups"):
        StepLR(optim.SGD(params(), lr=0.1), 1, last_epoch=3)


def test_rates_as_tensors_stay_the_same_tensor():
    rate = torch.tensor(0.1)
    ps = params()
    opt = optim.SGD(ps, lr=rate)
    scheduler = StepLR(opt, 1, 0.5)
    descend(opt, ps)
    scheduler.step()
    assert opt.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        descend(opt, ps)


def test_weight_averages():
    from flambeau.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    mean, moving = AveragedModel(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for i in range(3):
        with torch.no_grad():
            model[0].bias.fill_(float(i))
        mean.update_parameters(model)
        moving.update_parameters(model)
    assert mean.module[0].bias.tolist() == pytest.approx([1.0, 1.0])
    assert moving.module[0].bias.tolist() == pytest.approx([1.25, 1.25])
    update_bn([torch.ones(4, 2)], mean)
    assert mean.module[1].num_batches_tracked.item() == 1
    opt = optim.SGD(model.parameters(), lr=0.1)
    scheduler = SWALR(opt, 0.05, anneal_epochs=2, anneal_strategy="linear")
    rates = []
    for _ in range(3):
        opt.step()
        scheduler.step()
        rates.append(opt.param_groups[0]["lr"])
    assert rates == pytest.approx([0.075, 0.05, 0.05])


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("Adam", {"capturable": True}, AssertionError, "If capturable=True, params and state_steps must be on supported"),
        ("ASGD", {"capturable": True}, AssertionError, "If capturable=True, params, mus, etas, and state_steps must be"),
        ("NAdam", {"foreach": True, "differentiable": True}, AssertionError, "_foreach ops don't support autograd"),
        ("Adafactor", {"complex": True}, RuntimeError, "Adafactor does not support complex parameters"),
        ("Muon", {"complex": True}, RuntimeError, "Muon does not support complex parameters"),
        ("Muon", {"ns_steps": 100}, ValueError, "Number of steps must be less than 100 for computational efficiency"),
    ],
)
def test_what_a_step_refuses(name, options, error, text):
    options = dict(options)
    start = torch.ones(2, 2) * (1j if options.pop("complex", False) else 1)
    p = nn.Parameter(start)
    optimizer = getattr(optim, name)([p], **options)
    p.grad = torch.ones_like(start)
    with pytest.raises(error) as raised:
        optimizer.step()
    assert str(raised.value).startswith(text)


def test_steps_of_rprop_are_as_exact_as_the_parameter():
    p = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = optim.Rprop([p], lr=0.1)
    for _ in range(2):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert optimizer.state[p]["step_size"].item() == 0.1 * 1.2


def test_sparse_gradients_may_be_assigned():
    p = nn.Parameter(torch.ones(3))
    optimizer = optim.SparseAdam([p], lr=0.5)
    p.grad = torch.tensor([0.0, 2.0, 0.0]).to_sparse()
    optimizer.step()
    assert p.grad.is_sparse and p.tolist() == pytest.approx([1, 0.5, 1])


def test_states_have_the_names_of_pytorchs():
    ps = params()
    assert sorted(optim.Adagrad(ps).state_dict()["state"]) == [0, 1]
    optimizer = optim.LBFGS(ps, history_size=3)

    def loss():
        optimizer.zero_grad()
        value = sum((p**4).sum() for p in ps)
        value.backward()
        return value

    optimizer.step(loss)
    assert optimizer.state_dict()["state"][0]["al"] == [None] * 3
    assert ReduceLROnPlateau(optim.SGD(ps), mode="max").state_dict()["mode_worse"] == -float("inf")
