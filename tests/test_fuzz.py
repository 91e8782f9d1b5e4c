"""The fuzz target runs, repeats itself, and notices what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

from flambeau.ops.table import TABLE
from fuzz.draw import Draw

ROOT = Path(__file__).parents[1]


def fuzz(*arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "fuzz", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)


def test_few_calls_of_every_operator():
    run = fuzz("--calls", "1400", "--seed", "7")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "faults: 0" in run.stdout


def test_arguments_repeat_themselves():
    for name in ("conv2d", "index_add", "cat"):
        for number in range(5):
            texts = [repr(Draw(f"1 {name} {number}").call(TABLE[name])) for _ in range(2)]
            assert texts[0] == texts[1]
    assert repr(Draw("1 cat 1").call(TABLE["cat"])) != repr(Draw("2 cat 1").call(TABLE["cat"]))


def test_faults_are_seen(tmp_path):
    """A process that ends, an exception of another class, memory that stays."""
    module = tmp_path / "faulty.py"
    module.write_text(
        "import os\n"
        "import flambeau as torch\n"
        "from flambeau.ops.table import Composite, op\n"
        "held = []\n"
        "bodies = {'dies': lambda o, x: os.abort(), 'slips': lambda o, x: {}[1],\n"
        "          'holds': lambda o, x: held.append(torch.ones(1 << 20)) or x}\n"
        "for name, body in bodies.items():\n"
        "    op(f'fuzz_{name}(Tensor self) -> Tensor', body=Composite(body), names=(f'fuzz_{name}',))\n"
    )
    run = fuzz("--calls", "12", "--only", "^fuzz_", "--load", str(module))
    assert run.returncode == 1, run.stdout + run.stderr
    assert "fuzz_dies" in run.stdout and "the process ended with" in run.stdout
    assert "KeyError" in run.stdout
    assert "fuzz_holds" in run.stdout and "bytes are still held" in run.stdout
