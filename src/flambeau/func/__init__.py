"""Functions of functions: derivatives (`grad`, `vjp`, `jvp`, `jacrev`, `jacfwd`, `hessian`) and batching (`vmap`)."""

from flambeau.func.modules import functional_call, functionalize, stack_module_state
from flambeau.func.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from flambeau.func.vmap import vmap

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
