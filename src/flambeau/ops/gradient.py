"""Numerical derivatives of sampled functions: `gradient`."""

from .launch import wrap_dim
from .table import Composite, op


def _spaces(spacing, dims, whole: bool) -> list:
    """One spacing for each dimension: a number, or a tensor of coordinates. `whole`: all dimensions, none was named."""
    if spacing is None:
        return [1] * len(dims)
    if not isinstance(spacing, list | tuple):
        return [spacing] * len(dims)
    if len(spacing) != len(dims) and whole:
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = "
            f"{len(dims)}', since dim argument was not given, but got a list of length {len(spacing)}"
        )
    if len(spacing) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the "
            f"same length, but got a spacing argument of length {len(spacing)} and a dim argument of length {len(dims)}."
        )
    return list(spacing)


def _check(o, self, spaces, dims, edge_order: int) -> None:
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    for space in spaces:
        if isinstance(space, o.Tensor) and space.dim() != 1:
            raise RuntimeError(
                "torch.gradient expected each element of spacing to have one dimension, but got an element with "
                f"{space.dim()} dimensions!"
            )
    for d in dims:
        if self.shape[d] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")


def _even(o, x, dim: int, step, edge_order: int):
    """Central differences inside, one-sided ones of the given order at the ends."""
    n = x.shape[dim]

    def at(k: int):
        return x.narrow(dim, k % n, 1)

    inside = (x.narrow(dim, 2, n - 2) - x.narrow(dim, 0, n - 2)) / (2 * step)
    if edge_order == 1:
        first, last = (at(1) - at(0)) / step, (at(-1) - at(-2)) / step
    else:
        first = (-1.5 * at(0) + 2 * at(1) - 0.5 * at(2)) / step
        last = (1.5 * at(-1) - 2 * at(-2) + 0.5 * at(-3)) / step
    return o.cat([first, inside, last], dim)


def _uneven(o, x, dim: int, places, edge_order: int):
    """The same between coordinates: derivatives of the parabola through three neighbours."""
    n = min(x.shape[dim], places.numel())  # as many as there are coordinates for
    x = x.narrow(dim, 0, n)
    gaps = o.diff(places[:n]).to(o.result_type(places, 1.0))
    shape = [-1 if k == dim else 1 for k in range(x.dim())]

    def at(k: int):
        return x.narrow(dim, k % n, 1)

    before, after = gaps[:-1].reshape(shape), gaps[1:].reshape(shape)
    low, middle, high = (x.narrow(dim, k, n - 2) for k in range(3))
    both = before + after
    inside = (
        low * (-after / (before * both))
        + middle * ((after - before) / (before * after))
        + high * (before / (after * both))
    )
    if edge_order == 1:
        first, last = (at(1) - at(0)) / gaps[0], (at(-1) - at(-2)) / gaps[-1]
    else:
        first = _edge(at(0), at(1), at(2), gaps[0], gaps[1])
        last = -_edge(at(-1), at(-2), at(-3), gaps[-1], gaps[-2])
    return o.cat([first, inside, last], dim)


def _edge(a, b, c, near, far):
    """The derivative at a of the parabola through a, b and c."""
    both = near + far
    return a * (-(2 * near + far) / (near * both)) + b * (both / (near * far)) - c * (near / (far * both))


def _gradient(o, self, spacing, dims, edge_order: int):
    whole = dims is None
    dims = [wrap_dim(d, self.dim()) for d in (range(self.dim()) if whole else dims)]
    spaces = _spaces(spacing, dims, whole)
    _check(o, self, spaces, dims, edge_order)
    if self.dtype is o.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if self.dtype is o.bool:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    return tuple(
        _uneven(o, self, d, space, edge_order) if isinstance(space, o.Tensor) else _even(o, self, d, space, edge_order)
        for d, space in zip(dims, spaces, strict=True)
    )


def _one_dim(o, self, *, spacing=None, dim=None, edge_order=1):
    return _gradient(o, self, spacing, None if dim is None else [dim], edge_order)


def _dims(o, self, *, spacing=None, dim=None, edge_order=1):
    return _gradient(o, self, spacing, dim, edge_order)


for _overload, _options, _body in (
    (".scalarint", "Scalar? spacing=None, int? dim=None", _one_dim),
    (".scalararray", "Scalar? spacing=None, int[] dim", _dims),
    (".scalarrayint", "float[] spacing, int? dim=None", _one_dim),
    (".scalarrayarray", "float[] spacing, int[] dim", _dims),
    (".tensorarrayint", "Tensor[] spacing, int? dim=None", _one_dim),
    (".tensorarray", "Tensor[] spacing, int[] dim", _dims),
):
    op(
        f"gradient{_overload}(Tensor self, *, {_options}, int edge_order=1) -> Any",
        names=("gradient",),
        body=Composite(_body),
        doc="""Derivatives of a sampled function along dimensions: a tuple of one tensor for each.

        Args:
            spacing: the distance of samples, one for each dimension, or tensors of their coordinates.
            dim: the dimensions, all by default.
            edge_order: 1 or 2, the order of the differences at the ends.

        Example:
            >>> torch.gradient(torch.tensor([1., 2., 4., 7.]))
            (tensor([1.0000, 1.5000, 2.5000, 3.0000]),)""",
    )
