"""Backward of Scalar operators: an operator of its own, whose body is the symbolic derivative.

The derived operator is an ordinary entry, so its own gradient is derived in the same way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flambeau.ir import types as t
from flambeau.ir.diff import Backward, backward
from flambeau.ir.program import ScalarProgram
from flambeau.ir.scalar import cast

from .programs import (
    canonical_dtypes,
    is_run_time_number,
    operand_params,
    parse_attributes,
    program_of,
)
from .signature import parse
from .table import FLOATING, TABLE, Entry, register

Plan = tuple[str | None, list[tuple[bool, int]], list[int]]
PASS_GRADIENT, ZERO_GRADIENT = -1, -2


@dataclass(frozen=True, slots=True)
class Derived:
    """The body of a derived operator: rebuilt from its parent for each dtype."""

    parent: Entry
    attributes: str
    needs: tuple[bool, ...]  # by operand that is present
    saved: tuple[str, ...]
    kind = "scalar"

    @property
    def work(self) -> int:
        return self.parent.body.work

    def program(self, entry: Entry, dtypes: Sequence[str]) -> ScalarProgram:
        """The derivative of the parent, for storage dtypes."""
        results = parse(entry.signatures[0])[1]
        first = entry.result if isinstance(entry.result, str) else entry.result[0]
        compute = t.real_of(dtypes[0]) if first == "complex" else dtypes[0]
        plan = _differentiate(self.parent, self.attributes, compute, self.needs, self.saved)
        # Operands may be stored narrower or wider than the canonical ones; the body sees the same.
        program = plan.program.stored_as(dtypes[results:])
        roots = tuple(cast(r, t.compute_dtype(d)) for r, d in zip(program.roots, dtypes, strict=False))
        return replace(program, roots=roots, outputs=tuple(dtypes[:results]), name=entry.name)


def _differentiate(entry: Entry, attributes: str, dtype: str, needs: Sequence[bool], saved=None) -> Backward:
    absent = parse_attributes(attributes)[1]
    program = program_of(entry, attributes, canonical_dtypes(entry, absent, dtype))
    return backward(program, needs, saved)


def backward_plan(name: str, attributes: str, is_complex: bool, needs: int) -> Plan:
    """How the gradient of a call is computed.

    Args:
        name: the operator.
        attributes: of the kernel's key: static attributes, folded and absent parameters.
        is_complex: whether an operand is complex.
        needs: bit i: the i-th operand needs a gradient.

    Returns:
        The derived operator (None where there is nothing to compute); what it takes after the incoming gradients, as
        (is an output, its number); for each needed operand the output of the derived operator that is its gradient,
        or -1 for the incoming gradient as it is, or -2 for zero.
    """
    entry = TABLE[name]
    absent = parse_attributes(attributes)[1]
    present = [i for i, p in enumerate(operand_params(entry)) if p.name not in absent]
    wanted = tuple(bool(needs >> i & 1) for i in present)
    plan = _differentiate(entry, attributes, _canonical(entry, is_complex), wanted)
    outputs = iter(plan.outputs)
    by_operand = {i: next(outputs) for i, want in zip(present, wanted, strict=True) if want}
    ordered = [by_operand.get(i, "0") for i in range(len(operand_params(entry))) if needs >> i & 1]
    saved = [(s[0] == "o", int(s[1:]) if s[0] == "o" else present[int(s[1:])]) for s in plan.saved]
    derived = None if plan.program is None else _derived_entry(entry, attributes, is_complex, needs, wanted, plan)
    return derived, saved, [{"g": PASS_GRADIENT, "0": ZERO_GRADIENT}.get(o, o) for o in ordered]


def _canonical(entry: Entry, is_complex: bool) -> str:
    """What to differentiate in. An operand of role z is complex while the others are real."""
    return "c128" if is_complex and "z" not in entry.roles.values() else "f64"


def _derived_entry(entry: Entry, attributes: str, is_complex: bool, needs: int, wanted, plan: Backward) -> str:
    name = f"{entry.name}__b{needs:x}{'c' if is_complex else ''}" + (f"[{attributes}]" if attributes else "")
    if name in TABLE:
        return name
    params, n_results = parse(entry.signatures[0])
    operands, roles = _operands(entry, attributes, n_results, plan)
    absent = parse_attributes(attributes)[1]
    numbers = [f"{p.type} {p.name}" for p in params if is_run_time_number(entry, p) and p.name not in absent]
    listed = ", ".join([f"Tensor {o}" for o in operands] + numbers)
    results = len(plan.program.roots)
    returned = "Tensor" if results == 1 else f"({', '.join(['Tensor'] * results)})"
    roles.update({p.name: "k" for p in params if p.type == "Scalar" and p.name not in absent})
    word = re.sub(r"\W", "_", f"{entry.name}__b{needs:x}")
    register(
        Entry(
            name=name,
            signatures=(f"{word}({listed}) -> {returned}",),
            body=Derived(entry, attributes, wanted, plan.saved),
            dtypes=FLOATING,
            result=_result_rules(entry, attributes, wanted, plan),
            numbers=tuple(o for o in operands if o[0] == "i"),
            roles=roles,
        )
    )
    return name


def _result_rules(entry: Entry, attributes: str, wanted: Sequence[bool], plan: Backward) -> str | tuple[str, ...]:
    """Gradients of operands of role z are complex where the others are real."""
    absent = parse_attributes(attributes)[1]
    present = [p for p in operand_params(entry) if p.name not in absent]
    needed = [p for p, want in zip(present, wanted, strict=True) if want]
    rules = {o: entry.roles.get(p.name, "c") for p, o in zip(needed, plan.outputs, strict=True)}
    if "z" not in rules.values():
        return "promote"
    return tuple("complex" if rules[k] == "z" else "promote" for k in range(len(plan.program.roots)))


def _operands(entry: Entry, attributes: str, n_results: int, plan: Backward) -> tuple[list[str], dict[str, str]]:
    """Names and roles of the operands of the derived operator."""
    absent = parse_attributes(attributes)[1]
    present = [p for p in operand_params(entry) if p.name not in absent]
    rules = (entry.result,) * n_results if isinstance(entry.result, str) else entry.result
    gradients = len(plan.program.inputs) - len(plan.saved)
    names = [f"g{k}" for k in range(gradients)] + list(plan.saved)
    roles = {}
    for s in names:
        k = int(s[1:])
        if s[0] == "i":
            role = entry.roles.get(present[k].name, "c")
        else:
            role = {"real": "r", "real_float": "r", "complex": "z"}.get(rules[k], "c")
        if role != "c":
            roles[s] = role
    return names, roles
