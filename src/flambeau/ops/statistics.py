"""Moments and their kin: variance with `unbiased`, means that skip nan, covariance, least and greatest at once."""

import warnings

from ..ir import row as r
from .table import FLOATING, ORDERED, REAL_FLOATS, Composite, Row, op

# ---- var and std as they were before `correction`


def _unbiased_all(name: str):
    return lambda o, self, unbiased: getattr(o, name)(self, correction=int(unbiased))


def _unbiased_dim(name: str):
    return lambda o, self, dim, unbiased, keepdim: getattr(o, name)(
        self, dim, correction=int(unbiased), keepdim=keepdim
    )


def _std_mean(o, self, dim, correction, keepdim):
    if not (self.dtype.is_floating_point or self.dtype.is_complex):
        raise RuntimeError(f"std_mean only support floating point and complex dtypes [got {self.dtype}]")
    return o.std(self, dim, correction=correction, keepdim=keepdim), o.mean(self, dim, keepdim)


op(
    "std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=1, bool keepdim=False) -> (Tensor, Tensor)",
    names=("std_mean",),
    body=Composite(_std_mean),
    doc="Standard deviation and mean over dimensions.",
)
for _name, _what in (
    ("var", "Variance"),
    ("std", "Standard deviation"),
    ("var_mean", "Variance and mean"),
    ("std_mean", "Standard deviation and mean"),
):
    _results = "(Tensor, Tensor)" if _name.endswith("mean") else "Tensor"
    _places = (_name,) if _name.endswith("mean") else (_name, f"Tensor.{_name}")
    op(
        f"{_name}.unbiased(Tensor self, bool unbiased) -> {_results}",
        names=_places,
        body=Composite(_unbiased_all(_name)),
        doc=f"{_what} of all elements: unbiased divides by n - 1, otherwise by n.",
    )
    op(
        f"{_name}.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> {_results}",
        names=_places,
        body=Composite(_unbiased_dim(_name)),
        doc=f"{_what} over dimensions: unbiased divides by n - 1, otherwise by n.",
    )


# ---- means


def _nanmean(o, self, dim, keepdim, *, dtype):
    if not (self.dtype.is_floating_point or self.dtype.is_complex):
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {self.dtype.title}"
        )
    if self.dtype.is_complex:
        raise RuntimeError("nansum on CPU does not support complex inputs [in nanmean]")
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(
            "nanmean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. "
            f"Got: {dtype.title}"
        )
    count = o.sum(o.logical_not(o.isnan(self.detach())), dim, keepdim)
    return o.div(o.nansum(self, dim, keepdim, dtype=dtype), count)


op(
    "nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    dtypes=REAL_FLOATS,
    body=Composite(_nanmean),
    ref=lambda np, x, dim=None, keepdim=False: np.nanmean(x, axis=dim, keepdims=keepdim),
    samples="reduce",
    doc="Mean over dimensions of the elements that are not nan; nan where there are none.",
)

op(
    "aminmax_row(Tensor self, int? dim, bool keepdim) -> (Tensor, Tensor)",
    names=(),
    dtypes=ORDERED,
    dtype_error="\"aminmax_cpu\" not implemented for '{got}'",
    body=Row(lambda x: (r.row_min(x), r.row_max(x)), out="BB", out_dtypes="cc"),
    doc="Least and greatest element in one pass; checked by aminmax.",
)


def _aminmax(o, self, *, dim=None, keepdim=False):
    if dim is None:
        if not self.numel():
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity. "
                f"[in aminmax: self={tuple(self.shape)}]"
            )
    elif self.dim() and not self.size(dim):
        raise IndexError(f"aminmax: Expected reduction dim {dim} to have non-zero size.")
    return o.aminmax_row(self, dim, keepdim)


op(
    "aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
    body=Composite(_aminmax),
    doc="""Least and greatest element, of one dimension or of all, read once. nan wins; ties share the gradient.

    Example:
        >>> torch.aminmax(torch.tensor([3., 1., 2.])).max
        tensor(3.)""",
)


# ---- covariance


def _check_weights(o, name: str, weights, observations: int) -> None:
    if weights.dim() > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.dim()} dimensions"
        )
    kind = "integral" if name == "fweights" else "floating point"
    integral = not (weights.dtype.is_floating_point or weights.dtype.is_complex) and weights.dtype is not o.bool
    if integral != (name == "fweights") or weights.dtype.is_complex or weights.dtype is o.bool:
        raise RuntimeError(
            f"cov(): expected {name} to have {kind} dtype but got {name} with {weights.dtype.title} dtype"
        )
    if weights.numel() != observations:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {observations}"
        )
    if weights.numel() and bool(o.any(weights.detach() < 0)):
        raise RuntimeError(f"cov(): {name} cannot be negative")


def _cov(o, self, *, correction=1, fweights=None, aweights=None):
    if self.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {self.dim()} dimensions"
        )
    if self.dtype is o.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = self if self.dim() == 2 else self.reshape(1, -1)
    n = x.shape[1]
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        _check_weights(o, name, given, n)
        given = given.reshape(-1)
        weights = given if weights is None else o.mul(weights, given)
    total = n if weights is None else o.sum(weights)
    if weights is not None and n and not bool(total != 0):
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    mean = o.sum(x if weights is None else o.mul(x, weights), (1,), True) / total
    free = total - correction
    if aweights is not None and correction:
        free = total - correction * o.sum(o.mul(weights, aweights.reshape(-1))) / total
    if bool(free <= 0):
        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
    free = max(free, 0) if weights is None else o.clamp(free, min=0)
    x = x - mean
    scaled = x if weights is None else o.mul(x, weights)
    return o.div(o.mm(x, o.conj(scaled.t())), free).squeeze()


op(
    "cov(Tensor self, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None) -> Tensor",
    dtypes=FLOATING,
    body=Composite(_cov),
    ref=lambda np, x: np.cov(x),
    samples=lambda s: [(s.x(3, 5),), (s.x(4),)],
    doc="""Covariance matrix of variables (rows) over observations (columns).

    Args:
        correction: subtracted from the number of observations.
        fweights: how often each observation counts (integers).
        aweights: the weight of each observation.

    Example:
        >>> torch.cov(torch.tensor([[0., 1., 2.], [2., 1., 0.]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])""",
)


def _corrcoef(o, self):
    if self.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {self.dim()} dimensions"
        )
    c = o.cov(self)
    if not c.dim():
        return c / c
    spread = o.sqrt(o.diagonal(c).real if c.dtype.is_complex else o.diagonal(c))
    c = c / spread.unsqueeze(1) / spread.unsqueeze(0)
    if c.dtype.is_complex:
        return o.complex(o.clamp(o.real(c), -1, 1), o.clamp(o.imag(c), -1, 1))
    return o.clamp(c, -1, 1)


op(
    "corrcoef(Tensor self) -> Tensor",
    dtypes=FLOATING,
    body=Composite(_corrcoef),
    ref=lambda np, x: np.corrcoef(x),
    samples=lambda s: [(s.x(3, 5),)],
    doc="Pearson's correlation coefficients of variables (rows) over observations (columns).",
)
