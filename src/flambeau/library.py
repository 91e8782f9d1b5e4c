"""`library`: functions of your own as operators, with a name, a gradient, and code by kind of device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau import _suggest, ops
from flambeau import functional_ns as _o
from flambeau.autograd import Function
from flambeau.utils import _pytree

__all__ = ["CustomOpDef", "custom_op", "register_autograd", "register_fake", "register_kernel"]

Tensor = _o.Tensor
_made: dict[str, CustomOpDef] = {}


class _Namespace:
    """Operators by name: `torch.ops.mylib`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'")


class CustomOpDef:
    """An operator that `custom_op` made. Calls run the function without recording what it does inside.

    Attributes:
        default: the operator itself, its only overload.
    """

    def __init__(self, name: str, fn: Callable[..., Any], device_types: Any) -> None:
        self._namespace, _, self._name = name.partition("::")
        self._qualname = name
        self._signature = _checked_signature(fn)
        self._kernels: dict[str | None, Callable[..., Any]] = {}
        self._backward: Callable[..., Any] | None = None
        self._setup_context: Callable[..., Any] | None = None
        self._fake: Callable[..., Any] | None = None
        self.__name__, self.__doc__ = fn.__name__, fn.__doc__
        self.register_kernel(device_types, fn)

    @property
    def default(self) -> CustomOpDef:
        return self

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def register_kernel(self, device_types: Any, fn: Callable[..., Any] | None = None) -> Any:
        """Sets what runs where the tensors are; used as a decorator without `fn`.

        Args:
            device_types: "cpu", "cuda", a sequence of them, or None for all.
            fn: takes and returns what the operator does.
        """
        if fn is None:
            return lambda fn: self.register_kernel(device_types, fn)
        for device in [device_types] if device_types is None or isinstance(device_types, str) else device_types:
            self._kernels[device] = fn
        return fn

    def register_fake(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Sets what makes results without elements, for tensors on the device `meta`."""
        self._fake = fn
        return fn

    def register_autograd(
        self, backward: Callable[..., Any], *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """Sets the gradient.

        Args:
            backward: called with what `setup_context` filled and the gradients of the results; gives one for each
                argument, None for what has none.
            setup_context: called as `setup_context(ctx, inputs, output)` after the operator ran.
        """
        self._backward, self._setup_context = backward, setup_context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        leaves, spec = _pytree.tree_flatten((bound.args, bound.kwargs))
        if _o.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in leaves):
            return _Recorded.apply(self, spec, *leaves)
        return self._run(leaves, spec)

    def _run(self, leaves: Sequence[Any], spec: Any) -> Any:
        args, kwargs = _pytree.tree_unflatten(leaves, spec)
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        result = self._kernel_for(tensors)(*args, **kwargs)
        given = {t.untyped_storage().data_ptr() for t in tensors} - {0}
        for r in _pytree.tree_leaves(result):
            if isinstance(r, Tensor) and r.untyped_storage().data_ptr() in given:
                raise RuntimeError(
                    f"{self._name} (with implementation in {inspect.getmodule(self._kernels.get(None))}): The output "
                    "of this custom operator (1) must not also be an input to this custom operator and (2) may not "
                    "alias any inputs to this custom operator or other returns. The most common way to trigger this "
                    "error is if we have y = custom_op(x) and y and x are the same Tensor. Please instead return a "
                    "clone of the offending output tensor(s) (e.g. return x.clone()) or refactor the custom operator "
                    "to not return y."
                )
        return result

    def _kernel_for(self, tensors: Iterable[Any]) -> Callable[..., Any]:
        device = next((t.device.type for t in tensors), "cpu")
        kernel = self._fake if device == "meta" else None
        kernel = kernel or self._kernels.get(device) or self._kernels.get(None)
        if kernel is None:
            raise NotImplementedError(
                f"Could not run '{self._qualname}' with arguments from the '{device.upper()}' backend. "
                f"[register_kernel({device!r}) gives it one; it has code for {', '.join(map(str, self._kernels))}]"
            )
        return kernel


class _Recorded(Function):
    """A call whose gradient is asked for. Arguments are flattened, so that tensors in lists have gradients as well."""

    @staticmethod
    def forward(ctx: Any, op: CustomOpDef, spec: Any, *leaves: Any) -> Any:
        result = op._run(leaves, spec)
        ctx.op, ctx.spec = op, spec
        if op._setup_context is not None:
            args, kwargs = _pytree.tree_unflatten(leaves, spec)
            options = {"keyword_only_inputs": kwargs} if kwargs else {}
            op._setup_context(ctx=ctx, inputs=args, output=result, **options)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        op = ctx.op
        if op._backward is None:
            raise RuntimeError(
                f"Trying to backward through {op._namespace}.{op._name}.default but no autograd formula was "
                "registered. Please use register_autograd to add one."
            )
        found = op._backward(ctx, *gradients)
        found = found if isinstance(found, tuple) else (found,)
        places = ctx.spec.children_specs[0].children_specs
        if len(found) != len(places):
            raise RuntimeError(
                f"{op._qualname}: backward gave {len(found)} gradients for {len(places)} arguments [None stands for "
                "an argument without one]"
            )
        flat: list[Any] = [None, None]
        for gradient, place in zip(found, places, strict=True):
            flat += [None] * place.num_leaves if gradient is None else _pytree.tree_leaves(gradient)
        return (*flat, *[None] * ctx.spec.children_specs[1].num_leaves)


def _checked_signature(fn: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(fn)
    for name, parameter in signature.parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            raise ValueError(
                f"infer_schema(func): Parameter {name} must have a type annotation. Got func with signature "
                f"{signature})"
            )
    return signature


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: str | Sequence[str] | None = None,
    schema: str | None = None,
) -> Any:
    """Makes an operator of a function; used as a decorator without `fn`.

    Args:
        name: `namespace::name`; it is reached as `torch.ops.namespace.name` too.
        fn: takes and returns tensors, numbers, strings and lists of them, each parameter annotated. Results must not
            share memory with arguments.
        mutates_args: names of the arguments that it changes in place, which tensors tell by themselves.
        device_types: where it can run; None: everywhere.
        schema: taken so that programs run unchanged; the annotations say the same.

    Returns:
        CustomOpDef.

    Raises:
        ValueError: the name has no namespace, or a parameter has no annotation.

    Example:
        >>> import torch
        >>> @torch.library.custom_op("mylib::scaled", mutates_args=())
        ... def scaled(x: torch.Tensor, by: float) -> torch.Tensor:
        ...     return x * by
        >>> def setup(ctx, inputs, output):
        ...     ctx.by = inputs[1]
        >>> scaled.register_autograd(lambda ctx, g: (g * ctx.by, None), setup_context=setup)
        >>> x = torch.ones(2, requires_grad=True)
        >>> scaled(x, 3.0).sum().backward()
        >>> x.grad
        tensor([3., 3.])
    """
    if fn is None:
        return lambda fn: custom_op(name, fn, mutates_args=mutates_args, device_types=device_types, schema=schema)
    namespace, separator, short = name.partition("::")
    if not (namespace and separator and short):
        raise ValueError(f"Expected name to be of the form 'namespace::name', got {name!r}")
    place = vars(ops).get(namespace)
    if place is None:
        place = _Namespace(namespace)
        setattr(ops, namespace, place)
    elif not isinstance(place, _Namespace):
        raise ValueError(f"the namespace {namespace!r} belongs to Flambeau; choose another one")
    made = CustomOpDef(name, fn, device_types)
    setattr(place, short, made)
    _made[name] = made
    return made


def _found(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in _made:
        raise ValueError(f"there is no operator {op!r} [custom_op makes one]")
    return _made[op]


def register_fake(op: Any, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`CustomOpDef.register_fake` for an operator or its name; used as a decorator without `func`."""
    made = _found(op)
    return made.register_fake if func is None else made.register_fake(func)


def register_autograd(
    op: Any, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None, **options: Any
) -> None:
    """`CustomOpDef.register_autograd` for an operator or its name."""
    _found(op).register_autograd(backward, setup_context=setup_context)


def register_kernel(op: Any, device_types: Any, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`CustomOpDef.register_kernel` for an operator or its name; used as a decorator without `func`."""
    return _found(op).register_kernel(device_types, func)


__getattr__ = _suggest.suggesting(__name__)
