"""einsum, norms and distances against NumPy and SciPy; gradients by finite differences."""

from functools import partial

import numpy as np
import pytest
from scipy.spatial import distance

import flambeau
from memory import peak_of

SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 1}
EQUATIONS = [
    "ab->ba", "ab", "ba", "ab->", "aa->a", "aab->b", "ab,bc->ac", "ab,bc", "abc,acd->abd", "a,b->ab", "a,b->ba", "ab,ab->ab", "ab,ba->ba",
    "ab,ba->", "bac,acb->a", "abc,abc->c", "a,b,c->cab", "abc,c->cba", "ab,ab->a", "ab,cd->acbd",
    "abc,bc->a", "ab,bc,cd->ad", "ab,bc,cd,ad->", "...ab,...bc->...ac", "...a,...a->...", "...b->b...", "a...b->b...", "abc,c", "eb,ab->ab",
]  # fmt: skip


def operands(equation: str, ellipsis=(2, 3)):
    random = np.random.default_rng(len(equation))
    found = []
    for term in equation.split("->")[0].split(","):
        before, dots, after = term.partition("...")
        sizes = [*(SIZES[v] for v in before), *(ellipsis if dots else ()), *(SIZES[v] for v in after)]
        found.append(random.uniform(-1, 1, sizes))
    return found


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    arrays = operands(equation)
    tensors = [flambeau.from_numpy(a).requires_grad_() for a in arrays]
    found = flambeau.einsum(equation, *tensors)
    np.testing.assert_allclose(found.detach().numpy(), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-14)
    assert (flambeau.einsum(equation, tensors) == found).all()
    assert flambeau.autograd.gradcheck(lambda *x: flambeau.einsum(equation, *x), tensors)


