"""What operators of linear algebra check before LAPACK sees anything, and what they say of its answers."""

from ..sort import check_implemented
from ..views import broadcast_shape

INTEGRAL = ("b1", "u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64")
#: dtypes that LAPACK has no routines for.
NO_ROUTINES = (*INTEGRAL, "f16", "bf16")


class _LinAlgError(RuntimeError):
    """A matrix is singular, not positive-definite, or an iteration did not converge."""

    def __reduce__(self):
        return _linalg_error, self.args


def _linalg_error(*args):
    """The error as it comes from another process, where its class has no module of the name it shows."""
    return _LinAlgError(*args)


_LinAlgError.__module__ = "torch._C"


def matrices(x, name: str, arg: str = "A") -> None:
    if x.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor {arg} must have at least 2 dimensions.")


def square(x, name: str, arg: str = "A") -> None:
    matrices(x, name, arg)
    square_sizes(x, f"{name}: {arg}")


def square_sizes(x, what: str) -> None:
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{what} must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )


def floating(x, name: str, low: bool = True) -> None:
    """Raises for integers and, unless `low`, for half precision."""
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.title}")
    if not low and x.dtype.code in ("f16", "bf16"):
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {x.dtype.title}")


def epsilon(dtype) -> float:
    """The distance of 1 to the next number, in the dtype that LAPACK computes in."""
    return 2.0**-52 if dtype.code in ("f64", "c128") else 2.0**-23


def shape_of(x) -> str:
    """What gradients must know of sizes when they are traced."""
    m, n = x.shape[-2:]
    return "square" if m == n else "tall" if m > n else "wide"


def routine(x, kernel: str) -> None:
    check_implemented(x, kernel, NO_ROUTINES)


def same_dtype(x, y, name: str, a: str = "A", b: str = "B") -> None:
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"{name}: Expected {a} and {b} to have the same dtype, but found {a} of type {x.dtype.title} and "
            f"{b} of type {y.dtype.title} instead"
        )


def system(A, B, left: bool, name: str) -> None:
    """Raises unless A X = B (or X A = B) fits."""
    matrices(B, name, "B")
    square(A, name)
    if A.shape[-2] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX' if left else 'XA'} = B "
            f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )


def expanded(a, b) -> tuple:
    """Two batches of matrices with common batch dimensions."""
    sizes = broadcast_shape([a.shape[:-2], b.shape[:-2]])
    return a.expand((*sizes, *a.shape[-2:])), b.expand((*sizes, *b.shape[-2:]))


def first_failure(info) -> tuple[str, int]:
    """Where in a batch a routine failed, as text, and what it said; ("", 0) where nowhere."""
    if info.is_meta or not info.numel():
        return "", 0
    codes = info.reshape(-1).tolist()
    at = next((i for i, code in enumerate(codes) if code), -1)
    if at < 0:
        return "", 0
    return (f"(Batch element {at}): " if info.dim() else ""), codes[at]


def raise_failure(info, name: str, sentence: str, kind=_LinAlgError) -> None:
    """Raises where a routine failed; {code} in the sentence is what it said."""
    where, code = first_failure(info)
    if code:
        raise kind(f"{name}: {where}" + sentence.replace("{code}", str(code)))


SINGULAR_SOLVE = "The solver failed because the input matrix is singular."
SINGULAR_INVERSE = (
    "The diagonal element {code} is zero, the inversion could not be completed because the input matrix is singular."
)
NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order "
    "{code} is not positive-definite)."
)
NOT_CONVERGED = (
    "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated {what} "
    "(error code: {code})."
)
