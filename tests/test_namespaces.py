"""Public namespaces hold no helpers' names: nothing that PyTorch's do not, but what is listed here with its reason.

tests/data/namespaces.json has PyTorch 2.13's names that begin with no underscore, as `dir` lists them."""

import importlib
import json
from pathlib import Path

import pytest

RECORDED = json.loads((Path(__file__).parent / "data" / "namespaces.json").read_text())

_IN_PLACE = "the in-place form that every such operator of the table has"
_MODULE = "a module that PyTorch has as well, and takes out of its package's names"
MORE = {
    "nn": {},
    "nn.functional": {
        "LinearCrossEntropyOptions": "the class of an argument, beside the function that takes it",
        **dict.fromkeys(("hardsigmoid_", "hardswish_", "mish_", "relu6_", "silu_"), _IN_PLACE),
    },
    "nn.init": {},
    "nn.parameter": {},
    "optim.lr_scheduler": {},
    "optim.swa_utils": {},
    "optim": dict.fromkeys(
        (
            "adadelta", "adafactor", "adagrad", "adam", "adamax", "asgd", "lbfgs", "muon", "nadam", "optimizer", "radam",
            "rmsprop", "rprop", "sgd", "sparse_adam",
        ),
        _MODULE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_a_namespace_holds_no_more_than_it_may(name: str) -> None:
    found = {n for n in dir(importlib.import_module(f"flambeau.{name}")) if not n.startswith("_")}
    more = found - set(RECORDED[name].split())
    assert more <= set(MORE[name]), "import it under a name with an underscore, or say here why it is public"
    assert set(MORE[name]) <= more, "a reason for a name that is not there, or that PyTorch has too"
