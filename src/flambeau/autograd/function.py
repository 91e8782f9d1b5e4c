"""Functions with a gradient of their own, written in Python."""

import functools
from collections.abc import Callable
from typing import Any

from flambeau import _core
from flambeau._core import Node, Tensor
from flambeau.autograd.grad_mode import no_grad

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class FunctionCtx(Node):
    """What `forward` hands to `backward`; also the node of the graph, so it is what `grad_fn` shows."""

    _function: type["Function"]
    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _non_differentiable: tuple[Any, ...] = ()
    _materialize = True
    _is_tensor: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for `backward`, watched for changes in place. Call it at most once."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for forward-mode differentiation."""
        self._saved_for_forward = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept."""
        return _core.function_saved_tensors(self)

    def mark_dirty(self, *args: Tensor) -> None:
        """Says that `forward` changed these inputs in place. They must be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Says that no gradient flows through these outputs."""
        self._non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """False: `backward` gets None, not zeros, for outputs that nobody used."""
        self._materialize = value

    def register_hook(self, hook: Callable[..., Any]) -> Any:
        """Calls `hook(grad_inputs, grad_outputs)` after this node ran."""
        return _core.Node.register_hook(self, hook)

    def _run_backward(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        backward = self._function.backward
        if backward is Function.backward:
            backward = self._function.vjp
            if backward is Function.vjp:
                raise NotImplementedError(
                    "You must implement either the backward or vjp method for your custom autograd.Function to use it "
                    "with backward mode AD."
                )
        got = backward(self, *grads)
        got = got if isinstance(got, tuple) else (got,)
        expected = len(self._is_tensor)
        if len(got) > expected and all(g is None for g in got[expected:]):
            got = got[:expected]
        if len(got) != expected:
            raise RuntimeError(
                f"function {type(self).__name__} returned an incorrect number of gradients (expected {expected}, got "
                f"{len(got)})"
            )
        for i, (g, is_tensor) in enumerate(zip(got, self._is_tensor, strict=True)):
            if g is not None and not is_tensor:
                raise RuntimeError(
                    f"function {type(self).__name__} returned a gradient different from None at position {i + 1}, but "
                    f"the "
                    "corresponding forward input was not a Variable"
                )
        return tuple(g for g, is_tensor in zip(got, self._is_tensor, strict=True) if is_tensor)


BackwardCFunction = FunctionCtx


class _FunctionMeta(type):
    def __init__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> None:
        super().__init__(name, bases, attrs)
        cls._backward_cls = type(f"{name}Backward", (FunctionCtx,), {"_function": cls, "__module__": cls.__module__})


class Function(metaclass=_FunctionMeta):
    """A function with its own gradient: subclasses define static methods `forward` and `backward`.

    Example:
        >>> class Exp(Function):
        ...     @staticmethod
        ...     def forward(ctx, i):
        ...         result = i.exp()
        ...         ctx.save_for_backward(result)
        ...         return result
        ...     @staticmethod
        ...     def backward(ctx, grad_output):
        ...         result, = ctx.saved_tensors
        ...         return grad_output * result
        >>> y = Exp.apply(x)
    """

    _backward_cls: type[FunctionCtx]
    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            f"invoke "
            "them on the class itself. Instantiating an autograd function will raise an error in a future version of "
            "PyTorch."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the result: `forward(ctx, *args)`, or `forward(*args)` together with `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fills the context after `forward(*args)` ran."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Gradients of the inputs, one each (None where there is none), from those of the outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        """Another name for `backward`."""
        raise NotImplementedError("vjp is not implemented.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Tangents of the outputs from those of the inputs."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs the function and records it."""
        ctx = cls._backward_cls()
        ctx._is_tensor = tuple(isinstance(a, Tensor) for a in args)
        tensors = tuple(a for a in args if isinstance(a, Tensor))
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        records = _core.is_grad_enabled() and any(ctx.needs_input_grad)
        if records:
            _core.function_begin(ctx, tensors)
        with no_grad():
            output = cls._run_forward(ctx, args, kwargs)
        if not records:
            return output
        outputs = output if isinstance(output, tuple) else (output,)
        outputs = _core.function_end(
            ctx, outputs, ctx._dirty, ctx._non_differentiable, tensors, ctx._to_save, ctx._materialize
        )
        del ctx._to_save, ctx._dirty, ctx._non_differentiable
        return outputs if isinstance(output, tuple) else outputs[0]

    @classmethod
    def _run_forward(cls, ctx: FunctionCtx, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ctx._to_save = ctx._dirty = ctx._non_differentiable = ()
        if cls.setup_context is Function.setup_context:
            return cls.forward(ctx, *args, **kwargs)
        output = cls.forward(*args, **kwargs)
        cls.setup_context(ctx, args, output)
        return output


class InplaceFunction(Function):
    """A Function whose constructor once took `inplace`; kept for programs that derive from it."""


class _TwiceDifferentiated(Function):
    @staticmethod
    def forward(ctx: Any, *grads: Any) -> Any:
        return tuple(g.detach() if isinstance(g, Tensor) else g for g in grads)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a `backward` that cannot be differentiated itself: doing so raises instead of giving wrong results."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            outputs = fn(ctx, *args)
        if not _core.is_grad_enabled() or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return outputs
        several = isinstance(outputs, tuple)
        outputs = outputs if several else (outputs,)
        marked = [o.detach().requires_grad_() if isinstance(o, Tensor) else None for o in outputs]
        marked = _TwiceDifferentiated.apply(*marked)
        return marked if several else marked[0]

    return wrapper
