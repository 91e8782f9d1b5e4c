"""Records what PyTorch does with `out=`: tests/data/out_forms.json.

    python tools/record_out_forms.py calls CALLS     by the project's Python: one call of each public function
    python tools/record_out_forms.py record CALLS    by a Python that has PyTorch: which of them take out=, and the
                                                     sentences for an `out` of another dtype, on another device, and
                                                     for an argument that requires a gradient
"""

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "data" / "out_forms.json"


def write_calls(path: str) -> None:
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
    import outcheck

    Path(path).write_bytes(pickle.dumps([(name, case.args, case.kwargs) for name, case in outcheck.calls()]))


class Recorder:
    """Makes the calls of one function with PyTorch."""

    def __init__(self, torch: Any, name: str, args: tuple, kwargs: dict):
        self.torch, self.args, self.kwargs = torch, args, kwargs
        self.function = torch
        for part in name.split("."):
            self.function = getattr(self.function, part)

    def tensors(self, value: Any, grad: bool) -> Any:
        import numpy as np

        if isinstance(value, np.ndarray):
            t = self.torch.from_numpy(value.copy())
            return t.requires_grad_() if grad and (t.is_floating_point() or t.is_complex()) else t
        if isinstance(value, list | tuple):
            return type(value)(self.tensors(v, grad) for v in value)
        return value

    def call(self, grad: bool = False, **more: Any) -> Any:
        options = {k: self.tensors(v, grad) for k, v in self.kwargs.items()}
        return self.function(*self.tensors(self.args, grad), **options, **more)

    def sentence(self, out: Any, grad: bool = False) -> list[str] | None:
        try:
            self.call(grad, out=out)
        except Exception as error:
            return [type(error).__name__, str(error).split("\n")[0]]
        return None

    def record(self) -> dict[str, Any] | None:
        torch = self.torch
        result = self.call()
        several = not isinstance(result, torch.Tensor)
        results = list(result) if several else [result]
        if not all(isinstance(r, torch.Tensor) for r in results):
            return None

        def outs(make: Any) -> Any:
            made = [make(r) for r in results]
            return tuple(made) if several else made[0]

        if self.sentence(outs(lambda r: torch.empty(0, dtype=r.dtype))) is not None:
            return None
        other = {True: torch.int32, False: torch.float32}
        inexact = lambda r: r.is_floating_point() or r.is_complex()  # noqa: E731
        return {
            "dtype": self.sentence(outs(lambda r: torch.empty_like(r, dtype=other[inexact(r)]))),
            "device": self.sentence(outs(lambda r: torch.empty_like(r, device="meta"))),
            "grad": self.sentence(outs(torch.empty_like), grad=True),
        }


def record(path: str) -> None:
    import torch

    warnings.simplefilter("ignore")
    found = {}
    for name, args, kwargs in pickle.loads(Path(path).read_bytes()):
        try:
            made = Recorder(torch, name, args, kwargs).record()
        except (AttributeError, TypeError, RuntimeError, NotImplementedError, ValueError) as error:
            print(f"{name}: {type(error).__name__} {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        if made is not None:
            found[name] = made
    lines = [f"{json.dumps(name)}: {json.dumps(form)}" for name, form in sorted(found.items())]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(found)} functions take out=")


if __name__ == "__main__":
    {"calls": write_calls, "record": record}[sys.argv[1]](sys.argv[2])
