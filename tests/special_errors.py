"""The largest errors of special functions over samples of their domains, against mpmath; beside PyTorch's where
TORCH_PYTHON names a Python that has it.

    TORCH_PYTHON=... python tests/special_errors.py              measures all, and writes docs/special-functions.md
    TORCH_PYTHON=... python tests/special_errors.py lgamma zeta  measures these

Errors are in units in the last place (ulp) of the true value at the very argument that the function got.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import mpmath as mp
import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "special-functions.md"
ZEROS_OF_LGAMMA = (-2.4570247382208006, -2.7476826467274127, -3.1435808883499798, -3.955294284858598)


def _domains() -> dict[str, tuple]:
    """Name -> arguments: an array, or an array for each of two operands; polygamma's order comes from its name."""
    rng = np.random.default_rng(5)

    def even(low: float, high: float, n: int = 600) -> np.ndarray:
        return rng.uniform(low, high, n)

    def sizes(low: float, high: float, n: int = 300) -> np.ndarray:
        return 10 ** rng.uniform(np.log10(low), np.log10(high), n)

    def around(x: float, least: float, n: int = 60) -> np.ndarray:
        return x + np.concatenate([1, -1] * np.ones((n, 2)) * sizes(least, 1e-2, n)[:, None])

    gamma = np.concatenate([even(1e-3, 60), sizes(1e-8, 1e6), even(-20, -0.01), around(1, 1e-12), around(2, 1e-12)])
    one = {
        "lgamma": gamma,
        "digamma": np.concatenate([gamma, around(1.4616321449683622, 1e-10)]),
        "lgamma near its negative zeros": np.concatenate([around(z, 1e-10) for z in ZEROS_OF_LGAMMA]),
        "erfinv": np.concatenate([even(-1, 1), 1 - sizes(1e-15, 0.5), sizes(1e-10, 0.5)]),
        "ndtri": np.concatenate([even(0, 1), sizes(1e-25, 0.5), 1 - sizes(1e-15, 0.5)]),
        "log_ndtr": np.concatenate([even(-40, 10), -sizes(1e-3, 1e3)]),
        "ndtr": even(-37, 8),
        "erfcx": np.concatenate([even(-26, 30), sizes(1e-3, 1e8)]),
        "erf": even(-6, 6),
        "erfc": even(-6, 26),
        "spherical_bessel_j0": even(-60, 60),
        "airy_ai": even(-20, 20),
    }
    one |= {name: even(-60, 60) for name in ("i0", "i1", "i0e", "i1e", "bessel_j0", "bessel_j1")}
    one |= {
        name: even(1e-3, 60)
        for name in (
            "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
            "scaled_modified_bessel_k1",
        )
    }  # fmt: skip
    shapes, places = (
        np.concatenate([even(0.1, 30, 300), even(50, 500, 60)]),
        np.concatenate([even(0.1, 50, 300), even(50, 500, 60)]),
    )
    two = {
        "zeta": (even(1.001, 20, 300), even(0.1, 30, 300)),
        "gammainc": (shapes, places),
        "gammaincc": (shapes, places),
        "xlogy": (even(-5, 5), even(0.01, 10)),
        "xlog1py": (even(-5, 5), even(-0.9, 10)),
    }
    more = {
        name: (np.concatenate([even(0.01, 60, 200), even(-10, -0.01, 100)]),) for name in ("polygamma 1", "polygamma 3")
    }
    return {name: (x,) for name, x in one.items()} | two | more


def _normal(x: mp.mpf) -> mp.mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2


EXACT = {
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
    "digamma": mp.digamma,
    "erfinv": mp.erfinv,
    "ndtr": _normal,
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    "log_ndtr": lambda x: mp.log(_normal(x)),
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "spherical_bessel_j0": lambda x: mp.sin(x) / x,
    "airy_ai": mp.airyai,
    "i0": lambda x: mp.besseli(0, x),
    "i1": lambda x: mp.besseli(1, x),
    "i0e": lambda x: mp.besseli(0, x) * mp.exp(-abs(x)),
    "i1e": lambda x: mp.besseli(1, x) * mp.exp(-abs(x)),
    "bessel_j0": lambda x: mp.besselj(0, x),
    "bessel_j1": lambda x: mp.besselj(1, x),
    "bessel_y0": lambda x: mp.bessely(0, x),
    "bessel_y1": lambda x: mp.bessely(1, x),
    "modified_bessel_k0": lambda x: mp.besselk(0, x),
    "modified_bessel_k1": lambda x: mp.besselk(1, x),
    "scaled_modified_bessel_k0": lambda x: mp.besselk(0, x) * mp.exp(x),
    "scaled_modified_bessel_k1": lambda x: mp.besselk(1, x) * mp.exp(x),
    "zeta": mp.zeta,
    "gammainc": lambda a, x: mp.gammainc(a, 0, x, regularized=True),
    "gammaincc": lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True),
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log1p(y),
    "polygamma": lambda x, n: mp.polygamma(n, x),
}

