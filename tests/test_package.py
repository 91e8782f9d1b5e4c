"""The package: what it needs, what a wheel holds, and that the README's program runs."""

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from flambeau.codegen.target import host_level

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WHEEL_BUDGET = 10_000_000
INSTALLED_BUDGET = 25_000_000


FIRST_STEP = """
import flambeau as torch
from flambeau import nn
net = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
)
optimizer = torch.optim.Adam(net.parameters())
loss = nn.functional.cross_entropy(net(torch.rand(8, 1, 28, 28)), torch.randint(0, 10, (8,)))
loss.backward()
optimizer.step()
from flambeau.codegen import resolve
print(resolve.stats()["generated"], "generated")
"""


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def test_three_dependencies_at_run_time():
    assert names(PROJECT["dependencies"]) == {"llvmlite", "numpy", "scipy-openblas32"}


def test_every_dependency_says_why():
    text = (ROOT / "docs" / "dependencies.md").read_text().lower()
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for name in names(group):
            assert re.search(rf"\b{name}\b", text), name


def test_the_readmes_program_runs(tmp_path):
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert float(re.fullmatch(r"loss ([\d.]+)\n", done.stdout)[1]) < 0.01
    assert (tmp_path / "sine.pt").exists()


def test_the_readmes_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"


@pytest.mark.slow
def test_a_wheel_installs_and_runs(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("flambeau-*.whl")
    assert wheel.stat().st_size <= WHEEL_BUDGET
    with zipfile.ZipFile(wheel) as archive:
        entries = {info.filename: info.file_size for info in archive.infolist()}
    assert sum(entries.values()) <= INSTALLED_BUDGET
    assert len([name for name in entries if name.endswith(".so")]) == 1
    assert "flambeau/cli/data/LICENSE.digits.txt" in entries
    assert f"flambeau/_pack/{host_level()}.pack" in entries
    venv.create(tmp_path / "venv", with_pip=True)
    command = tmp_path / "venv" / "bin" / "flambeau"
    subprocess.run([tmp_path / "venv" / "bin" / "pip", "install", "--quiet", wheel], check=True)
    done = subprocess.run([command, "demo", "--epochs", "1"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1].startswith("held-out accuracy: ")
    assert subprocess.run([command, "doctor"], check=False).returncode == 0
    step = [tmp_path / "venv" / "bin" / "python", "-c", FIRST_STEP]
    environment = dict(os.environ, FLAMBEAU_CACHE=str(tmp_path / "empty"), PYTHONPATH="")
    done = subprocess.run(step, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "0 generated\n"
