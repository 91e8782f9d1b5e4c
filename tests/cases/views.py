"""Views and parts, in place and out of place, joining and spreading."""

import numpy as np

from cases.make import Case, Fixed, Maker, case, changed


def _of_contiguous(f, x, *rest):
    return f(x.contiguous(), *rest)


def _there_and_back(f, x):
    """Conversions to a narrower type are not smooth: their sum with the tensor itself is, where the type is undone."""
    return f(x).to(x.dtype) * 0 + x


def _parts(s: Maker, *arguments) -> list[Case]:
    return [case(s.x(4, 3), *a) for a in arguments]


CASES = {
    "view": lambda s: [case(s.x(2, 6), (3, -1)), case(s.x(4), (2, 2)), case(s.x(), (1,)), case(s.x(0, 2), (2, 0))],
    "reshape": lambda s: [case(s.x(2, 6), (3, -1)), case(s.x(3, 2), (6,), call=lambda f, x, size: f(x.mT, size))],
    "flatten": lambda s: [case(s.x(2, 3)), case(s.x(2, 2, 3), 1), case(s.x(2, 2, 2), 0, 1), case(s.x())],
    "view.dtype": lambda s: [case(s.x(2, 3), call=lambda f, x: f(x, x.dtype))],
    "transpose": lambda s: [case(s.x(2, 3), 0, 1), case(s.x(2, 3, 2), -1, 0), case(s.x(), 0, 0)],
    "swapaxes": lambda s: [case(s.x(2, 3), 0, 1), case(s.x(), 0, -1)],
    "t": lambda s: [case(s.x(2, 3)), case(s.x(3)), case(s.x())],
    "permute": lambda s: [case(s.x(2, 3, 2), (2, 0, 1)), case(s.x(2, 3), (-1, 0))],
    "expand": lambda s: [case(s.x(3, 1), (2, 3, 4)), case(s.x(2, 1), (-1, 3)), case(s.x(), (2,))],
    "broadcast_to": lambda s: [case(s.x(3, 1), (2, 3, 4)), case(s.x(), (2, 2))],
    "squeeze": lambda s: [case(s.x(1, 3, 1)), case(s.x(2, 3)), case(s.x())],
    "squeeze.dims": lambda s: [case(s.x(1, 3, 1), 0), case(s.x(1, 3, 1), (0, -1)), case(s.x(2, 1), 0)],
    "unsqueeze": lambda s: [case(s.x(2, 3), 1), case(s.x(2, 3), -1), case(s.x(), 0)],
    "select.int": lambda s: [case(s.x(2, 3), 1, 2), case(s.x(2, 3), -2, -1), case(s.x(3), 0, 0)],
    "narrow": lambda s: [case(s.x(4, 2), 0, 1, 2), case(s.x(2, 4), -1, -3, 2), case(s.x(3), 0, 1, 0)],
    "narrow.Tensor": lambda s: [case(s.x(4, 2), 0, Fixed(s.integers(1, 2)), 2)],
    "diagonal": lambda s: [case(s.x(3, 3)), case(s.x(2, 3, 4), 1, -1, 0), case(s.x(3, 2), -1)],
    "unfold": lambda s: [case(s.x(5), 0, 2, 1), case(s.x(5, 2), 0, 3, 2), case(s.x(2, 4), 1, 2, 2)],
    "as_strided": lambda s: [
        case(s.x(6), (2, 2), (2, 1), 1, call=_of_contiguous), case(s.x(2, 3), (3, 2), (1, 3), call=_of_contiguous),
        case(s.x(4), (3, 2), (1, 1), call=_of_contiguous),
    ],
    "unbind.int": lambda s: [case(s.x(2, 3)), case(s.x(2, 3), 1)],
    "split.Tensor": lambda s: _parts(s, (2,), (2, 1), (3, 0)),
    "split_with_sizes": lambda s: _parts(s, ((1, 3),), ((2, 0, 1), 1)),
    "chunk": lambda s: _parts(s, (2,), (2, 1), (3, 0)),
    "unsafe_split": lambda s: _parts(s, (2,), (2, 1)),
    "unsafe_split_with_sizes": lambda s: _parts(s, ((1, 3),), ((2, 1), 1)),
    "tensor_split.sections": lambda s: _parts(s, (3,), (2, 1)),
    "tensor_split.indices": lambda s: _parts(s, ((1, 3),), ((1, 2), 1)),
    "tensor_split.tensor_indices_or_sections": lambda s: [case(s.x(4, 3), Fixed(s.integers(2, 3)))],
    "hsplit.sections": lambda s: _parts(s, (3,)),
    "hsplit.indices": lambda s: _parts(s, ((1, 2),)),
    "vsplit.sections": lambda s: _parts(s, (2,)),
    "vsplit.indices": lambda s: _parts(s, ((1, 2),)),
    "dsplit.sections": lambda s: [case(s.x(1, 2, 4), 2)],
    "dsplit.indices": lambda s: [case(s.x(1, 2, 4), (1, 3))],
    "movedim": lambda s: [case(s.x(2, 3, 2), 0, 2), case(s.x(2, 3, 2), (0, 1), (2, 0)), case(s.x(), 0, 0)],
    "unflatten": lambda s: [case(s.x(4, 2), 0, (2, -1)), case(s.x(6), -1, (3, 2))],
    "view_as": lambda s: [case(s.x(4, 2), s.x(2, 4))],
    "reshape_as": lambda s: [case(s.x(4, 2), s.x(8))],
    "expand_as": lambda s: [case(s.x(3, 1), s.x(2, 3, 2))],
    "ravel": lambda s: [case(s.x(2, 3)), case(s.x())],
    "adjoint": lambda s: [case(s.x(2, 3)), case(s.x(2, 2, 3))],
    "sum_to_size": lambda s: [case(s.x(2, 3), (1, 3)), case(s.x(2, 3), (3,)), case(s.x(2, 3, 1), (3, 1))],
    "broadcast_tensors": lambda s: [case(s.x(3, 1), s.x(4), s.x())],
    "view_as_real": lambda s: [] if s.real else [case(s.x(2, 3)), case(s.x())],
    "view_as_complex": lambda s: [case(s.x(3, 2), call=_of_contiguous), case(s.x(2), call=_of_contiguous)] if s.real else [],
    "real": lambda s: [case(s.x(2, 3))],
    "imag": lambda s: [] if s.real else [case(s.x(2, 3))],
    "conj": lambda s: [case(s.x(2, 3))],
    "resolve_conj": lambda s: [case(s.x(2, 3))],
    "resolve_neg": lambda s: [case(s.x(2, 3))],
    # self becomes the view
    "transpose_": lambda s: [case(s.x(2, 3), 0, 1, call=changed)],
    "swapaxes_": lambda s: [case(s.x(2, 3), 0, 1, call=changed)],
    "swapdims_": lambda s: [case(s.x(2, 3), 0, 1, call=changed)],
    "t_": lambda s: [case(s.x(2, 3), call=changed)],
    "squeeze_": lambda s: [case(s.x(1, 3), call=changed)],
    "squeeze_.dims": lambda s: [case(s.x(1, 3, 1), 0, call=changed)],
    "unsqueeze_": lambda s: [case(s.x(2, 3), 1, call=changed)],
    "as_strided_": lambda s: [case(s.x(6), (2, 2), (2, 1), 1, call=lambda f, x, *rest: f((x * 1).contiguous(), *rest))],
    # diagonals and parts written
    "diag_embed": lambda s: [case(s.x(2, 3)), case(s.x(3), 1), case(s.x(2, 2), -1, 0, 2)],
    "diag": lambda s: [case(s.x(3)), case(s.x(3, 3), 1), case(s.x(2), -1)],
    "diagflat": lambda s: [case(s.x(2, 2)), case(s.x(2), 1)],
    "diagonal_scatter": lambda s: [case(s.x(3, 3), s.x(3)), case(s.x(2, 3, 4), s.x(3, 2), 0, 2, 0), case(s.x(3, 3), s.x(2), 1)],
    "select_scatter": lambda s: [case(s.x(2, 3), s.x(2), 1, 2), case(s.x(2, 3), s.x(3), 0, -1)],
    "slice_scatter": lambda s: [case(s.x(4, 2), s.x(2, 2), 0, 0, 4, 2), case(s.x(2, 4), s.x(2, 2), 1, 2)],
    "as_strided_scatter": lambda s: [case(s.x(6), s.x(2, 2), (2, 2), (2, 1), 1, call=_of_contiguous)],
    "fill_diagonal_": lambda s: [case(s.x(3, 3), 2.5, call=changed), case(s.x(5, 2), 1.5, True, call=changed)],
    "rot90": lambda s: [case(s.x(2, 3)), case(s.x(2, 3, 2), 2, (0, 2)), case(s.x(2, 3), -1)],
    # joined, repeated, turned
    "cat": lambda s: [case([s.x(2, 3), s.x(1, 3)]), case([s.x(2, 1), s.x(2, 0), s.x(2, 2)], 1), case([s.x(2, 2)], -1)],
    "stack": lambda s: [case([s.x(2, 3), s.x(2, 3)]), case([s.x(2), s.x(2), s.x(2)], -1), case([s.x(), s.x()])],
    "hstack": lambda s: [case([s.x(2, 1), s.x(2, 3)]), case([s.x(2), s.x(3)])],
    "vstack": lambda s: [case([s.x(2, 3), s.x(1, 3)]), case([s.x(3), s.x(3)])],
    "dstack": lambda s: [case([s.x(2, 3), s.x(2, 3)])],
    "column_stack": lambda s: [case([s.x(3), s.x(3, 2)])],
    **{f"atleast_{n}d.Sequence": lambda s: [case([s.x(), s.x(2)])] for n in (1, 2, 3)},
    "atleast_1d": lambda s: [case(s.x()), case(s.x(2))],
    "atleast_2d": lambda s: [case(s.x()), case(s.x(2)), case(s.x(2, 2))],
    "atleast_3d": lambda s: [case(s.x()), case(s.x(2)), case(s.x(2, 2))],
    "repeat": lambda s: [case(s.x(2, 3), (2, 1)), case(s.x(3), (2, 2)), case(s.x(), (3,))],
    "tile": lambda s: [case(s.x(2, 3), (2,)), case(s.x(3), (2, 2))],
    "repeat_interleave.self_int": lambda s: [
        case(s.x(2, 3), 2), case(s.x(2, 3), 2, 1), case(s.x(3, 2), Fixed(np.array([2, 0, 1])), 0), case(s.x(2), Fixed(np.array([2, 1]))),
    ],
    "roll": lambda s: [case(s.x(2, 3), 1), case(s.x(2, 3), (1, -2), (0, 1)), case(s.x(4), 3, 0)],
    "triu": lambda s: [case(s.x(3, 3)), case(s.x(2, 3, 2), 1), case(s.x(2, 3), -1)],
    "tril": lambda s: [case(s.x(3, 3)), case(s.x(2, 3, 2), 1), case(s.x(2, 3), -1)],
    "meshgrid": lambda s: [case(s.x(2), s.x(3), indexing="ij"), case(s.x(2), s.x(3), indexing="xy")],
    "cartesian_prod": lambda s: [case(s.x(2), s.x(3)), case(s.x(2))],
    "combinations": lambda s: [case(s.x(4)), case(s.x(3), 2, True), case(s.x(4), 3)],
    "block_diag": lambda s: [case(s.x(2, 2), s.x(1, 3), s.x(2))],
    "flip": lambda s: [case(s.x(2, 3), (0, 1)), case(s.x(2, 3), (1,)), case(s.x(), ())],
    "fliplr": lambda s: [case(s.x(2, 3))],
    "flipud": lambda s: [case(s.x(2, 3))],
    "constant_pad_nd": lambda s: [case(s.x(2, 3), (1, 2)), case(s.x(2, 3), (-1, 1, 0, 2), 1.5)],
    "pad": lambda s: [
        case(s.x(2, 3), (1, 2)), case(s.x(1, 2, 3), (2, 1), "reflect"), case(s.x(1, 2, 3), (1, 2), "replicate"),
        case(s.x(1, 2, 3), (2, 1), "circular"), case(s.x(1, 1, 3, 2), (1, 0, 1, 2), "reflect"),
        case(s.x(1, 1, 2, 2, 2), (1, 0, 0, 1, 1, 1), "replicate"), case(s.x(2, 3), (1, 1), "constant", 0.5),
    ],
    # copies and conversions
    "clone": lambda s: [case(s.x(2, 3)), case(s.x())],
    "contiguous": lambda s: [case(s.x(2, 3), call=lambda f, x: f(x.mT))],
    "to.dtype": lambda s: [case(s.x(2, 3), call=lambda f, x: f(x, x.dtype, copy=True))],
    "to.device": lambda s: [case(s.x(2, 3), "cpu", copy=True)],
    "to.other": lambda s: [case(s.x(2, 3), s.x(1), copy=True)],
    "type_as": lambda s: [case(s.x(2, 3), s.x(1))],
    **{n: lambda s: [case(s.x(2, 3), call=_there_and_back)] for n in ("float", "half", "bfloat16", "cfloat")},
    **{n: lambda s: [case(s.x(2, 3))] if s.real else [] for n in ("int", "long", "short", "char", "byte", "bool")},
    "cpu": lambda s: [case(s.x(2, 3))],
    "double": lambda s: [case(s.x(2, 3))] if s.real else [],
    "cdouble": lambda s: [case(s.x(2, 3))],
    "copy_": lambda s: [case(s.x(2, 3), s.x(3), call=changed), case(s.x(2), s.x(), call=changed)],
    "fill_.Tensor": lambda s: [case(s.x(2, 3), s.x(), call=changed)],
    "fill_.Scalar": lambda s: [case(s.x(2, 3), 1.5, call=changed)],
    "fill.Scalar": lambda s: [case(s.x(2, 3), 1.5)],
    "zero_": lambda s: [case(s.x(2, 3), call=changed)],
}  # fmt: skip