# Runs in either framework: arguments from one file, values to another.
_CALLS = """
import sys, numpy as np
torch = __import__(sys.argv[1])
given, out = np.load(sys.argv[2]), {}
for key in {k.rsplit("|", 1)[0] for k in given}:
    name, dtype = key.split("|")
    base, *order = name.split(" ")
    args = [torch.from_numpy(given[f"{key}|{i}"]) for i in range(2) if f"{key}|{i}" in given]
    function = getattr(torch.special, base, None) or getattr(torch, base)
    out[key] = (torch.polygamma(int(order[0]), *args) if base == "polygamma" else function(*args)).numpy()
np.savez(sys.argv[3], **out)
"""


def values(python: str, framework: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a framework computes, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "values.npz"
        np.savez(source, **given)
        subprocess.run([python, "-c", _CALLS, framework, str(source), str(target)], check=True)
        return dict(np.load(target))


def errors(name: str, args: list[np.ndarray], results: list[np.ndarray]) -> list[float]:
    """The largest error of each framework's results, in ulp."""
    kind = np.finfo(results[0].dtype)
    base, *order = name.split(" ")
    order = [int(order[0])] if base == "polygamma" else []
    worst = [0.0] * len(results)
    for k in range(len(args[0])):
        exact = mp.re(EXACT[base](*(mp.mpf(float(a[k])) for a in args), *order))
        if not mp.isfinite(exact) or not float(kind.tiny) <= abs(exact) <= float(kind.max):
            continue
        unit = mp.mpf(2) ** (mp.floor(mp.log(abs(exact), 2)) - kind.nmant)
        for i, r in enumerate(results):
            got = float(r[k])
            worst[i] = max(worst[i], float(abs(mp.mpf(got) - exact) / unit) if np.isfinite(got) else np.inf)
    return worst


def main() -> None:
    mp.mp.prec = 200
    domains = {n: a for n, a in _domains().items() if not sys.argv[1:] or n.split(" ")[0] in sys.argv[1:]}
    given = {
        f"{name}|{dtype}|{i}": a.astype(dtype)
        for name, args in domains.items()
        for dtype in ("float64", "float32")
        for i, a in enumerate(args)
    }
    found = [values(sys.executable, "flambeau", given)]
    if python := os.environ.get("TORCH_PYTHON"):
        found.append(values(python, "torch", given))
    heads = ["float64"] + ["PyTorch"] * (len(found) - 1) + ["float32"] + ["PyTorch"] * (len(found) - 1)
    lines = [f"| Function | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in domains:
        row = []
        for dtype in ("float64", "float32"):
            key = f"{name}|{dtype}"
            args = [given[f"{key}|{i}"] for i in range(2) if f"{key}|{i}" in given]
            row += [f"{e:.3g}" for e in errors(name, args, [f[key] for f in found])]
        lines.append(f"| {name} | {' | '.join(row)} |")
        print(lines[-1], flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(HEAD + "\n".join(lines) + "\n")


HEAD = """# Special functions

The largest errors over samples of the domain, in units in the last place (ulp) of the true value, against mpmath at 200
bits; PyTorch 2.13's errors on the same arguments beside them. `tests/special_errors.py` measures them and writes this
page; the bounds that tests hold stand in `tests/test_ir_special.py`, and each function's documentation states its own.
float32 is computed in float64 and rounded once (erf and erfinv in float32). Errors of hundreds of ulp and more belong to
zeros of the function, where the absolute error stays that of the neighbourhood.

"""

if __name__ == "__main__":
    main()
