"""Functions of functions: derivatives and batching, alone and inside of each other."""

import pytest

import flambeau as torch
import flambeau.autograd.forward_ad as fwAD
from flambeau.func import (
    functional_call,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)  # fmt: skip

F = torch.nn.functional
BATCH = 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def looped(f, *xs):
    rows = [f(*(x[i] for x in xs)) for i in range(len(xs[0]))]
    if isinstance(rows[0], tuple):
        return tuple(torch.stack(list(column)) for column in zip(*rows, strict=True))
    return torch.stack(rows)


def close(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype
    assert torch.allclose(a, b, rtol=1e-10, atol=1e-12), (a, b)


def test_comparison_notices_wrong_values():
    with pytest.raises(AssertionError):
        close(torch.ones(2), torch.ones(2) + 1e-3)
    with pytest.raises(AssertionError):
        close(torch.ones(2), torch.ones(1, 2))


def test_numbers_of_examples_are_promoted_as_numbers():
    x, one, many = torch.arange(4.0), torch.tensor(1, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for f in (lambda v: v + one, lambda v: one * v, lambda v: v * many, lambda v: torch.where(v > 1, one, v)):
        got, want = vmap(f)(x), looped(f, x)
        close(got.double(), want.double())
        assert got.dtype == want.dtype


# ---- vmap against a loop: what a network is made of

X, Y, V, W = (3, 5), (3, 5), (5,), (6, 5)
IMAGE, KERNEL = (2, 6, 6), (4, 2, 3, 3)


def indices():
    return torch.randint(0, 3, (BATCH,))


FUNCTIONS = {
    "add": (lambda a, b: a + b, X, V),
    "matrices": (lambda a, b: a @ b.t(), X, W),
    "matrix and vector": (lambda a, b: a @ b, X, V),
    "vector and matrix": (lambda a, b: a @ b.t(), V, W),
    "dot": (torch.dot, V, V),
    "linear": (lambda a, w, b: F.linear(a, w, b[:1].expand(6)), X, W, V),
    "linear of a vector": (lambda a, w: F.linear(a, w), V, W),
    "sum": (lambda a: a.sum(), X),
    "mean": (lambda a: a.mean(-1, keepdim=True), X),
    "max": (lambda a: a.max(), X),
    "max over a dimension": (lambda a: a.max(1), X),
    "argmax": (lambda a: a.argmax(), X),
    "argmax kept": (lambda a: a.argmax(keepdim=True), X),
    "sum of numbers": (lambda a: a.sum().sum(0).softmax(-1).cumsum(0), V),
    "softmax": (lambda a: F.softmax(a, 0), X),
    "views": (lambda a: a.view(-1, 5, 1).transpose(0, 1).flatten().unsqueeze(-1).squeeze(), X),
    "permute": (lambda a: a.permute(1, 0).expand(2, -1, -1), X),
    "split": (lambda a: (a.chunk(3, 0)[1], a.unbind(-1)[2], a.split(2, 1)[2]), X),
    "slices": (lambda a: a[1:, ::2][None, ..., 0], X),
    "convolution": (lambda a: F.conv2d(a, torch.ones(3, 2, 3, 3, dtype=a.dtype)), IMAGE),
    "convolution of batches": (lambda a, k: F.conv2d(a[None], k, padding=1), IMAGE, KERNEL),
    "convolution with bias": (lambda a, k, b: F.conv2d(a, k, b[:4]), IMAGE, KERNEL, V),
    "transposed convolution": (lambda a, k: F.conv_transpose2d(a, k.transpose(0, 1)), IMAGE, KERNEL),
    "pooling": (lambda a: (F.max_pool2d(a, 2), F.avg_pool2d(a[None], 2), F.adaptive_avg_pool2d(a, 1)), IMAGE),
    "layer norm": (lambda a, w: F.layer_norm(a, (5,), w, w), X, V),
    "group norm": (lambda a: F.group_norm(a[None], 2), IMAGE),
    "batch norm": (lambda a: F.batch_norm(a[None], None, None, training=True), IMAGE),
    "sort": (lambda a: a.sort(0), X),
    "topk": (lambda a: a.topk(2), X),
    "cat": (lambda a, b: torch.cat([a, b], 1), X, Y),
    "stack": (lambda a, b: torch.stack([a, b], -1), X, Y),
    "where": (lambda a, b: torch.where(a > 0, a, b), X, Y),
    "gather": (lambda a, b: a.gather(1, (b[:, :2] > 0).long()), X, Y),
    "einsum": (lambda a, b: torch.einsum("ij,kj->ik", a, b), X, W),
    "norms": (lambda a: (a.norm(), a.std(0), a.var(), a.median(), a.prod()), X),
    "promotion": (lambda a, b: a.float() * b.sum(), X, Y),
    "in place": (lambda a: torch.zeros_like(a).add_(a).mul_(2), X),
    "attention": (lambda a: F.scaled_dot_product_attention(a[None], a[None], a[None]), X),
    "interpolation": (lambda a: F.interpolate(a[None], scale_factor=2, mode="bilinear"), IMAGE),
    "padding": (lambda a: F.pad(a, (1, 1)), X),
    "unfold": (lambda a: F.unfold(a[None], 2), IMAGE),
    "roll and tril": (lambda a: (a.roll(1, 0), a.tril(), a.repeat(2, 1)), X),
    "loss": (F.mse_loss, X, Y),
    "logic": (lambda a: ((a > 0).any(), (a > 0).all(1)), X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_of(name):
    f, *shapes = FUNCTIONS[name]
    xs = [randn(BATCH, *shape) for shape in shapes]
    got, want = vmap(f)(*xs), looped(f, *xs)
    for g, w in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
        close(g, w)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, i: a[i],
        lambda a, i: a[:, i],
        lambda a, i: a[None, ..., i],
        lambda a, i: a[i, i],
        lambda a, i: a[i, 1:],
        lambda a, i: F.embedding(i, a),
        lambda a, i: a.index_select(0, i),
        lambda a, i: F.cross_entropy(a[0], i),
        lambda a, i: F.nll_loss(a.log_softmax(1)[:1], i[None]),
        lambda a, i: F.one_hot(i, 3),
    ],
)
def test_vmap_of_positions(f):
    a, i = randn(BATCH, 3, 5), indices()
    close(vmap(f)(a, i), looped(f, a, i))
    close(vmap(lambda j: f(a[0], j))(i), looped(lambda j: f(a[0], j), i))


def test_vmap_assigns():
    def f(a, i):
        b = a.clone()
        b[0, 1:3] = a[1, 1:3]
        b[i] = 7.0
        b[2] = a[0]
        return b

    a, i = randn(BATCH, 3, 5), indices()
    close(vmap(f)(a, i), looped(f, a, i))
    before = a.clone()
    vmap(f)(a, i)
    close(a, before)


def test_vmap_dimensions_and_structures():
    a, b = randn(5, BATCH), randn(BATCH)
    got = vmap(lambda p, c: {"s": p["x"] * p["y"], "c": c}, in_dims=({"x": 1, "y": 0}, None), out_dims=(1, None))
    result = got({"x": a, "y": b}, torch.tensor(2.0))
    close(result["s"], a * b)
    assert result["c"] == 2
    close(vmap(lambda x, *, y: x + y)(b, y=b), b + b)
    close(vmap(vmap(torch.mul), in_dims=(1, None))(a, a[:, 0]), a.t() * a[:, 0])
    close(vmap(torch.sin, in_dims=-1, out_dims=-1)(a), a.sin())
    for size in (1, 3, 4, 9):
        close(vmap(torch.sin, in_dims=1, out_dims=1, chunk_size=size)(a), a.sin())
    assert vmap(lambda x: x * 2)(torch.ones(0, 3)).shape == (0, 3)


def test_vmap_refuses():
    a = torch.ones(3, 2)
    with pytest.raises(ValueError, match="at least one"):
        vmap(torch.sin, in_dims=None)(a)
    with pytest.raises(ValueError, match="same size in the mapped dimension"):
        vmap(torch.add)(a, torch.ones(4, 2))
    with pytest.raises(ValueError, match="Tensor of dimensionality 2"):
        vmap(torch.sin, in_dims=2)(a)
    with pytest.raises(ValueError, match="must only return Tensors"):
        vmap(lambda x: 3)(a)
    with pytest.raises(ValueError, match="in_dims is not compatible"):
        vmap(torch.sin, in_dims=(0, 0))(a)
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        vmap(torch.sin, randomness="some")
    for look in (lambda x: x.sum().item(), lambda x: x if x.sum() > 0 else -x, lambda x: x.tolist()):
        with pytest.raises(RuntimeError, match="vmap: It looks like you're calling"):
            vmap(look)(a)
    with pytest.raises(RuntimeError, match="inplace|not possible because there exists a Tensor"):
        vmap(lambda x: torch.zeros(2).add_(x))(a)
    with pytest.raises(RuntimeError, match="out="):
        vmap(lambda x: torch.add(x, x, out=x))(a)


def test_vmap_draws():
    a = torch.zeros(3, 1000)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda x: x + torch.randn(1000))(a)
    draws = {
        "factory": lambda x: x + torch.randn(1000),
        "like": lambda x: torch.rand_like(x),
        "dropout": lambda x: F.dropout(x + 1),
        "permutation": lambda x: torch.randperm(1000) + x,
    }
    for f in draws.values():
        same, different = vmap(f, randomness="same")(a), vmap(f, randomness="different")(a)
        assert same.shape == different.shape == a.shape
        assert torch.equal(same[0], same[1]) and torch.equal(same[1], same[2])
        assert not torch.equal(different[0], different[1]) and not torch.equal(different[1], different[2])
    close(vmap(lambda x: x.sin(), randomness="different")(a), a.sin())
    assert 0.4 < vmap(draws["dropout"], randomness="different")(a).count_nonzero() / 3000 < 0.6


# ---- derivatives


def test_grad_of_grad():
    x = torch.tensor(0.7, dtype=torch.float64)
    close(grad(grad(grad(torch.sin)))(x), -x.cos())
    # The inner derivative must not see the outer one's variable as its own.
    close(grad(lambda a: a * grad(lambda b: a + b)(x))(x), torch.ones_like(x))
    assert not grad(torch.sin)(x).requires_grad


def test_grad_arguments():
    a, b = randn(3), randn(3)
    f = lambda x, y, k: ((x["u"] * y).sum() * k, (x, "aux"))  # noqa: E731
    (gx, gy), (value, aux) = grad_and_value(f, argnums=(0, -2), has_aux=True)({"u": a}, b, 2.0)
    close(gx["u"], 2 * b)
    close(gy, 2 * a)
    close(value, 2 * (a * b).sum())
    assert aux[1] == "aux" and not value.requires_grad and not aux[0]["u"].requires_grad
    close(grad(lambda x, y: (x * 3).sum(), argnums=1)(a, b), torch.zeros_like(b))
    with pytest.raises(RuntimeError, match="Got argnum=2"):
        grad(torch.sin, argnums=2)(a)
    with pytest.raises(RuntimeError, match="scalar Tensor"):
        grad(torch.sin)(a)
    with pytest.raises(RuntimeError, match="return a Tensor"):
        grad(lambda x: 3)(a)


def test_gradients_flow_to_what_is_outside():
    w = randn(3).requires_grad_()
    x = randn(3)
    g = grad(lambda v: (v.sin() * w).sum())(x)
    assert g.requires_grad
    (gw,) = torch.autograd.grad(g.sum(), w)
    close(gw, x.cos())
    y = x.clone().requires_grad_()
    (gy,) = torch.autograd.grad(grad(lambda v: (v**3).sum())(y).sum(), y)
    close(gy, 6 * x)


def test_vjp_and_jvp():
    x, t, u = randn(3, 2), randn(3, 2), randn(2, 3)
    f = lambda v: v.sin().t()  # noqa: E731
    y, pull = vjp(f, x)
    close(y, f(x))
    for _ in range(2):
        (got,) = pull(u)
        close(got, u.t() * x.cos())
    close(vmap(pull)(torch.stack([u, 2 * u]))[0], torch.stack([pull(u)[0], pull(2 * u)[0]]))
    y, moved = jvp(f, (x,), (t,))
    close(y, f(x))
    close(moved, (t * x.cos()).t())
    y, push = linearize(f, x)
    close(push(t), moved)
    y, moved, aux = jvp(lambda v: (v * v, v), (x,), (t,), has_aux=True)
    close(moved, 2 * x * t)
    close(aux, x)
    y, moved = jvp(lambda v: torch.ones(2), (x,), (t,))
    close(moved, torch.zeros(2))
    with pytest.raises(RuntimeError, match="independent"):
        jvp(lambda v: torch.ones(2), (x,), (t,), strict=True)
    with pytest.raises(RuntimeError, match="same python structure"):
        jvp(f, (x,), (t, t))
    with pytest.raises(RuntimeError, match="a forward gradient that has a different size"):
        jvp(f, (x,), (u,))


def test_vjp_gives_an_entry_for_each_primal_and_takes_what_the_outputs_look_like():
    x, y = randn(3), randn(3)
    _, pull = vjp(lambda d, b: {"p": d["a"] * b, "s": [b.sin()]}, {"a": x}, y)
    got = pull({"p": torch.ones_like(x), "s": [torch.ones_like(x)]})
    assert isinstance(got, tuple) and list(got[0]) == ["a"]
    close(got[0]["a"], y)
    close(got[1], x + y.cos())
    for wrong in (x, (x, x), {"p": x, "s": x}, {"p": x, "s": (x,)}):
        with pytest.raises(RuntimeError, match="Expected pytree structure of cotangents to be the same"):
            pull(wrong)
    (single,) = vjp(torch.sin, x.float())[1](torch.ones_like(x))
    assert single.dtype == torch.float32  # not that of the cotangent


def test_second_tangents_are_those_of_the_function_linearized():
    x, y = randn(3), randn(3)
    _, push = linearize(lambda d, b: d["a"] * b, {"a": x}, y)
    close(push({"a": y}, x), y * y + x * x)
    with pytest.raises(RuntimeError, match="to have the same argspec as the primals"):
        push(y, x)
    with pytest.raises(RuntimeError, match="tangent:1 with shape"):
        push({"a": y}, x[:2])
    with pytest.raises(RuntimeError, match="tangent:0 with dtype torch.float32"):
        push({"a": y.float()}, x)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: grad(torch.sum, argnums=())(x), RuntimeError, "argnums must be non-empty"),
        (lambda x: jacrev(torch.sin, argnums=[0])(x), RuntimeError, r"argnums must be int or Tuple\[int, ...\], got"),
        (lambda x: jacfwd(torch.sin, argnums=1)(x), RuntimeError, "Got argnum=1, but only 1 positional inputs"),
        (lambda x: grad(torch.sum)(2.0), ValueError, "Thing passed to transform API must be Tensor"),
        (lambda x: vjp(torch.add, x, 2.0), ValueError, "Thing passed to transform API must be Tensor"),
        (lambda x: grad(torch.sum)(x.long()), RuntimeError, "only Tensors of floating point dtype can require"),
        (lambda x: vjp(lambda v: v.long(), x), RuntimeError, "All outputs of f must be floating-point or complex"),
        (lambda x: vjp(lambda v: (v, 1.0), x), RuntimeError, "return only tensors, got unsupported type"),
        (lambda x: vjp(lambda v: (), x), RuntimeError, "Expected f to be a function that has non-empty output"),
        (lambda x: jvp(lambda: x, (), ()), RuntimeError, "Expected primals to contain at least one Tensor"),
        (lambda x: jvp(lambda v: 1.0, (x,), (x,)), RuntimeError, "return only tensors, got unsupported type"),
        (lambda x: jvp(torch.sin, (2.0,), (x,)), RuntimeError, "Expected primals to only contain Tensors"),
        (lambda x: jvp(torch.sin, (x,), (2.0,)), RuntimeError, "Expected tangents to only contain Tensors"),
        (lambda x: jvp(torch.sin, (x,), (x.long(),)), ValueError, "Expected tangent to be floating point or complex"),
        (lambda x: linearize(torch.sin, x.long()), ValueError, "Expected primal to be floating point or complex"),
    ],
)
def test_what_transforms_refuse(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(torch.ones(2))


def test_jacobians():
    u, v = randn(4), randn(2)
    f = lambda a, b: {"p": a.sin().outer(b), "s": (a**2).sum() * b[0]}  # noqa: E731
    want = torch.autograd.functional.jacobian(lambda a, b: tuple(f(a, b).values()), (u, v))
    for jacobian in (jacrev, jacfwd):
        got = jacobian(f, argnums=(0, 1))(u, v)
        for row, name in zip(want, ("p", "s"), strict=True):
            for k in range(2):
                close(got[name][k], row[k])
    j, aux = jacrev(lambda a: (a.sin(), a), has_aux=True)(u)
    close(j, torch.diag(u.cos()))
    close(aux, u)
    j, aux = jacfwd(lambda a: (a.sin(), a), has_aux=True)(u)
    close(j, torch.diag(u.cos()))
    close(aux, u)
    assert jacrev(torch.sin)(torch.ones(0)).shape == (0, 0)


def test_second_derivatives_all_ways():
    h = lambda a: (a**3).sum() + a[0] * a[1].exp() + F.softmax(a, 0)[2]  # noqa: E731
    u = randn(4)
    want = torch.autograd.functional.hessian(h, u)
    for second in (hessian(h), jacfwd(jacfwd(h)), jacrev(jacrev(h)), jacrev(jacfwd(h)), jacfwd(grad(h)), jacrev(grad(h))):
        got = second(u)
        close(got, want)
        assert not got.requires_grad
    close(vmap(hessian(h))(torch.stack([u, -u])), torch.stack([want, hessian(h)(-u)]))
    close(jvp(grad(h), (u,), (u,))[1], want @ u)
    third = jacfwd(hessian(h))(u)
    step = torch.zeros(4, dtype=u.dtype)
    step[1] = 1e-5
    assert torch.allclose(third[..., 1], (hessian(h)(u + step) - hessian(h)(u - step)) / 2e-5, atol=1e-7)


def test_forward_levels_are_kept_apart():
    x = torch.tensor(0.3, dtype=torch.float64)
    one = torch.ones_like(x)
    inner = lambda a: jvp(lambda b: a * b, (x,), (one,))[1]  # noqa: E731  d/db a b = a
    close(jvp(inner, (x,), (one,))[1], one)
    close(jvp(lambda a: jvp(torch.sin, (a,), (one,))[1], (x,), (one,))[1], -x.sin())


# ---- networks


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.GroupNorm(1, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(27, 4),
    ).double()  # fmt: skip


def test_gradients_of_each_example():
    model, x, t = network(), randn(BATCH, 1, 8, 8), torch.randint(0, 4, (BATCH,))
    parameters = {k: p.detach() for k, p in model.named_parameters()}

    def loss(p, a, b):
        return F.cross_entropy(functional_call(model, p, (a[None],)), b[None])

    got = vmap(grad(loss), (None, 0, 0))(parameters, x, t)
    for i in range(BATCH):
        want = grad(loss)(parameters, x[i], t[i])
        for name in parameters:
            close(got[name][i], want[name])
            assert not got[name].requires_grad


def test_ensemble():
    models, x = [network() for _ in range(3)], randn(2, 1, 8, 8)
    parameters, buffers = stack_module_state(models)
    got = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    close(got, torch.stack([m(x) for m in models]))
    with pytest.raises(RuntimeError, match="at least one model"):
        stack_module_state([])
    with pytest.raises(ValueError, match="multiple dictionaries"):
        functional_call(models[0], ({"0.bias": x}, {"0.bias": x}), (x,))
    assert functionalize(torch.sin) is torch.sin


def test_a_plain_tensor_changed_by_one_with_a_tangent_has_one():
    x, t = randn(3), randn(3)
    kept = torch.zeros(5, dtype=x.dtype)

    def f(x):
        whole = torch.zeros(2, 3, dtype=x.dtype)
        row, column = whole[0], whole[:, 1]
        row.copy_(x)
        column.add_(x[:2])
        whole[1, 2] = x[0] * x[2]
        kept[1:4] = x
        return whole * 1, kept.sum(), torch.ones(3, dtype=x.dtype).mul_(x).mul_(x), whole.t()

    outputs, moved = jvp(f, (x,), (t,))
    step = 1e-6
    high, low = (f(x + s * t) for s in (step, -step))
    for y, m, h, w in zip(outputs, moved, high, low, strict=True):
        assert y.shape == m.shape
        assert torch.allclose(m, (h - w) / (2 * step), rtol=1e-7, atol=1e-8)
    assert type(kept) is torch.Tensor and not hasattr(kept, "tangent")


# ---- forward_ad


def test_dual_numbers():
    x, t = randn(3), randn(3)
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, t)
        assert fwAD.unpack_dual(x).tangent is None
        y = dual.sin() * 2
        y.mul_(dual)
        y[0] = dual[1]
        primal, tangent = fwAD.unpack_dual(y)
        assert fwAD.unpack_dual(dual.detach()).tangent is None
        with pytest.raises(RuntimeError, match="Nested"):
            fwAD.enter_dual_level()
        with pytest.raises(ValueError, match="floating point"):
            fwAD.make_dual(torch.ones(2, dtype=torch.int64), torch.ones(2))
        with pytest.raises(RuntimeError, match="same sizes"):
            fwAD.make_dual(x, t[:2])
    want, slope = 2 * x.sin() * x, 2 * (x.cos() * x + x.sin()) * t
    want[0], slope[0] = x[1], t[1]
    close(primal, want)
    close(tangent, slope)
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, t)
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.exit_dual_level()


def test_dual_parameters_of_a_module():
    layer = torch.nn.Linear(3, 2).double()
    x = randn(4, 3)
    tangents = {name: torch.randn_like(p) for name, p in layer.named_parameters()}
    with fwAD.dual_level():
        duals = {name: fwAD.make_dual(p, tangents[name]) for name, p in layer.named_parameters()}
        moved = fwAD.unpack_dual(functional_call(layer, duals, (x,))).tangent
    close(moved.detach(), x @ tangents["weight"].t() + tangents["bias"])
