"""The table's own tests: every entry that gives a reference and samples, checked by `opcheck`."""

import pytest

import opcheck
from flambeau.ops.table import TABLE

CASES = [(name, check) for name, entry in list(TABLE.items()) for check in opcheck.checks_of(entry)]


@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{c.__name__.removeprefix('check_')}-{n}" for n, c in CASES])
def test_entry(name, check):
    check(TABLE[name])
