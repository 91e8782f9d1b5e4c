"""Linear algebra: what results mean, NumPy's numbers, layouts, empty batches, named results, errors."""

import subprocess
import sys

import numpy as np
import pytest

import flambeau as torch

L = torch.linalg
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
SIZES = [(3, 3), (5, 3), (3, 5), (2, 4, 4), (2, 3, 4, 2), (0, 3, 3), (2, 0, 0), (0, 2), (3, 0), (1, 1), (40, 33)]
SQUARE = [(3, 3), (2, 4, 4), (2, 3, 2, 2), (0, 3, 3), (2, 0, 0), (1, 1), (41, 41)]


def matrix(*sizes, dtype=torch.float64, seed=0):
    return torch.randn(*sizes, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def positive(*sizes, dtype=torch.float64):
    a = matrix(*sizes, dtype=dtype)
    return a @ a.mH + torch.eye(sizes[-1], dtype=dtype)


def close(a, b):
    single = a.dtype in (torch.float32, torch.complex64)
    rtol, atol = (2e-3, 2e-4) if single else (1e-9, 1e-10)
    np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=rtol, atol=atol)


def in_columns(*tensors):
    for t in tensors:
        expected = torch.empty((*t.shape[:-2], t.shape[-1], t.shape[-2])).mT.stride()
        if t.numel() and min(t.shape[-2:]) > 1:
            assert t.stride() == expected, (t.shape, t.stride())


def eye_like(a):
    return torch.eye(a.shape[-1], dtype=a.dtype).expand(a.shape)


