"""backward and grad: what is accumulated where, hooks, graphs that are kept, shared, deep or broken."""

import gc
import threading
import weakref

import pytest

import flambeau as torch


def leaf(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def test_product_and_sum():
    x, y = leaf(1.0, 2.0, 3.0), leaf(4.0, 5.0, 6.0)
    (x * y).sum().backward()
    assert x.grad.tolist() == [4.0, 5.0, 6.0]
    assert y.grad.tolist() == [1.0, 2.0, 3.0]
    assert x.grad is x.grad


def test_gradients_accumulate_in_place():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert first.tolist() == [5.0, 7.0]


def test_gradients_are_not_accumulated_in_place_when_a_graph_is_made():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward(create_graph=True)
    assert x.grad is not first
    assert first.tolist() == [3.0, 3.0]
    assert x.grad.tolist() == [5.0, 7.0]
    assert x.grad.requires_grad


def test_a_gradient_is_not_shared_between_leaves_or_with_the_seed():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = torch.ones(2, dtype=torch.float64)
    (x + y).backward(seed)
    x.grad.mul_(10)
    assert y.grad.tolist() == [1.0, 1.0]
    assert seed.tolist() == [1.0, 1.0]


def test_the_gradient_of_a_sum_has_memory_of_its_own():
    x = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    x.sum().backward()
    assert x.grad.is_contiguous()
    x.grad[0, 0] = 5
    assert x.grad.sum().item() == 16


def test_gradients_keep_the_layout_of_the_leaf():
    x = torch.zeros(3, 4, dtype=torch.float64).t().requires_grad_()
    (x * 2).sum().backward()
    assert x.grad.stride() == x.stride()


def test_broadcast_operands_get_summed_gradients():
    x = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    row = leaf(1.0, 2.0, 3.0)
    number = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (x * row * number).sum().backward()
    assert row.grad.tolist() == [4.0, 4.0, 4.0]
    assert number.grad.item() == 12.0
    assert x.grad.tolist() == [[2.0, 4.0, 6.0]] * 2


def test_mixed_dtypes_give_each_leaf_its_own():
    x = torch.ones(3, dtype=torch.float32, requires_grad=True)
    y = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (torch.float32, torch.float64)
    assert x.grad.tolist() == [2.0] * 3


def test_a_seed_of_another_dtype_is_cast_to_that_of_its_output():
    x = leaf(1.0, 2.0, dtype=torch.float32)
    seed = leaf(1.0, 3.0)
    y = x.sin()
    for made in torch.autograd.grad(y * 2, [x, y, x], seed, retain_graph=True):
        assert made.dtype == torch.float32
    (made,) = torch.autograd.grad(y, x, seed, create_graph=True)
    (slope,) = torch.autograd.grad(made.sum(), seed)
    assert slope.dtype == torch.float64
    assert torch.allclose(slope, x.detach().cos().double())
    y.backward(seed.detach())
    assert x.grad.dtype == torch.float32


def test_a_value_used_many_times():
    x = leaf(2.0)
    y = x * x
    z = y + y * y + x
    z.sum().backward()
    assert x.grad.item() == pytest.approx(2 * 2 + 4 * 8 + 1)


def test_backward_from_several_tensors():
    x = leaf(1.0, 2.0)
    torch.autograd.backward([x * 2, (x * x).sum()], [torch.ones(2, dtype=torch.float64), None])
    assert x.grad.tolist() == [4.0, 6.0]


def test_a_root_that_another_root_depends_on():
    x = leaf(3.0)
    y = x * x
    z = y * 2
    torch.autograd.backward([z.sum(), y.sum()])
    assert x.grad.item() == 6 * 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: torch.ones(3).sum().backward(),
            "element 0 of tensors does not require grad and does not have a grad_fn",
        ),
        (lambda: (leaf(1.0, 2.0) * 2).backward(), "grad can be implicitly created only for scalar outputs"),
        (
            lambda: (leaf(1.0, 2.0) * 2).backward(torch.ones(3, dtype=torch.float64)),
            r"Mismatch in shape: grad_output\[0\] has a shape of torch.Size\(\[3\]\) and output\[0\] has",
        ),
        (
            lambda: torch.autograd.grad(leaf(1.0).sum(), leaf(1.0)),
            "The differentiated Tensor at index [0-9] appears to not have been used in the graph",
        ),
        (
            lambda: torch.autograd.grad(leaf(1.0).sum(), torch.ones(1)),
            "One of the differentiated Tensors does not require grad",
        ),
        (lambda: torch.autograd.backward([leaf(1.0).sum()], [None, None]), "got 1 tensors and 2 gradients"),
    ],
)
def test_classic_mistakes(make, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        make()


def test_second_backward():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_second_backward_where_nothing_was_saved():
    x = leaf(1.0, 2.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_second_and_third_derivative():
    x = leaf(2.0, 3.0)
    (first,) = torch.autograd.grad((x**4).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    assert first.tolist() == pytest.approx([32.0, 108.0])
    assert second.tolist() == pytest.approx([48.0, 108.0])
    assert third.tolist() == pytest.approx([48.0, 72.0])


def test_grad_runs_only_what_is_needed():
    x, w = leaf(2.0), leaf(3.0)
    calls = []
    y = x * w
    other = w * w
    other.register_hook(calls.append)
    z = (y + other).sum()
    (g,) = torch.autograd.grad(z, y, retain_graph=True)
    assert g.tolist() == [1.0]
    assert calls == []
    (g,) = torch.autograd.grad(z, x)
    assert g.tolist() == [3.0]
    assert x.grad is None and w.grad is None


def test_grad_of_unused_inputs():
    x, y = leaf(1.0), leaf(2.0)
    z = (x * x).sum()
    assert torch.autograd.grad(z, (x, y), allow_unused=True, retain_graph=True)[1] is None
    zero = torch.autograd.grad(z, (x, y), materialize_grads=True)[1]
    assert zero.tolist() == [0.0]


@pytest.mark.parametrize("steps", [torch.round, torch.sign, lambda x: torch.div(x, 2, rounding_mode="floor")])
def test_steps_have_gradients_of_zero(steps):
    x = leaf(1.0, -2.5)
    steps(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    signs = torch.ones(3, 1, dtype=torch.float32, requires_grad=True)
    (g,) = torch.autograd.grad(torch.copysign(x, signs).sum(), signs)
    assert g.shape == (3, 1) and g.dtype == torch.float32 and not g.any()


@pytest.mark.parametrize("bends", [torch.relu, torch.nn.functional.leaky_relu, torch.abs])
def test_second_gradient_of_a_bend_is_zero(bends):
    x, w = leaf(1.0, -2.5), leaf(2.0, 3.0)
    (g,) = torch.autograd.grad(bends(x * w).sum(), x, create_graph=True)
    by_x, by_w = torch.autograd.grad((g * g).sum(), (x, w))
    assert by_x.tolist() == [0.0, 0.0]
    assert by_w.tolist() == ((2 * g * g) / w).tolist()
    y = x * w
    assert torch.autograd.grad(y.exp().sign().sum(), (y, x))[0].tolist() == [0.0, 0.0]
    assert torch.autograd.grad(y.sign().sum() + w.sum(), (y, w))[1].tolist() == [1.0, 1.0]


def test_batched_vectors():
    x = leaf(1.0, 2.0, 3.0)
    (rows,) = torch.autograd.grad(x * x, x, torch.eye(3, dtype=torch.float64), is_grads_batched=True)
    assert rows.tolist() == [[2.0, 0, 0], [0, 4.0, 0], [0, 0, 6.0]]


def test_grad_takes_its_arguments_in_order():
    x, unused, eye = leaf(1.0, 2.0), leaf(1.0), torch.eye(2, dtype=torch.float64)
    got = torch.autograd.grad(x * x, (x, unused), eye, None, False, True, True, True, False)
    assert got[0].tolist() == [[2.0, 0], [0, 4.0]] and got[1] is None
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        (g,) = torch.autograd.grad((x * x).sum(), x, only_inputs=False)
    assert g.tolist() == [2.0, 4.0]


def test_grad_of_named_inputs():
    inputs = {"a": leaf(2.0), "b": leaf(3.0)}
    got = torch.autograd.grad(inputs["a"] * inputs["b"], inputs)
    assert {name: g.item() for name, g in got.items()} == {"a": 3.0, "b": 2.0}


def test_gradients_that_nobody_asks_for_are_not_computed():
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    b, z = torch.randn(5, requires_grad=True), torch.randn(3, 5)
    wanted = {"x": x, "w": w, "b": b}
    y = torch.nn.functional.linear(x, w, b)
    whole = torch.autograd.grad(y, wanted, z, retain_graph=True)
    results = {"x": 0, "w": 1, "b": 2}
    for name, tensor in wanted.items():
        seen = []
        hook = y.grad_fn.register_hook(lambda grads, _, seen=seen: seen.append([g is not None for g in grads]))
        (alone,) = torch.autograd.grad(y, tensor, z, retain_graph=True)
        hook.remove()
        assert torch.equal(alone, whole[name])
        assert seen == [[i == results[name] for i in range(3)]]
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (mixed,) = torch.autograd.grad(g.sum(), w)
    assert torch.allclose(mixed, 2 * y.sum(0)[:, None] + 2 * w.sum(1)[:, None] * x.sum(0))


def test_backward_with_inputs():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    w = z * z
    w.sum().backward(inputs=[x, z])
    assert y.grad is None
    assert z.grad.item() == 12.0
    assert x.grad.item() == 36.0


def test_modes():
    x = leaf(1.0)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()

    @torch.no_grad()
    def f():
        return x * 2

    @torch.no_grad
    def g():
        yield torch.is_grad_enabled()
        yield torch.is_grad_enabled()

    assert not f().requires_grad
    seen = []
    for enabled in g():
        seen.append((enabled, torch.is_grad_enabled()))
    assert seen == [(False, True)] * 2
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)


def test_generators_under_a_mode_pass_values_and_exceptions_on():
    @torch.no_grad()
    def numbers():
        got = yield 1
        try:
            yield got
        except ValueError:
            yield "caught"
        return "end"

    g = numbers()
    assert next(g) == 1
    assert g.send(5) == 5
    assert g.throw(ValueError) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(g)
    assert stop.value.value == "end"


def test_inference_mode():
    x = leaf(1.0, 2.0)
    with torch.inference_mode():
        y = x * 2
        assert y.is_inference() and not y.requires_grad
        y.add_(1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * y
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        y.requires_grad_()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"):
        y.view(2).add_(1)
    assert (x + y.clone()).requires_grad


def test_leaves_and_flags():
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf and not y.is_leaf and x.grad_fn is None
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="only Tensors of floating point dtype can require gradients"):
        torch.ones(2, dtype=torch.int64).requires_grad_()
    assert y.detach().is_leaf and not y.detach().requires_grad
    assert not (x > 0).requires_grad
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_assigning_grad():
    x = leaf(1.0, 2.0)
    x.grad = torch.ones(2, dtype=torch.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    x.grad = None
    assert x.grad is None
    for bad, sentence in (
        (torch.ones(3, dtype=torch.float64), "of size"),
        (torch.ones(2), "with dtype .float."),
    ):
        with pytest.raises(RuntimeError, match=f"attempting to assign a gradient {sentence}"):
            x.grad = bad
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None"):
        x.grad = 3


def test_tensor_hooks_see_and_replace_gradients():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (y * 2).sum().backward(retain_graph=True)
    assert seen == [[2.0, 2.0], [60.0, 60.0]]
    assert x.grad.tolist() == [60.0, 60.0]
    handle.remove()
    seen.clear()
    (y * 2).sum().backward()
    assert seen == [[60.0, 60.0]]


def test_hooks_see_the_complete_gradient_once():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5.0]


def test_wrong_hooks():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        torch.ones(2).register_hook(print)
    handle = x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        (x * 2).sum().backward()
    handle.remove()
    x.register_hook(lambda g: 3)
    with pytest.raises(TypeError, match="expected Tensor, but hook returned 'int'"):
        (x * 2).sum().backward()


def test_hooks_after_accumulation():
    x = leaf(1.0, 2.0)
    seen = []

    def step(p):
        seen.append(p.grad.tolist())
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert seen == [[2.0, 2.0], [3.0, 3.0]]
    assert x.grad is None
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_node_hooks():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 2,))
    y.grad_fn.register_hook(lambda given, came: seen.append((given[0].tolist(), came[0].tolist())))
    y.sum().backward()
    assert seen == [([6.0, 6.0], [2.0, 2.0])]
    assert x.grad.tolist() == [6.0, 6.0]


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        torch.ones(1).retain_grad()


def test_retain_grad_of_a_tensor_that_died():
    x = leaf(1.0)
    y = x * 3
    y.retain_grad()
    z = y * 2
    del y
    z.sum().backward()
    assert x.grad.item() == 6.0


def test_nodes_as_python_sees_them():
    x = leaf(1.0)
    y = x * x
    fn = y.grad_fn
    assert fn is y.grad_fn
    assert fn.name() == type(fn).__name__ == "MulBackward0"
    assert repr(fn).startswith("<MulBackward0 object at 0x")
    (accumulate, number), _ = fn.next_functions
    assert (accumulate.name(), number) == ("AccumulateGrad", 0)
    assert accumulate.variable is x
    fn.metadata["key"] = 1
    assert y.grad_fn.metadata == {"key": 1}
    assert (y * 2).grad_fn.next_functions == ((fn, 0), (None, 0))


def test_deep_graphs_run_and_die_without_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.item() == 1.0
    z = x
    for _ in range(100_000):
        z = z * 1
    del z


def test_backward_inside_a_hook():
    x, w = leaf(2.0), leaf(5.0)
    inner = []

    def hook(g):
        with torch.enable_grad():
            (w * w * g.item()).sum().backward()
        inner.append(w.grad.item())

    y = x * x
    y.register_hook(hook)
    (y * 3).sum().backward()
    assert inner == [30.0]
    assert x.grad.item() == 12.0


def test_backward_of_the_same_graph_inside_a_hook():
    x = leaf(2.0)
    y = x * x
    entered = []

    def hook(g):
        if not entered:
            entered.append(True)
            with torch.enable_grad():
                y.sum().backward(retain_graph=True)

    y.register_hook(hook)
    (y * 3).sum().backward()
    assert x.grad.item() == 3 * 4 + 4


def test_threads_add_to_the_same_gradient():
    w = torch.zeros(1 << 18, requires_grad=True)

    def work():
        for _ in range(10):
            (w * 1).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    assert (w.grad == 80).all()


def test_an_exception_frees_what_the_run_held():
    x = leaf(1.0)
    y = x * 2
    alive = []

    def hook(g):
        alive.append(weakref.ref(g))
        raise KeyError("mine")

    y.register_hook(hook)
    z = (y * 3).sum()
    with pytest.raises(KeyError, match="mine"):
        z.backward()
    gc.collect()
    assert alive[0]() is None
    assert x.grad is None


def test_intermediate_values_die_with_the_graph():
    x = leaf(1.0, 2.0)
    y = x * 2
    z = (y * y).sum()
    gone = weakref.ref(y)
    del y
    z.backward()
    gc.collect()
    assert gone() is None


def test_cycles_through_hooks_are_collected():
    x = leaf(1.0)
    x.register_hook(lambda g: x)
    y = x * 2
    y.register_hook(lambda g: y)
    gone = [weakref.ref(x), weakref.ref(y)]
    x = y = None
    gc.collect()
    assert [r() for r in gone] == [None, None]


def test_saved_tensors_hooks():
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    x = leaf(2.0, 3.0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda v: torch.tensor(v, dtype=torch.float64)):
        y = x * x
    y.sum().backward()
    assert packed == [[2.0, 3.0]] * len(packed) and packed
    assert x.grad.tolist() == [4.0, 6.0]


def test_multi_grad_hook():
    x, y = leaf(1.0), leaf(2.0)
    seen = []
    handle = torch.autograd.graph.register_multi_grad_hook((x, y), lambda grads: seen.append([g.item() for g in grads]))
    (x * y).sum().backward()
    handle.remove()
    (x * y).sum().backward()
    assert seen == [[2.0, 1.0]]


def test_anomaly_mode_names_the_function():
    x = leaf(0.0)
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        mode = torch.autograd.detect_anomaly()
    with mode, pytest.warns(UserWarning, match="Traceback of forward call"):
        y = x.sqrt() * 0
        with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
            y.sum().backward()
    with torch.autograd.set_detect_anomaly(False):
        pass


def test_data_and_detach_share_elements():
    x = leaf(1.0, 2.0)
    y = x * x
    x.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    z = x * x
    x.data.mul_(2)
    z.sum().backward()
    assert x.grad.tolist() == [8.0, 16.0]
