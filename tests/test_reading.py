"""Reading through positions: gather, slices, masks, over layouts, element sizes and sizes of blocks, against NumPy."""

import numpy as np
import pytest

import flambeau

DTYPES = [np.uint8, np.int16, np.float32, np.float64, np.complex128]


def drawn(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def tensor(a):
    return flambeau.from_numpy(np.ascontiguousarray(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_gather_of_any_element_along_any_dimension(dtype, index_dtype):
    a = drawn(0, 7, 9, 11, dtype=dtype)
    for dim in range(3):
        index = np.random.default_rng(dim).integers(0, a.shape[dim], (7, 9, 11)).astype(index_dtype)
        expected = np.take_along_axis(a, index, dim)
        assert np.array_equal(flambeau.gather(tensor(a), dim, tensor(index)).numpy(), expected)
        turned = tensor(a.transpose(2, 0, 1)).permute(1, 2, 0)
        at = tensor(index.transpose(1, 2, 0)).permute(2, 0, 1)
        assert np.array_equal(turned.gather(dim, at).numpy(), expected)
        short = np.take_along_axis(a[:5, :4, :3], index[:5, :4, :3] % [5, 4, 3][dim], dim)
        assert np.array_equal(tensor(a)[:5, :4, :3].gather(dim, at[:5, :4, :3] % [5, 4, 3][dim]).numpy(), short)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slices_of_any_element(dtype):
    a, at = drawn(1, 6, 70, 5, dtype=dtype), np.random.default_rng(2).integers(0, 5, 300)
    for dim in range(3):
        assert np.array_equal(tensor(a).index_select(dim, tensor(at)).numpy(), np.take(a, at, dim))
        turned, plain = tensor(a).transpose(0, 2), a.transpose(2, 1, 0)
        assert np.array_equal(turned.index_select(dim, tensor(at)).numpy(), np.take(plain, at, dim))
    assert np.array_equal(tensor(a).take(tensor(at * 400 - 1)).numpy(), np.take(a, at * 400 - 1))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "complex128"])
def test_slices_of_few_elements(dtype):
    at = np.random.default_rng(3).integers(0, 9, 70)
    for width in (1, 2, 3, 4, 6, 7, 16, 33):
        a = drawn(4, 2, 9, width, dtype=dtype)
        assert np.array_equal(tensor(a).index_select(1, tensor(at)).numpy(), a[:, at])
        with pytest.raises(IndexError, match="out of range"):
            tensor(a).index_select(1, flambeau.tensor([0, 9]))


@pytest.mark.parametrize("n", [1, 7, 8, 2047, 2048, 2049, 40_000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_masks_of_any_length(n, share):
    mask = np.random.default_rng(n).random(n) < share
    for dtype in DTYPES:
        a = drawn(3, n, dtype=dtype)
        assert np.array_equal(tensor(a)[tensor(mask)].numpy(), a[mask])
    assert np.array_equal(tensor(mask).nonzero().numpy(), np.argwhere(mask))
    assert np.array_equal(tensor(mask.view(np.uint8) * 2).nonzero().numpy(), np.argwhere(mask))


def test_positions_of_masks_whose_rows_are_shorter_and_longer_than_a_block():
    for shape in ((3, 5000), (5000, 3), (17, 1, 300), (2, 0, 4), (7, 11, 13, 5)):
        mask = np.random.default_rng(4).random(shape) < 0.2
        assert np.array_equal(tensor(mask).nonzero().numpy(), np.argwhere(mask))
        turned = tensor(mask.T).permute(*reversed(range(mask.ndim)))
        assert np.array_equal(turned.nonzero().numpy(), np.argwhere(mask))


def test_results_that_are_larger_than_the_caches():
    a, at = drawn(5, 40, 4100, dtype=np.float32), np.random.default_rng(6).integers(-40, 40, 1700)
    assert np.array_equal(tensor(a)[tensor(at)].numpy(), a[at])
    assert np.array_equal(tensor(a)[:, 3:].index_select(0, tensor(at % 40)).numpy(), a[at % 40, 3:])


def test_any_index_outside_is_named_whichever_thread_meets_it():
    x = flambeau.zeros(50, 4000)
    index = flambeau.zeros(50, 4000, dtype=flambeau.int64)
    index[49, 3999], index[20, 7] = 50, -1
    with pytest.raises(RuntimeError, match="index -1 is out of bounds for dimension 0 with size 50"):
        x.gather(0, index)
    with pytest.raises(IndexError, match="index out of range in self"):
        x.index_select(0, flambeau.tensor([3] * 40 + [50]))
    with pytest.raises(IndexError, match="index -51 is out of bounds for dimension 0 with size 50"):
        x[flambeau.tensor([0, -51])]
    with pytest.raises(IndexError, match="index 9223372036854775807 is out of bounds"):
        x[:, flambeau.tensor([2**63 - 1])]
    with pytest.raises(IndexError, match="index is out of bounds for dimension with size 0"):
        flambeau.zeros(0, 2)[flambeau.tensor([0])]


def test_take_along_dim_takes_indices_modulo_the_size():
    a, at = drawn(7, 6, 5), np.random.default_rng(8).integers(-5, 5, (6, 9))
    assert np.array_equal(flambeau.take_along_dim(tensor(a), tensor(at), 1).numpy(), np.take_along_axis(a, at, 1))
    x = tensor(a).requires_grad_()
    assert flambeau.autograd.gradcheck(lambda x: flambeau.take_along_dim(x, tensor(at), 1), (x,))
    assert np.array_equal(
        flambeau.take_along_dim(tensor(a), tensor(at + 10), 1).numpy(), np.take_along_axis(a, at, 1)
    )


def test_positions_of_one_element_and_of_no_dimensions():
    scalar, one = flambeau.tensor(3.0), flambeau.tensor([5.0])
    zero = flambeau.tensor(0)
    assert scalar.gather(0, zero).shape == () and scalar.gather(0, zero.view(1)).shape == (1,)
    assert one.gather(0, zero).item() == 5 and one.index_select(0, zero).shape == (1,)
    assert scalar.index_select(0, zero).shape == () and scalar.take(zero).item() == 3
    x = flambeau.tensor([[1.0, 2.0]], requires_grad=True)
    x.take(flambeau.tensor([1, 1, -2])).sum().backward()
    assert x.grad.tolist() == [[1, 2]]


def test_meta_tensors_have_no_positions():
    x = flambeau.empty(3, 4, device="meta")
    assert x[flambeau.tensor([0, 9])].shape == (2, 4)
    with pytest.raises(NotImplementedError):
        x.nonzero()


@pytest.mark.parametrize("dtype", [*DTYPES, np.int8])
def test_copies_between_layouts(dtype):
    for shape in ((3, 500), (500, 3), (64, 64), (37, 1029), (1200, 70), (2, 65, 33, 18)):
        a = drawn(9, *shape, dtype=dtype)
        x = tensor(a)
        order = tuple(reversed(range(a.ndim)))
        assert np.array_equal(x.permute(order).contiguous().numpy(), a.transpose(order))
        target = flambeau.zeros(shape[::-1], dtype=x.dtype).permute(order)
        target.copy_(x)
        assert np.array_equal(target.numpy(), a)
        assert np.array_equal(x[..., ::2].contiguous().numpy(), a[..., ::2])
        wide = flambeau.zeros(*shape[:-1], 2 * shape[-1], dtype=x.dtype)
        wide[..., ::2].copy_(x)
        assert np.array_equal(wide.numpy()[..., ::2], a) and not wide.numpy()[..., 1::2].any()
    x = flambeau.from_numpy(drawn(10, 2100, 2101, dtype=dtype))
    assert np.array_equal(x.t().contiguous().numpy(), x.numpy().T)
    assert np.array_equal(x[:, 1:].t().contiguous().numpy(), x.numpy()[:, 1:].T)


def test_joining_of_parts_that_are_large_small_or_in_another_layout():
    a, b, c = (drawn(seed, *shape) for seed, shape in ((11, (70, 4000)), (12, (70, 1)), (13, (70, 3))))
    for parts in ((a, b, c), (b, c), (a, a, a, a, a, a, a, a), (b,)):
        assert np.array_equal(flambeau.cat([tensor(p) for p in parts], 1).numpy(), np.concatenate(parts, 1))
        assert np.array_equal(flambeau.cat([tensor(p.T) for p in parts]).numpy(), np.concatenate([p.T for p in parts]))
        turned = [tensor(p.T).t() for p in parts]
        assert np.array_equal(flambeau.cat(turned, -1).numpy(), np.concatenate(parts, 1))
    for dim in (0, 1, 2, -1):
        assert np.array_equal(flambeau.stack([tensor(a), tensor(a) + 1], dim).numpy(), np.stack([a, a + 1], dim))


@pytest.mark.parametrize(("dtype", "rows", "widths"), [("f4", 70_001, (50, 61)), ("u1", 200_003, (9, 130, 13))])
def test_joining_of_short_runs_to_a_result_larger_than_the_caches(dtype, rows, widths):
    """Words of the result begin in one part and end in another."""
    parts = [np.random.default_rng(k).integers(0, 200, (rows, width)).astype(dtype) for k, width in enumerate(widths)]
    assert np.array_equal(flambeau.cat([tensor(p) for p in parts], 1).numpy(), np.concatenate(parts, 1))


def test_gradients_of_cat_reach_parts_of_other_dtypes_and_of_no_elements():
    x = flambeau.ones(2, 3, dtype=flambeau.float64, requires_grad=True)
    nothing = flambeau.zeros(0, requires_grad=True)
    y = flambeau.ones(4, 3, requires_grad=True)
    joined = flambeau.cat([x, nothing, y])
    joined.backward(flambeau.arange(18.0, dtype=flambeau.float64).view(6, 3))
    assert joined.dtype == flambeau.float64 and x.grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert y.grad.dtype == flambeau.float32 and y.grad[0].tolist() == [6, 7, 8] and nothing.grad.shape == (0,)
