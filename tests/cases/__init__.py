"""Arguments of calls for the operators of the table, a module a family.

A module gives `CASES`: name of an entry, or of a function of `nn.functional` that is none, -> a function of a `Maker`
that gives cases. They are written for float64 and complex128, away from kinks and singular points, and small: every
element is moved in turn.
"""

from cases import indexing, linalg, networks, numbers, plain, sparse, transforms, views

CASES = {}
for _family in (numbers, views, indexing, linalg, transforms, networks, sparse, plain):
    assert not CASES.keys() & _family.CASES.keys(), CASES.keys() & _family.CASES.keys()
    CASES |= _family.CASES

NO_CASES = {
    "broadcast_shapes": "takes sizes and gives sizes",
    **{f"result_type.{k}": "gives a dtype" for k in ("Tensor", "Scalar", "Scalar_Tensor", "Scalar_Scalar")},
    "can_cast": "takes dtypes and gives a bool",
    **dict.fromkeys(("solve", "lstsq", "eig", "symeig", "matrix_rank"), "raises, always; tests/test_names.py"),
    **{n + kind: "the same by an old order of arguments; tests/test_names.py"
       for n in ("add", "sub", "addcmul", "addcdiv") for kind in (".old", "_.old")},
    **{n + kind: "the same by an old order of arguments; tests/test_names.py"
       for n in ("addmm", "addmv", "addr", "baddbmm", "addbmm") for kind in (".old", ".old_beta", "_.old", "_.old_beta")},
    "split.old": "split by another name of its parameter; tests/test_names.py",
    "_scaled_mm": "takes numbers of 8 bits only; tests/test_float8.py has its values",
    "resize_": "gives memory that was not written; no gradient goes through it",
    "resize_as_": "gives memory that was not written; no gradient goes through it",
    "allclose": "gives one bool, which cannot differ from example to example",
    "equal": "gives one bool, which cannot differ from example to example",
    "is_coalesced": "gives a bool",
    **dict.fromkeys(
        ("indices", "crow_indices", "col_indices", "ccol_indices", "row_indices"),
        "gives the integers that a sparse tensor was made of",
    ),
    "sparse_dim": "gives an int",
    "dense_dim": "gives an int",
}
#: Entries whose gradient has no gradient.
ONE_DERIVATIVE = {"nn.functional.ctc_loss": "the derivative for '_ctc_loss_backward' is not implemented"}
#: Entries that the table lists as differentiable and that have no derivative, as in PyTorch.
NO_DERIVATIVE = {
    "geqrf": "the derivative for 'geqrf' is not implemented",
    "linalg_ldl_factor_ex": "derivative for aten::linalg_ldl_factor_ex is not implemented",
    "linalg_ldl_factor": "derivative for aten::linalg_ldl_factor_ex is not implemented",
    "linalg_ldl_solve": "derivative for aten::linalg_ldl_solve is not implemented",
    "scatter.reduce": "derivative for aten::scatter is not implemented",
    "scatter.value_reduce": "derivative for aten::scatter is not implemented",
    **dict.fromkeys(("poisson", "binomial"), "a number drawn does not move smoothly with it"),
    **dict.fromkeys(("_standard_gamma", "_sample_dirichlet"), "implicit: numbers that are rejected move as well; tests of distributions check it"),
    **{f"normal.{k}": "numbers that are drawn have no derivative" for k in ("Tensor_Tensor", "Tensor_float", "float_Tensor", "float_float")},
}
NO_VMAP = {"lobpcg": "how long it iterates depends on the numbers"}
