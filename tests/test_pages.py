"""What follows from the table for readers: pages, signatures, stubs."""

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.ops import names, pages

TOOL = Path(__file__).parents[1] / "tools" / "make_docs.py"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    subprocess.run([sys.executable, str(TOOL), "stubs", str(folder)], check=True)
    return {path.relative_to(folder).as_posix(): ast.parse(path.read_text()) for path in folder.rglob("*.pyi")}


def defined(tree) -> set[str]:
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found.update(a.asname or a.name for a in node.names)
    return found


def test_a_page_says_what_the_table_says():
    text = pydoc.render_doc(torch.conv2d, renderer=pydoc.plaintext)
    assert "conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor" in text
    assert "stride (int or 2 ints): default 1" in text
    assert "Gradient: written over operators." in text
    assert "Reached as: torch.conv2d, torch.nn.functional.conv2d." in text
    assert "is changed" in torch.Tensor.add_.__doc__
    assert "a view" in torch.transpose.__doc__
    assert torch.max.__doc__.count("max(") == 3


def test_every_operator_has_a_page():
    for prefix in ("", "nn.functional", "linalg", "special"):
        for name, function in names.namespace(prefix).items():
            listed = pages.entries_of(function) if isinstance(function, torch._core.OpFunction) else []
            if listed and not listed[0][0].user:  # other tests add operators of their own
                summary = listed[0][0].doc
                assert summary.strip(), f"{prefix}.{name} has no text"
                assert function.__doc__.startswith(inspect.cleandoc(summary)[:20])
                inspect.signature(function)


def test_signatures_are_those_of_the_table():
    assert str(inspect.signature(torch.Tensor.clamp)).startswith("(self: 'Tensor', min: 'Tensor | Number | None' = None")
    assert inspect.signature(torch.sum).parameters["dtype"].kind is inspect.Parameter.KEYWORD_ONLY


def test_stubs_name_everything(stubs):
    package = defined(stubs["__init__.pyi"])
    assert {n for n in torch.__all__ if not n.startswith("_")} <= package
    tensor = next(n for n in stubs["_core.pyi"].body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    assert {n for n in vars(torch.Tensor) if not n.startswith("_")} <= defined(tensor)
    functional = {n for n in dir(torch.nn.functional) if not n.startswith("_")}
    operators = {n for n in functional if isinstance(getattr(torch.nn.functional, n), torch._core.OpFunction)}
    assert operators and operators <= defined(stubs["nn/functional.pyi"])


def test_stubs_know_arguments(stubs):
    lines = {ast.unparse(n) for n in stubs["__init__.pyi"].body if isinstance(n, ast.FunctionDef) and n.name == "randn"}
    assert any("*size: builtins.int" in line for line in lines)
    softmax = [n for n in stubs["__init__.pyi"].body if isinstance(n, ast.FunctionDef) and n.name == "softmax"]
    assert softmax[0].args.args[0].annotation.id == "Tensor"


def test_pages_of_all_namespaces(tmp_path):
    subprocess.run([sys.executable, str(TOOL), "pages", str(tmp_path)], check=True)
    index = (tmp_path / "index.md").read_text()
    for name, count in re.findall(r"\[(.+?)\]\(.+?\): (\d+)", index):
        assert (tmp_path / f"{name}.md").read_text().count("\n## ") == int(count) > 0


def test_a_users_operator_has_a_page():
    torch.op("page_of_mine(Tensor self, int n=2) -> Tensor", body=torch.ops.Composite(lambda o, x, n: x * n), doc="x n.")
    assert torch.page_of_mine.__doc__.startswith("x n.")
    assert "n (int): default 2" in torch.page_of_mine.__doc__
