"""What the documentation shows is run, and its output compared."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import flambeau

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = ("random", "_kinds", "types", "overrides", "amp.autocast_mode", "amp.grad_scaler", "cuda._device")


def run(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("*.md") if ">>> " in p.read_text()))
def test_pages(page: str) -> None:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"```python\n(>>> .*?)```", text, re.S)
    run(doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0))


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name: str) -> None:
    module = importlib.import_module(f"flambeau.{name}")
    names = {"torch": flambeau, "flambeau": flambeau}
    tests = [t for t in doctest.DocTestFinder().find(module, module.__name__, module, extraglobs=names) if t.examples]
    assert tests
    for test in tests:
        run(test)
