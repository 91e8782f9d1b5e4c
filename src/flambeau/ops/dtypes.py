"""Questions about dtypes."""

from .table import ANY, Native, op

for _overload, _operands in (
    ("Tensor", "Tensor tensor, Tensor other"),
    ("Scalar", "Tensor tensor, Scalar other"),
    ("Scalar_Tensor", "Scalar scalar, Tensor tensor"),
    ("Scalar_Scalar", "Scalar scalar1, Scalar scalar2"),
):
    op(
        f"result_type.{_overload}({_operands}) -> ScalarType",
        names=("result_type",),
        dtypes=ANY,
        body=Native("result_type"),
        differentiable=False,
        doc="The dtype that an operation between two operands gives.",
    )
op(
    "can_cast(ScalarType from_, ScalarType to) -> bool",
    names=("can_cast",),
    body=Native("can_cast"),
    differentiable=False,
    doc="Whether results of one dtype may be written to a tensor of another.",
)
