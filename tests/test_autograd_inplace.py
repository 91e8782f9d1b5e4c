"""Changes in place: versions, histories of views and of what they view."""

import pytest

import flambeau as torch


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_in_place_results_have_history():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.mul_(x)
    y.add_(1)
    assert y.grad_fn.name() == "AddBackward0"
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_constant_becomes_differentiable():
    x = leaf(3.0)
    y = torch.ones(1, dtype=torch.float64)
    y.mul_(x)
    assert y.requires_grad and not y.is_leaf
    y.sum().backward()
    assert x.grad.item() == 1.0


def test_stale_values_are_noticed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError) as error:
        z.sum().backward()
    text = str(error.value)
    assert text.startswith(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.DoubleTensor [2]], which is output 0 of "
    )
    assert "is at version 1; expected version 0 instead. Hint: enable anomaly detection" in text
    assert "[changed last by add_]" in text


def test_stale_outputs_are_noticed():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="which is output 0 of Exp, is at version 1; expected version 0"):
        y.sum().backward()


def test_changes_of_what_is_not_saved_are_fine():
    x = leaf(1.0, 2.0)
    y = x + 1
    z = y + 2
    y.mul_(5)
    z.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_leaves_must_not_be_changed():
    x = leaf(1.0, 2.0)
    with pytest.raises(
        RuntimeError, match=r"^a leaf Variable that requires grad is being used in an in-place operation."
    ):
        x.add_(1)
    with pytest.raises(
        RuntimeError, match=r"^a view of a leaf Variable that requires grad is being used in an in-place"
    ):
        x[0].add_(1)
    assert x.tolist() == [1.0, 2.0]
    with torch.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0, 3.0] and x.is_leaf and x._version == 1


def test_expanded_tensors_must_not_be_written():
    x = torch.ones(3).expand(2, 3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        x.add_(1)


def test_versions_are_counted_by_storage():
    x = torch.ones(4)
    view, alias, data = x[1:], x.detach(), x.data
    view.add_(1)
    assert (x._version, view._version, alias._version, data._version) == (1, 1, 1, 0)


def test_a_changed_view_changes_the_history_of_its_base():
    w = leaf(10.0)
    base = torch.ones(3, dtype=torch.float64)
    view = base[1:]
    view.mul_(w)
    assert base.requires_grad and base.grad_fn.name() == "CopySlices"
    (base * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).sum().backward()
    assert w.grad.item() == 5.0


def test_a_changed_base_changes_the_history_of_its_views():
    w = leaf(10.0)
    base = torch.ones(2, 3, dtype=torch.float64)
    row = base[1]
    base.mul_(w)
    assert row.requires_grad
    assert row.grad_fn.name() == "AsStridedBackward0"
    row.sum().backward()
    assert w.grad.item() == 3.0


def test_views_of_views():
    w = leaf(2.0)
    x = leaf(1.0, 2.0, 3.0, 4.0)
    base = x * 1
    matrix = base.view(2, 2)
    column = matrix.t()[0]
    column.mul_(w)
    other = base[::2]
    assert base.tolist() == [2.0, 2.0, 6.0, 4.0]
    (other * other).sum().backward()
    assert x.grad.tolist() == [2 * 2 * 2.0, 0.0, 2 * 6 * 2.0, 0.0]
    assert w.grad.item() == 2 * 2 * 1 + 2 * 6 * 3


def test_assignment_to_a_part():
    x, v = leaf(1.0, 2.0, 3.0), leaf(7.0)
    y = x * 2
    y[1] = v[0] * 3
    (y * y).sum().backward()
    assert x.grad.tolist() == [8.0, 0.0, 24.0]
    assert v.grad.item() == 2 * 21 * 3


def test_second_order_through_a_changed_view():
    x = leaf(1.0, 2.0)
    y = x * x
    y[0].mul_(x[1])
    (g,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    # y = (a^2 b, b^2); sum of squares = a^4 b^2 + b^4
    assert g.tolist() == [4 * 1 * 4.0, 2 * 2.0 + 4 * 8.0]
    (h,) = torch.autograd.grad(g[0], x)
    assert h.tolist() == [12 * 4.0, 4 * 2 * 2.0]


def test_views_made_without_recording_must_not_be_changed():
    x = leaf(1.0, 2.0)
    y = x * 1
    with torch.no_grad():
        view = y[0]
    with pytest.raises(
        RuntimeError, match="A view was created in no_grad mode and is being modified inplace with grad"
    ):
        view.mul_(2)


def test_one_of_several_views_must_not_be_changed():
    x = leaf(1.0, 2.0)
    a, _ = (x * 1).unbind(0)
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and is being modified inplace"):
        a.mul_(2)


def test_base_and_detached_views():
    x = torch.ones(2, 3)
    assert x._base is None and not x._is_view()
    row = x[0]
    assert row._base is x and row[1:]._base is x
    assert not x.detach()._is_view()
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        (leaf(1.0, 2.0) * 1)[0].detach_()


def test_in_place_keeps_hooks_of_retained_gradients():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    assert y.grad.tolist() == [12.0, 24.0]
    assert x.grad.tolist() == [72.0, 144.0]


def test_setting_data():
    x = leaf(1.0, 2.0)
    y = x * x
    x.data = torch.tensor([5.0, 6.0, 7.0], dtype=torch.float64)
    assert x.shape == (3,) and x.requires_grad and x._version == 0
    del y
    with pytest.raises(RuntimeError, match="data set to a tensor that requires gradients must be floating point"):
        x.data = torch.ones(3, dtype=torch.int64)


def test_out_is_not_differentiable():
    x = leaf(1.0, 2.0)
    out = torch.empty(2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"functions with out=... arguments don't support automatic differentiation"):
        torch.exp(x, out=out)


def test_the_self_of_a_product_is_kept_where_the_other_needs_it():
    x, y = leaf(2.0, 3.0), leaf(5.0, 7.0)
    z = x * 1
    z.mul_(y)
    z.sum().backward()
    assert y.grad.tolist() == [2.0, 3.0]
    assert x.grad.tolist() == [5.0, 7.0]


def test_views_with_repeated_elements_get_sums():
    w = leaf(1.0, 2.0)
    base = torch.ones(2, dtype=torch.float64)
    wide = base.view(2, 1).expand(2, 3)
    base.mul_(w)
    wide.sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


def test_integers_that_differentiable_numbers_are_written_to_have_no_history():
    v = leaf(2.0)
    for change in (lambda x: x.fill_(v[0]), lambda x: x.copy_(v), lambda x: x.bernoulli_(v.sigmoid())):
        x = torch.zeros(3, dtype=torch.int64)
        assert not change(x).requires_grad