def test_einsum_broadcasts_size_one_and_takes_lists():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    x, y = flambeau.from_numpy(a), flambeau.from_numpy(b)
    assert np.array_equal(flambeau.einsum(x, [0, 1], y, [1, 2], [2, 0]).numpy(), (a @ b).T)
    assert np.array_equal(flambeau.einsum(x, [..., 1], y, [1, 2]).numpy(), a @ b)
    assert np.array_equal(flambeau.einsum("ij,jk->ik", x[:, :1], y).numpy(), a[:, :1] * b.sum(0))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("ab",), "must provide at least one operand"),
        (("ab,bc", flambeau.ones(2, 2)), "fewer operands were provided than specified"),
        (("ab", flambeau.ones(2, 2), flambeau.ones(2, 2)), "more operands were provided than specified"),
        (("a,a", flambeau.ones(2), flambeau.ones(2, dtype=flambeau.float64)), "expected scalar type Float but found Double"),
        (("ab", flambeau.ones(2)), "the number of subscripts in the equation"),
        (("ab->cb", flambeau.ones(2, 2)), "output subscript c does not appear in the equation"),
        (("ab->aa", flambeau.ones(2, 2)), "output subscript a appears more than once in the output"),
        (("ab,bc", flambeau.ones(2, 3), flambeau.ones(2, 3)), "does not broadcast with previously seen size"),
        (("aa", flambeau.ones(2, 3)), "is repeated for operand 0 but the sizes don't match"),
        (("a1", flambeau.ones(2, 3)), "invalid subscript given at index 1 in"),
        (("ab,b ->a.", flambeau.ones(2, 3), flambeau.ones(3)), "invalid subscript given at index 8 in"),
        (("...a...", flambeau.ones(2, 3)), "for which an ellipsis was already found"),
        (("...a->...a...", flambeau.ones(2, 3)), "for output but an ellipsis .* was already found"),
        (("ab,bb", flambeau.ones(2, 3), flambeau.ones(3, 2)), "subscript b is repeated for operand 1 but"),
        (("ab,b", flambeau.ones(2, 3), flambeau.ones(3, 2)), "for operand 1 and no ellipsis was given"),
    ],
)
def test_einsum_errors(arguments, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        flambeau.einsum(*arguments)


@pytest.mark.parametrize("ord", ["fro", 1, -1, float("inf"), float("-inf")])
def test_norms_of_matrices(ord):
    a = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    x = flambeau.from_numpy(a)
    want = np.linalg.norm(a, ord)
    np.testing.assert_allclose(flambeau.linalg.norm(x, ord).item(), want, rtol=1e-13)
    np.testing.assert_allclose(flambeau.linalg.matrix_norm(x, ord).item(), want, rtol=1e-13)
    stack = flambeau.linalg.matrix_norm(x.expand(2, 3, 4).transpose(0, 1), ord, (0, 2), keepdim=True)
    assert stack.shape == (1, 2, 1)
    np.testing.assert_allclose(stack.numpy().ravel(), want, rtol=1e-13)


@pytest.mark.parametrize("p", [0, 1, 2, 3, float("inf"), "fro"])
def test_norms_of_vectors(p):
    a = np.random.default_rng(1).uniform(-1, 1, (3, 4))
    x, number = flambeau.from_numpy(a), 2 if p == "fro" else p
    np.testing.assert_allclose(x.norm(p).item(), np.linalg.norm(a.ravel(), number), rtol=1e-13)
    found = flambeau.norm(x, p, dim=1, keepdim=True).numpy()
    np.testing.assert_allclose(found, np.linalg.norm(a, number, 1, True), rtol=1e-13)
    with pytest.raises(RuntimeError, match="Order other not supported"):
        x.norm("other")
    with pytest.raises(RuntimeError, match="must have at least 2 dimensions"):
        flambeau.linalg.matrix_norm(x[0])


@pytest.mark.parametrize(("p", "metric"), [(1, "cityblock"), (2, "euclidean"), (float("inf"), "chebyshev")])
def test_cdist(p, metric):
    random = np.random.default_rng(2)
    a, b = random.uniform(-1, 1, (5, 3)), random.uniform(-1, 1, (4, 3))
    x, y = (flambeau.from_numpy(v).requires_grad_() for v in (a, b))
    np.testing.assert_allclose(flambeau.cdist(x, y, p).detach().numpy(), distance.cdist(a, b, metric), rtol=1e-12)
    assert flambeau.autograd.gradcheck(lambda x, y: flambeau.cdist(x, y, p), (x, y))
    with pytest.raises(RuntimeError, match="must have the same number of columns"):
        flambeau.cdist(x, y[:, :2])


def test_cdist_by_a_product():
    random = np.random.default_rng(3)
    a, b = random.uniform(-1, 1, (2, 30, 3)), random.uniform(-1, 1, (27, 3))
    x, y = (flambeau.from_numpy(v).requires_grad_() for v in (a, b))
    want = np.stack([distance.cdist(v, b) for v in a])
    for mode in (None, "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        np.testing.assert_allclose(flambeau.cdist(x, y, compute_mode=mode).detach().numpy(), want, rtol=1e-9)
    few = x[0, :4], y[:3]
    by_product = partial(flambeau.cdist, compute_mode="use_mm_for_euclid_dist")
    assert flambeau.autograd.gradcheck(by_product, few) and flambeau.autograd.gradgradcheck(by_product, few)
    same = flambeau.ones(30, 2, requires_grad=True)
    distances = flambeau.cdist(same, flambeau.ones(3, 2))
    distances.sum().backward()
    assert not distances.any() and not same.grad.any()
    used, _ = peak_of(lambda: flambeau.cdist(flambeau.ones(500, 64), flambeau.zeros(500, 64)))
    assert used < 20 * 500 * 500
    with pytest.raises(ValueError, match="fast is not a valid value for compute_mode"):
        flambeau.cdist(x, y, compute_mode="fast")
    with pytest.raises(RuntimeError, match="cdist only supports floating-point dtypes, X1 got: Long"):
        flambeau.cdist(flambeau.ones(2, 2, dtype=flambeau.int64), flambeau.ones(2, 2))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bihd,bjhd->bhij", ((4, 64, 8, 32), (4, 64, 8, 32))),
        ("bhij,bjhd->bihd", ((4, 8, 64, 64), (4, 64, 8, 32))),
        ("bihd,hde->bie", ((4, 64, 8, 32), (8, 32, 64))),
        ("bsd,de->bse", ((8, 64, 64), (64, 256))),
    ],
)
def test_operands_serve_as_they_lie(equation, shapes):
    x, y = (flambeau.randn(s) for s in shapes)
    found = flambeau.einsum(equation, x, y)  # kernels are there from here on
    np.testing.assert_allclose(found, np.einsum(equation, x.numpy(), y.numpy()), rtol=1e-4, atol=1e-4)
    del found
    used, result = peak_of(lambda: flambeau.einsum(equation, x, y))
    assert used < result.nbytes + min(x.nbytes, y.nbytes), "an operand was copied"


@pytest.mark.parametrize(
    ("equation", "shapes", "strides"),
    [  # as PyTorch 2.13 has them
        ("ij,jk->ki", ((4, 3), (3, 8)), (4, 1)), ("bik,kj->jbi", ((2, 4, 8), (8, 5)), (8, 4, 1)),
        ("bhij,hg->bgij", ((2, 3, 4, 5), (3, 7)), (140, 1, 35, 7)),
        ("bnd,nk->bkd", ((2, 3, 6), (3, 8)), (48, 1, 8)), ("ex,cbx->ceb", ((2, 5), (3, 1, 5)), (1, 3, 1)),
        ("dcx,xac->adc", ((4, 2, 5), (5, 3, 2)), (4, 1, 12)), ("bhid,bhjd->bhij", ((1, 3, 4, 6), (1, 3, 5, 6)), (60, 20, 5, 1)),
    ],
)  # fmt: skip
def test_how_products_lie_in_memory(equation, shapes, strides):
    """Dropout draws in the order of memory, and `view` asks for it."""
    flambeau.manual_seed(0)
    operands = [flambeau.rand(s, dtype=flambeau.float64) for s in shapes]
    found = flambeau.einsum(equation, *operands)
    assert all(n == 1 or s == t for s, t, n in zip(found.stride(), strides, found.shape, strict=True))
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *(x.numpy() for x in operands)))


def test_heads_of_one_example_lie_in_turn():
    found = flambeau.einsum("bhij,hg->bgij", flambeau.rand(1, 3, 4, 5), flambeau.rand(3, 3))
    assert found.is_contiguous() and found.view(-1).shape == (60,)
