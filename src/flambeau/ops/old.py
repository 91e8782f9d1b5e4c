"""Calls of programs from before PyTorch 1.5: numbers before tensors, and functions that say what replaced them.

Overloads called `old` are not shown where a call fits none.
"""

import warnings

from .table import Composite, op

_REMOVED = "This function was deprecated since version 1.9 and is now removed. "
_REPLACED = {
    "solve": "`torch.solve` is deprecated in favor of `torch.linalg.solve`. `torch.linalg.solve` has its arguments "
    "reversed and does not return the LU factorization.\n\nX = torch.solve(B, A).solution should be replaced with:\n"
    "X = torch.linalg.solve(A, B)",
    "lstsq": "`torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`.\n\n"
    "X, _ = torch.lstsq(B, A).solution[:A.size(1)]\nshould be replaced with:\nX = torch.linalg.lstsq(A, B).solution",
    "eig": "`torch.linalg.eig` returns complex tensors of dtype `cfloat` or `cdouble` rather than real tensors mimicking "
    "complex tensors.\n\nL, V = torch.eig(A, eigenvectors=True) should be replaced with:\nL, V = torch.linalg.eig(A)",
    "symeig": "The default behavior has changed from using the upper triangular portion of the matrix by default to "
    "using the lower triangular portion.\n\nL, V = torch.symeig(A, eigenvectors=True) should be replaced with:\n"
    "L, V = torch.linalg.eigh(A, UPLO='U')",
    "matrix_rank": "\nPlease use the `torch.linalg.matrix_rank` function instead.",
}


def _removed(name: str) -> None:
    def refuse(o, self, *arguments, **named):
        raise RuntimeError(_REMOVED + _REPLACED[name])

    refuse.__qualname__ = name
    op(
        f"{name}(Any self, Any arguments) -> Any",
        names=(name, f"Tensor.{name}") if name != "matrix_rank" else (name,),
        body=Composite(refuse, raw=True),
        differentiable=False,
        doc="Raises a RuntimeError that says which function of linalg replaced it.",
    )


for _name in _REPLACED:
    _removed(_name)

_said = set()


def _warn(name: str, old: str, new: str) -> None:
    if name not in _said:
        _said.add(name)
        warnings.warn(
            f"This overload of {name} is deprecated:\n\t{name}({old})\n"
            f"Consider using one of the following signatures instead:\n\t{name}({new})",
            UserWarning,
            stacklevel=3,
        )


def _number_first(name: str, number: str, tensors: tuple[str, ...]) -> None:
    """The overloads `name(self, number, *tensors)`, in place as well, of `name(self, *tensors, number=)`."""
    shown = ", ".join(f"Tensor {t}" for t in tensors)
    for called, written in ((name, ""), (f"{name}_", "(a!)")):

        def run(o, self, value, *operands, _called=called):
            _warn(_called, f"Number {number}, {shown}", f"{shown}, *, Number {number} = 1")
            return getattr(o, _called)(self, *operands, **{number: value})

        op(
            f"{called}.old(Tensor{written} self, Scalar {number}, {shown}) -> Tensor{written}",
            names=(called, f"Tensor.{called}") if not written else (f"Tensor.{called}",),
            body=Composite(run),
            doc=f"{name} with its number first, as old programs have it.",
        )


_number_first("add", "alpha", ("other",))
_number_first("sub", "alpha", ("other",))
_number_first("addcmul", "value", ("tensor1", "tensor2"))
_number_first("addcdiv", "value", ("tensor1", "tensor2"))


def _split(o, self, sections, dim):
    if isinstance(sections, bool):
        raise TypeError("split(): argument 'split_size' (position 2) must be int, not bool")
    if isinstance(sections, o.Tensor) and sections.dim() == 0 and not sections.is_floating_point():
        sections = int(sections)
    if isinstance(sections, int) and -(2**63) <= sections < 2**63:
        return list(o.split(self, sections, dim))
    return list(o.split_with_sizes(self, sections, dim))


op(
    "split.old(Tensor(a) self, Any split_size_or_sections, int dim=0) -> Tensor(a)[]",
    names=("split",),
    body=Composite(_split),
    doc="split by the name that the function's second parameter has.",
)


def _factors_first(name: str, tensors: tuple[str, str]) -> None:
    """The overloads with beta, or beta and alpha, first."""
    shown = ", ".join(f"Tensor {t}" for t in tensors)
    new = f"{shown}, *, Number beta = 1, Number alpha = 1"
    for called, written in ((name, ""), (f"{name}_", "(a!)")):
        public = (f"Tensor.{called}",)

        def both(o, self, beta, alpha, a, b, _called=called):
            _warn(_called, f"Number beta, Number alpha, {shown}", new)
            return getattr(o, _called)(self, a, b, beta=beta, alpha=alpha)

        def one(o, self, beta, a, b, _called=called):
            _warn(_called, f"Number beta, {shown}", new)
            return getattr(o, _called)(self, a, b, beta=beta)

        for kind, numbers, run in (("old", "Scalar beta, Scalar alpha", both), ("old_beta", "Scalar beta", one)):
            op(
                f"{called}.{kind}(Tensor{written} self, {numbers}, {shown}) -> Tensor{written}",
                names=public,
                body=Composite(run),
                doc=f"{name} with its factors first, as old programs have it.",
            )


for _name, _tensors in (
    ("addmm", ("mat1", "mat2")), ("addmv", ("mat", "vec")), ("addr", ("vec1", "vec2")),
    ("baddbmm", ("batch1", "batch2")), ("addbmm", ("batch1", "batch2")),
):  # fmt: skip
    _factors_first(_name, _tensors)