def diagonal(values, like):
    return torch.diag_embed(values.to(like.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_factorisations_give_the_matrix_back(sizes, dtype):
    a = matrix(*sizes, dtype=dtype)
    for x in (a, a.mT.contiguous().mT):
        for mode in ("reduced", "complete"):
            q, r = L.qr(x, mode=mode)
            close(q @ r, a)
            close(q.mH @ q, eye_like(q.mH @ q))
            assert torch.equal(r.triu(), r)
            in_columns(q, r)
        assert L.qr(x, mode="r").Q.shape == (0,) and L.qr(x, mode="r").R.shape == L.qr(x).R.shape
        p, lower, upper = L.lu(x)
        close(p @ lower @ upper, a)
        assert all(t.is_contiguous() for t in (p, lower, upper))
        lu, pivots, info = L.lu_factor_ex(x)
        assert pivots.dtype is torch.int32 and info.shape == a.shape[:-2]
        in_columns(lu)
        for got, want in zip(torch.lu_unpack(lu, pivots), (p, lower, upper), strict=True):
            close(got, want)
        for full in (True, False):
            u, s, vh = L.svd(x, full_matrices=full)
            k = s.shape[-1]
            close((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a)
            close(u.mH @ u, eye_like(u.mH @ u))
            close(vh @ vh.mH, eye_like(vh @ vh.mH))
            in_columns(u, vh)
        u, s, v = torch.svd(x)
        close((u * s.unsqueeze(-2)) @ v.mH, a)
        close(L.svdvals(x), s)
        reflections, tau = found = torch.geqrf(x)
        assert type(found).__name__ == "geqrf"
        if a.shape[-2] >= a.shape[-1]:
            close(L.householder_product(reflections, tau) @ reflections[..., : a.shape[-1], :].triu(), a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SQUARE)
def test_square_matrices(sizes, dtype):
    a, p = matrix(*sizes, dtype=dtype), positive(*sizes, dtype=dtype)
    w, v = L.eigh(p)
    close(v @ diagonal(w, v) @ v.mH, p)
    close(L.eigvalsh(p, UPLO="U"), w)
    in_columns(v)
    w, v = L.eig(a)
    close(a.to(v.dtype) @ v, v * w.unsqueeze(-2))
    close(torch.sort(L.eigvals(a).abs())[0], torch.sort(w.abs())[0])
    c, upper = L.cholesky(p), L.cholesky(p, upper=True)
    close(c @ c.mH, p)
    close(upper, c.mH)
    in_columns(c, upper)
    close(torch.cholesky_inverse(c) @ p, eye_like(p))
    close(torch.cholesky_inverse(upper, upper=True), torch.cholesky_inverse(c))
    close(L.inv(p) @ p, eye_like(p))
    in_columns(L.inv(p))
    close(L.det(a), np.linalg.det(a.numpy()))
    sign, logs = torch.slogdet(a)
    close(sign * logs.exp(), L.det(a))
    hermitian = dtype.is_complex
    ld, pivots = L.ldl_factor(p, hermitian=hermitian)
    close(p @ L.ldl_solve(ld, pivots, a, hermitian=hermitian), a)
    close(L.matrix_power(a, 5), np.linalg.matrix_power(a.numpy(), 5))
    close(L.matrix_power(p, -2) @ p @ p, eye_like(p))
    assert torch.equal(L.matrix_power(a, 0), eye_like(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [((), ()), ((2,), (2,)), ((2, 1), (3,)), ((), (4,)), ((0,), (1,))])
def test_systems(batch, dtype):
    a, b = positive(*batch[0], 3, 3, dtype=dtype), matrix(*batch[1], 3, 2, dtype=dtype)
    x = L.solve(a, b)
    close(a @ x, b.expand(x.shape))
    in_columns(x)
    row = matrix(*batch[1], 2, 3, dtype=dtype)
    close(L.solve(a, row, left=False) @ a, row.expand(x.mT.shape))
    lu, pivots = L.lu_factor(a)
    close(L.lu_solve(lu, pivots, b), x)
    close(a.mH @ L.lu_solve(lu, pivots, b, adjoint=True), b.expand(x.shape))
    close(L.lu_solve(lu, pivots, row, left=False) @ a, row.expand(x.mT.shape))
    close(torch.lu_solve(b, lu, pivots), x)
    c = L.cholesky(a)
    close(torch.cholesky_solve(b, c), x)
    close(torch.cholesky_solve(b, c.mH, upper=True), x)
    for upper in (True, False):
        t = a.triu() if upper else a.tril()
        close(t @ L.solve_triangular(a, b, upper=upper), b.expand(x.shape))
        close(L.solve_triangular(a, row, upper=upper, left=False) @ t, row.expand(x.mT.shape))
        unit = t - diagonal(t.diagonal(0, -2, -1), t) + eye_like(t)
        close(unit @ L.solve_triangular(a, b, upper=upper, unitriangular=True), b.expand(x.shape))
        solution, copy = torch.triangular_solve(b, a, upper=upper, transpose=True)
        close(t.mT @ solution, b.expand(x.shape))
        assert torch.equal(copy, a.expand(copy.shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss", None])
@pytest.mark.parametrize("sizes", [(5, 3), (2, 3, 5), (4, 4)])
def test_least_squares(sizes, driver, dtype):
    a, b = matrix(*sizes, dtype=dtype), matrix(*sizes[:-1], 2, dtype=dtype, seed=1)
    solution, residuals, rank, values = L.lstsq(a, b, driver=driver)
    close(solution, L.pinv(a) @ b)
    if driver != "gels":
        assert (rank == min(sizes[-2:])).all() and rank.shape == a.shape[:-2]
    if driver in ("gelsd", "gelss"):
        close(values, L.svdvals(a))
    if sizes == (5, 3) and driver in ("gels", "gelsd", "gelss"):
        close(residuals, (abs(a @ solution - b) ** 2).sum(-2))
    else:
        assert residuals.shape == (0,)
    vector = L.lstsq(a, b[..., 0], driver=driver).solution
    close(vector, solution[..., 0])


def test_least_squares_of_low_rank_is_the_shortest():
    a = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    b = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    solution, residuals, rank, _ = L.lstsq(a, b)
    close(solution, [[1.0], [1.0]])
    assert rank == 1 and residuals.numel() == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_reflections(dtype):
    a, c = matrix(2, 5, 3, dtype=dtype), matrix(2, 5, 4, dtype=dtype, seed=1)
    reflections, tau = torch.geqrf(a)
    beside = torch.zeros(2, 5, 2, dtype=dtype)
    q = L.householder_product(torch.cat([reflections, beside], -1), tau)
    close(torch.ormqr(reflections, tau, c), q @ c)
    close(torch.ormqr(reflections, tau, c, transpose=True), q.mH @ c)
    close(torch.ormqr(reflections, tau, c.mT, left=False), c.mT @ q)
    close(torch.ormqr(reflections, tau, c.mT, False, True), c.mT @ q.mH)
    close(torch.orgqr(reflections, tau), q[..., :3])
    # The form with gradients applies one reflection after another.
    tracked = reflections.clone().requires_grad_()
    close(L.householder_product(tracked, tau).detach(), q[..., :3])
    for left in (True, False):
        for transpose in (True, False):
            other = c if left else c.mT
            close(torch.ormqr(tracked, tau, other, left, transpose).detach(), torch.ormqr(reflections, tau, other, left, transpose))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pseudoinverse_rank_and_condition(dtype):
    a = matrix(2, 5, 2, dtype=dtype) @ matrix(2, 2, 4, dtype=dtype, seed=1)
    p = L.pinv(a)
    close(a @ p @ a, a)
    close(p @ a @ p, p)
    assert L.matrix_rank(a).tolist() == [2, 2]
    assert L.matrix_rank(a, atol=1e9).tolist() == [0, 0]
    assert L.matrix_rank(a, torch.tensor([0.01, 1e9])).tolist() == [2, 0]
    h = a @ a.mH
    close(h @ L.pinv(h, hermitian=True) @ h, h)
    assert L.matrix_rank(h, hermitian=True).tolist() == [2, 2]
    b = positive(3, 3, dtype=dtype)
    for p in (None, 2, -2, 1, -1, float("inf"), float("-inf"), "fro", "nuc"):
        close(L.cond(b, p), np.linalg.cond(b.numpy(), p))
    assert L.cond(torch.ones(3, 3), 1) == float("inf") and L.cond(torch.empty(2, 0, 0)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_exponential(scale, dtype):
    """Against the exponential of the eigenvalues of a normal matrix."""
    h = positive(2, 4, 4, dtype=dtype)
    h = -h * (scale / L.matrix_norm(h, 2).amax())
    w, v = np.linalg.eigh(h.numpy().astype(np.complex128 if dtype.is_complex else np.float64))
    close(L.matrix_exp(h), ((v * np.exp(w)[:, None, :]) @ np.conj(v).swapaxes(-1, -2)).astype(h.numpy().dtype))
    assert torch.equal(L.matrix_exp(torch.zeros(2, 2, dtype=dtype)), torch.eye(2, dtype=dtype))
    nilpotent = torch.tensor([[0.0, 7.0], [0.0, 0.0]], dtype=dtype)
    close(L.matrix_exp(nilpotent), nilpotent + torch.eye(2, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_matrix_exp_of_single_precision_is_that_of_double_rounded(dtype):
    a = matrix(2, 9, 9, dtype=dtype) * 3  # some squarings, each of which doubles an error
    exact = L.matrix_exp(a.to(torch.complex128 if dtype.is_complex else torch.float64))
    assert (L.matrix_exp(a) - exact).abs().max() <= 2e-7 * exact.abs().max()
    a.requires_grad_()
    L.matrix_exp(a).abs().sum().backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ["fro", "nuc", 1, -1, 2, -2, float("inf"), float("-inf")])
def test_matrix_norms(p, dtype):
    a = matrix(3, 4, dtype=dtype)
    close(L.matrix_norm(a, p), np.linalg.norm(a.numpy(), p))
    close(L.norm(a, p), np.linalg.norm(a.numpy(), p))
    b = matrix(3, 2, 4, dtype=dtype)
    want = np.linalg.norm(b.numpy(), p, axis=(2, 0), keepdims=True)
    close(L.matrix_norm(b, p, dim=(2, 0), keepdim=True), want)
    close(torch.norm(b, p, dim=(2, 0)) if p in ("fro", "nuc") else L.norm(b, p, (2, 0)), want[0, :, 0])
    out = torch.empty(0, dtype=dtype.to_real())
    assert L.matrix_norm(b, p, out=out) is out
    close(out, L.matrix_norm(b, p))


def test_vector_norms():
    for dtype in DTYPES:
        a = matrix(3, 4, dtype=dtype)
        for p in (0, 1, 2, 3.5, -1, float("inf"), float("-inf")):
            close(L.vector_norm(a, p, 1), np.linalg.norm(a.numpy(), p, axis=1))
    zero = torch.zeros(3, requires_grad=True)
    for p in (2, 3.5, -2):
        assert torch.autograd.grad(L.vector_norm(zero, p), zero)[0].tolist() == [0, 0, 0]
    assert torch.norm(torch.ones(4), out=torch.empty(())).item() == 2


def test_products():
    a, b, c = matrix(3, 40), matrix(40, 2, seed=1), matrix(2, 30, seed=2)
    close(L.multi_dot([a, b, c]), np.linalg.multi_dot([x.numpy() for x in (a, b, c)]))
    v = matrix(3)
    assert L.multi_dot([v, a, b[:, 0]]).shape == () and L.multi_dot([v, a]).shape == (40,)
    with pytest.warns(UserWarning, match="deprecated"):
        close(torch.chain_matmul(a, b, c), a @ b @ c)
    x, y = matrix(2, 3), matrix(1, 3, seed=1)
    close(L.cross(x, y), np.cross(x.numpy(), y.numpy()))
    close(L.cross(x.mT, y.mT, dim=0), np.cross(x.numpy(), y.numpy()).T)
    z, w = matrix(2, 3, dtype=torch.complex128), matrix(3, dtype=torch.complex128)
    close(L.vecdot(z, w), (np.conj(z.numpy()) * w.numpy()).sum(-1))
    close(L.vander(v, N=4), np.vander(v.numpy(), 4, increasing=True))
    close(torch.vander(v), np.vander(v.numpy()))
    assert torch.vander(torch.tensor([2, 3]), 3, increasing=True).tolist() == [[1, 2, 4], [1, 3, 9]]
    d = L.diagonal(a, offset=1)
    d.zero_()
    assert a[0, 1] == 0
    t, u = matrix(2, 3, 6), matrix(2, 3, seed=1)
    close(L.tensorsolve(t, u), np.linalg.tensorsolve(t.numpy(), u.numpy()))
    close(L.tensorinv(t), np.linalg.tensorinv(t.numpy()))


def test_low_rank_and_iteration():
    torch.manual_seed(0)
    a = matrix(2, 30, 5) @ matrix(2, 5, 20, seed=1)
    u, s, v = torch.svd_lowrank(a, q=5)
    close((u * s.unsqueeze(-2)) @ v.mH, a)
    u, s, v = torch.pca_lowrank(a, q=5)
    close((u * s.unsqueeze(-2)) @ v.mH, a - a.mean(-2, keepdim=True))
    p = positive(20, 20)
    w, v = torch.lobpcg(p, k=3, tol=1e-10, niter=200)
    close(w, torch.flip(L.eigvalsh(p), (0,))[:3])
    np.testing.assert_allclose((p @ v).numpy(), (v * w).numpy(), atol=1e-6)
    b = positive(20, 20) + 3 * torch.eye(20, dtype=torch.float64)
    w, v = torch.lobpcg(p, k=2, B=b, largest=False, tol=1e-10, niter=500)
    np.testing.assert_allclose((p @ v).numpy(), (b @ v * w).numpy(), atol=1e-6)
    for name, place in (("B", 3), ("X", 4), ("iK", 6)):
        with pytest.raises(TypeError, match=rf"argument '{name}' \(position {place}\) must be Tensor, not str"):
            torch.lobpcg(p, 1, **{name: "basic"})


def test_named_results_and_out():
    a = positive(3, 3)
    assert L.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    assert type(L.svd(a)).__name__ == "linalg_svd" and L.svd(a)._fields == ("U", "S", "Vh")
    assert torch.svd(a)._fields == ("U", "S", "V") and L.slogdet(a)._fields == ("sign", "logabsdet")
    w, v = torch.empty(3, dtype=a.dtype), torch.empty(3, 3, dtype=a.dtype)
    got = L.eigh(a, out=(w, v))
    assert got.eigenvalues is w and got.eigenvectors is v
    close(v @ diagonal(w, v) @ v.mH, a)
    out = torch.empty(3, 3, dtype=a.dtype)
    assert L.inv(a, out=out) is out and a.inverse().equal(out)


SINGULAR, NAN = torch.ones(3, 3), torch.full((3, 3), float("nan"))
ERRORS = [
    (lambda: L.inv(torch.ones(2, 3)), RuntimeError, "linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices"),
    (lambda: L.inv(torch.ones(3)), RuntimeError, "linalg.inv: The input tensor A must have at least 2 dimensions."),
    (lambda: L.inv(torch.ones(2, 2, dtype=torch.int64)), RuntimeError, "Expected a floating point or complex tensor as input. Got Long"),
    (lambda: L.inv(SINGULAR), L.LinAlgError, "linalg.inv: The diagonal element 2 is zero, the inversion could not be completed because the input matrix is singular."),
    (lambda: L.solve(torch.stack([torch.eye(3), SINGULAR]), torch.ones(3)), L.LinAlgError, "torch.linalg.solve: (Batch element 1): The solver failed because the input matrix is singular."),
    (lambda: L.cholesky(-torch.eye(2)), L.LinAlgError, "linalg.cholesky: The factorization could not be completed because the input is not positive-definite (the leading minor of order 1 is not positive-definite)."),
    (lambda: L.cholesky(NAN), L.LinAlgError, "not positive-definite"),
    (lambda: L.eigh(NAN), L.LinAlgError, "linalg.eigh: The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated eigenvalues"),
    (lambda: L.svd(NAN), L.LinAlgError, "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values."),
    (lambda: L.eig(NAN), RuntimeError, "torch.linalg.eig: input tensor should not contain infs or NaNs."),
    (lambda: L.lu_factor(SINGULAR), RuntimeError, "torch.linalg.lu_factor: U[2,2] is zero and using it on lu_solve would result in a division by zero."),
    (lambda: L.lu_factor(SINGULAR, pivot=False), RuntimeError, "LU without pivoting is not implemented on the CPU"),
    (lambda: L.lu_solve(SINGULAR, torch.tensor([1, 2, 9], dtype=torch.int32), SINGULAR), RuntimeError, "Pivots given to lu_solve must all be smaller or equal to LU.size(-2)."),
    (lambda: L.ldl_solve(SINGULAR, torch.tensor([7, 0, -9], dtype=torch.int32), SINGULAR), RuntimeError, "Pivots given to ldl_solve must all satisfy"),
    (lambda: L.ldl_solve(SINGULAR, torch.tensor([1, 2, -3], dtype=torch.int32), SINGULAR), RuntimeError, "pivot"),
    (lambda: torch.lu_unpack(SINGULAR, torch.tensor([0, 2, 3], dtype=torch.int32)), RuntimeError, "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."),
    (lambda: L.solve(torch.eye(3), torch.ones(2, 3)), RuntimeError, "linalg.solve: Incompatible shapes of A and B for the equation AX = B (3x3 and 2x3)"),
    (lambda: L.solve(torch.eye(3), torch.ones(3, dtype=torch.float64)), RuntimeError, "Expected A and B to have the same dtype, but found A of type Float and B of type Double instead"),
    (lambda: L.solve(torch.ones(2, 3, 3), torch.ones(4, 3, 3)), RuntimeError, "The size of tensor a (4) must match the size of tensor b (2) at non-singleton dimension 0"),
    (lambda: L.qr(SINGULAR, mode="x"), RuntimeError, "qr received unrecognized mode 'x' but expected one of 'reduced' (default), 'r', or 'complete'"),
    (lambda: L.eigh(SINGULAR, UPLO="x"), RuntimeError, "Expected UPLO argument to be 'L' or 'U', but got x"),
    (lambda: L.lstsq(SINGULAR, torch.ones(2)), RuntimeError, "torch.linalg.lstsq: input.size(-2) should match other.size(-1)"),
    (lambda: L.matrix_norm(SINGULAR, 3), RuntimeError, "linalg.matrix_norm: Order 3 not supported."),
    (lambda: L.vector_norm(torch.empty(0), float("inf")), RuntimeError, "cannot compute the inf norm on an empty tensor"),
    (lambda: L.multi_dot([SINGULAR]), RuntimeError, "multi_dot(): expected at least 2 tensors but got 1"),
    (lambda: L.cross(torch.ones(2), torch.ones(2)), RuntimeError, "linalg.cross: inputs dimension -1 must have length 3. Got 2 and 2"),
    (lambda: torch.ormqr(torch.ones(3), torch.ones(3), SINGULAR), RuntimeError, "torch.ormqr: input must have at least 2 dimensions."),
    (lambda: L.svd(SINGULAR.half()), NotImplementedError, "\"linalg_svd_cpu\" not implemented for 'Half'"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case):
    call, kind, sentence = ERRORS[case]
    with pytest.raises(kind) as caught:
        call()
    assert sentence in str(caught.value)


def test_codes_instead_of_errors():
    b = torch.stack([torch.eye(3), SINGULAR])
    assert L.inv_ex(b).info.tolist() == [0, 2] and L.solve_ex(b, torch.ones(3)).info.tolist() == [0, 2]
    assert L.cholesky_ex(b).info.tolist() == [0, 2] and L.lu_factor_ex(b).info.tolist() == [0, 2]
    assert L.ldl_factor_ex(b).info.tolist() == [0, 2]
    for call in (L.inv_ex, L.cholesky_ex):
        with pytest.raises(L.LinAlgError):
            call(b, check_errors=True)


def test_gradients_that_do_not_exist():
    a = matrix(4, 2).requires_grad_()
    with pytest.raises(RuntimeError, match="not differentiable when mode='complete' and nrows > ncols"):
        L.qr(a, mode="complete").Q.sum().backward()
    with pytest.raises(RuntimeError, match="depends on Q, which is not computed when mode='r'"):
        L.qr(a, mode="r").R.sum().backward()
    c = matrix(3, 3, dtype=torch.complex128).requires_grad_()
    for decompose in (lambda: L.eigh(c + c.mH)[1], lambda: L.svd(c)[0], lambda: L.eig(c)[1]):
        with pytest.raises(RuntimeError, match="specified up to multiplication by e"):
            decompose().imag.sum().backward()


def test_equal_values_have_a_gradient():
    a = torch.eye(3, dtype=torch.float64, requires_grad=True)
    for values in (L.svdvals(a), L.svd(a).S, L.eigvalsh(a), L.eigh(a)[0], L.eigvals(a).real):
        assert torch.equal(torch.autograd.grad(values.sum(), a)[0], torch.eye(3, dtype=torch.float64))


def test_meta_tensors_have_sizes_only():
    a = torch.empty(2, 3, 3, device="meta")
    assert L.svd(a).U.shape == (2, 3, 3) and L.inv(a).stride() == (9, 1, 3) and L.det(a).shape == (2,)
    assert L.eig(a).eigenvalues.dtype is torch.complex64 and L.pinv(a).is_meta and L.matrix_exp(a).is_meta


def test_results_do_not_depend_on_threads():
    a = positive(64, 12, 12)
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append([*L.eigh(a), *L.svd(a), L.inv(a), L.cholesky(a), *L.qr(a), L.eigvals(a)])
        assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_the_library_is_opened_late():
    code = (
        "import flambeau as torch; maps = lambda: 'openblas' in open('/proc/self/maps').read(); before = maps(); "
        "torch.linalg.inv(torch.eye(2)); print(before, maps())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_empty_systems_have_gradients():
    for n, k in ((0, 0), (0, 2), (3, 0)):
        lu, pivots = L.lu_factor(torch.eye(n).requires_grad_())
        b = torch.zeros(n, k, requires_grad=True)
        L.lu_solve(lu, pivots, b).sum().backward()
        assert b.grad.shape == (n, k)
