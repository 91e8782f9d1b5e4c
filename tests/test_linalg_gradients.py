"""Gradients of linear algebra, first and second order, real and complex, against finite differences."""

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

L = torch.linalg
DTYPES = [torch.float64, torch.complex128]


def matrix(*sizes, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, dtype=dtype, generator=g)


def positive(*sizes, dtype=torch.float64):
    a = matrix(*sizes, dtype=dtype)
    return a @ a.mH + torch.eye(sizes[-1], dtype=dtype)


def hermitian(a):
    return (a + a.mH) / 2


def size(v):
    """What does not depend on signs and phases."""
    return (v * v.conj()).real if v.is_complex() else v * v


def by_gauge(v, w):
    """A projection on each vector times a power of its value: without phases."""
    return (v * w.unsqueeze(-2)) @ v.mH


CASES = {
    "cholesky": (lambda a: L.cholesky(hermitian(a)), [(2, 3, 3)], positive),
    "cholesky upper": (lambda a: L.cholesky_ex(hermitian(a), upper=True)[0], [(3, 3)], positive),
    "cholesky_inverse": (lambda a: torch.cholesky_inverse(L.cholesky(hermitian(a))), [(2, 3, 3)], positive),
    "cholesky_inverse upper": (lambda a: torch.cholesky_inverse(L.cholesky(hermitian(a), upper=True), True), [(3, 3)], positive),
    "cholesky_solve": (lambda b, a: torch.cholesky_solve(b, a.tril()), [(3, 2), (2, 3, 3)], positive),
    "cholesky_solve upper": (lambda b, a: torch.cholesky_solve(b, a.triu(), True), [(2, 3, 2), (3, 3)], positive),
    "solve": (L.solve, [(2, 3, 3), (3, 2)], matrix),
    "solve vector": (L.solve, [(2, 3, 3), (2, 3)], matrix),
    "solve right": (lambda a, b: L.solve(a, b, left=False), [(3, 3), (2, 2, 3)], matrix),
    "solve_triangular": (lambda a, b: L.solve_triangular(a, b, upper=False), [(2, 3, 3), (3, 2)], positive),
    "solve_triangular unit right": (
        lambda a, b: L.solve_triangular(a, b, upper=True, left=False, unitriangular=True), [(3, 3), (2, 2, 3)], matrix),
    "triangular_solve": (lambda b, a: torch.triangular_solve(b, a, transpose=True)[0], [(3, 2), (3, 3)], positive),
    "inv": (L.inv, [(2, 3, 3)], matrix),
    "det": (L.det, [(2, 3, 3)], matrix),
    "slogdet": (lambda a: L.slogdet(a)[1], [(2, 3, 3)], matrix),
    "slogdet sign": (lambda a: L.slogdet(a)[0] * a.sum(), [(3, 3)], matrix),
    "logdet": (torch.logdet, [(3, 3)], positive),
    "lu square": (lambda a: L.lu(a)[1:], [(2, 3, 3)], matrix),
    "lu tall": (lambda a: L.lu(a)[1:], [(4, 2)], matrix),
    "lu wide": (lambda a: L.lu(a)[1:], [(2, 2, 4)], matrix),
    "lu_factor": (lambda a: L.lu_factor(a)[0], [(4, 4)], matrix),
    "lu_solve": (lambda a, b: L.lu_solve(*L.lu_factor(a), b), [(2, 3, 3), (3, 2)], matrix),
    "lu_solve adjoint": (lambda a, b: L.lu_solve(*L.lu_factor(a), b, adjoint=True), [(3, 3), (2, 3, 2)], matrix),
    "lu_solve right": (lambda a, b: L.lu_solve(*L.lu_factor(a), b, left=False), [(3, 3), (2, 3)], matrix),
    "qr square": (L.qr, [(2, 3, 3)], matrix),
    "qr tall": (L.qr, [(4, 2)], matrix),
    "qr wide": (L.qr, [(2, 4)], matrix),
    "qr complete": (lambda a: L.qr(a, mode="complete"), [(2, 3)], matrix),
    "householder_product": (lambda a, t: L.householder_product(a, t), [(2, 4, 3), (2, 2)], matrix),
    "ormqr": (lambda a, t, c: torch.ormqr(a, t, c, True, True), [(4, 2), (2,), (4, 3)], matrix),
    "ormqr right": (lambda a, t, c: torch.ormqr(a, t, c, False), [(4, 2), (2,), (3, 4)], matrix),
    "eigh": (lambda a: (lambda w, v: (w, size(v), by_gauge(v, w**3)))(*L.eigh(hermitian(a))), [(2, 3, 3)], matrix),
    "eigvalsh": (lambda a: L.eigvalsh(hermitian(a)), [(2, 3, 3)], matrix),
    "eig": (lambda a: (lambda w, v: (w, size(v)))(*L.eig(a)), [(3, 3)], matrix),
    "eigvals": (L.eigvals, [(2, 3, 3)], matrix),
    "svd square": (lambda a: (lambda u, s, v: (size(u), s, size(v), (u * s.exp().unsqueeze(-2)) @ v))(*L.svd(a)), [(2, 3, 3)], matrix),
    "svd tall": (lambda a: (lambda u, s, v: (size(u), s, (u * s.exp().unsqueeze(-2)) @ v))(*L.svd(a, False)), [(4, 2)], matrix),
    "svd wide": (lambda a: (lambda u, s, v: (size(v), s, (u * s.exp().unsqueeze(-2)) @ v))(*L.svd(a, False)), [(2, 4)], matrix),
    "svdvals": (L.svdvals, [(2, 3, 4)], matrix),
    "pinv tall": (L.pinv, [(2, 4, 2)], matrix),
    "pinv wide": (L.pinv, [(2, 4)], matrix),
    "pinv hermitian": (lambda a: L.pinv(hermitian(a), hermitian=True), [(3, 3)], matrix),
    "lstsq": (lambda a, b: L.lstsq(a, b)[0], [(2, 4, 2), (2, 4, 3)], matrix),
    "lstsq wide": (lambda a, b: L.lstsq(a, b)[0], [(2, 4), (2, 3)], matrix),
    "matrix_exp": (L.matrix_exp, [(2, 3, 3)], matrix),
    "matrix_power": (lambda a: (L.matrix_power(a, 3), L.matrix_power(a, -2)), [(2, 3, 3)], matrix),
    "multi_dot": (lambda *x: L.multi_dot(x), [(2,), (2, 4), (4, 3), (3, 2)], matrix),
    "cond": (L.cond, [(3, 3)], matrix),
    "cond fro": (lambda a: L.cond(a, "fro"), [(2, 3, 3)], matrix),
    "matrix_norm": (lambda a: tuple(L.matrix_norm(a, p) for p in ("nuc", 2, -2, "fro", 1)), [(2, 3, 4)], matrix),
    "vector_norm": (lambda a: tuple(L.vector_norm(a, p, 1) for p in (3.5, 2, 1, float("inf"), 0.5)), [(2, 3)], matrix),
    "cross": (L.cross, [(2, 3), (1, 3)], matrix),
    "vecdot": (L.vecdot, [(2, 3), (3,)], matrix),
    "vander": (L.vander, [(3,)], matrix),
    "tensorinv": (L.tensorinv, [(2, 3, 6)], matrix),
    "tensorsolve": (L.tensorsolve, [(2, 3, 6), (2, 3)], matrix),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=["real", "complex"])
@pytest.mark.parametrize("name", CASES)
def test_gradients(name, dtype):
    function, sizes, make = CASES[name]
    inputs = [(make if len(s) > 1 and s[-1] == s[-2] else matrix)(*s, dtype=dtype).requires_grad_() for s in sizes]
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs, atol=1e-4)
