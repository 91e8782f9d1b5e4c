"""Checkpointing: what backward needs is computed again instead of being kept."""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flambeau import _core, cuda
from flambeau._core import Tensor
from flambeau.autograd.differentiate import backward
from flambeau.autograd.function import Function
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.utils._pytree import tree_leaves

__all__ = [
    "CheckpointError", "check_backward_validity", "checkpoint", "checkpoint_sequential", "detach_variable",
    "get_device_states", "noop_context_fn", "set_device_states",
]  # fmt: skip


class CheckpointError(RuntimeError):
    """Computing again gave something else than the first time."""


def noop_context_fn() -> tuple[Any, Any]:
    """Context managers that do nothing, for the first and the second computation."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The GPUs that tensors among the arguments lie on, and the states of their generators.

    Args:
        args: tensors, and trees of them.

    Example:
        >>> import torch
        >>> torch.utils.checkpoint.get_device_states(torch.ones(2))
        ([], [])
    """
    found = {t.get_device() for t in tree_leaves(args) if isinstance(t, Tensor) and t.device.type == "cuda"}
    devices = sorted(found)
    return devices, [cuda.get_rng_state(device) for device in devices]


def set_device_states(devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None) -> None:
    """Gives generators of GPUs the states that `get_device_states` gave."""
    for device, state in zip(devices, states, strict=True):
        cuda.set_rng_state(state, device)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs without their history: tensors that need a gradient if they did."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns where no input needs a gradient: reentrant checkpoints have none then."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


class _RandomState:
    """The state of the default generator, if it is to be preserved."""

    def __init__(self, preserve: bool) -> None:
        self.state = _core.default_generator.get_state() if preserve else None

    @contextlib.contextmanager
    def restored(self) -> Any:
        if self.state is None:
            yield
            return
        now = _core.default_generator.get_state()
        _core.default_generator.set_state(self.state)
        try:
            yield
        finally:
            _core.default_generator.set_state(now)


class _Reentrant(Function):
    """Runs the function again inside backward, with a graph, and backward through that."""

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        ctx.run, ctx.random = run, _RandomState(preserve)
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with _core.no_grad():
            return run(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        args = list(ctx.others)
        for i, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = saved.detach().requires_grad_(saved.requires_grad)
        with ctx.random.restored(), _core.enable_grad():
            outputs = ctx.run(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        live = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not live:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([o for o, _ in live], [g for _, g in live])
        return (None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


class _Recomputed:
    """What one checkpointed call saved: places in the order of saving, filled when backward first asks for one."""

    def __init__(self, run: Callable[[], Any], random: _RandomState) -> None:
        self.run, self.random = run, random
        self.places: list[_Place] = []
        self.tensors: list[Tensor] | None = None

    def pack(self, tensor: Tensor) -> "_Place":
        place = _Place(self, len(self.places), tuple(tensor.shape), tensor.dtype)
        self.places.append(place)
        return place

    def compute(self) -> None:
        tensors: list[Tensor] = []

        def keep(t: Tensor) -> Tensor:
            tensors.append(t.detach())
            return t

        with self.random.restored(), _core.enable_grad(), saved_tensors_hooks(keep, lambda t: t):
            self.run()
        if len(tensors) != len(self.places):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.places)}\nNumber of tensors saved "
                f"during "
                f"recomputation: {len(tensors)}."
            )
        self.tensors = tensors


class _Place:
    def __init__(self, owner: _Recomputed, index: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.owner, self.index, self.shape, self.dtype = owner, index, shape, dtype

    def unpack(self) -> Tensor:
        if self.owner.tensors is None:
            self.owner.compute()
        tensor = self.owner.tensors[self.index]
        if tuple(tensor.shape) != self.shape or tensor.dtype != self.dtype:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                "during the "
                f"forward pass.\ntensor at position {self.index}:\nsaved metadata: {self.shape}, "
                f"{self.dtype}\nrecomputed "
                f"metadata: {tuple(tensor.shape)}, {tensor.dtype}"
            )
        return tensor


def _not_reentrant(function: Callable[..., Any], preserve: bool, context_fn: Callable, args: Any, kwargs: Any) -> Any:
    first, second = context_fn()

    def again() -> None:
        with second:
            function(*args, **kwargs)

    call = _Recomputed(again, _RandomState(preserve))
    with saved_tensors_hooks(call.pack, _Place.unpack), first:
        return function(*args, **kwargs)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Runs `function` without keeping what its gradient needs; backward runs it again to have that.

    Args:
        function: what is run.
        args: its arguments.
        use_reentrant: True runs a whole backward inside backward (needs an input that requires a gradient); False, the
            better way, computes saved values again when they are asked for.
        context_fn: gives two context managers, for the first and the second run.
        determinism_check: "default" compares sizes and dtypes of what is computed again; "none" is accepted.
        debug: accepted.
        preserve_rng_state: the second run sees the same random numbers.
        kwargs: keyword arguments of `function`.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch "
            "2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, "
            "but if "
            "you need to preserve the current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    if not use_reentrant:
        return _not_reentrant(function, preserve_rng_state, context_fn, args, kwargs)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if _core.is_grad_enabled() and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
    return _Reentrant.apply(function, preserve_rng_state, *args)


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Runs functions one after the other, checkpointing all segments but the last.

    Args:
        functions: a Sequential, or a list of modules or functions.
        segments: into how many they are divided.
        input: of the first.
        use_reentrant: as in `checkpoint`.
    """
    children: Sequence[Callable[..., Any]] = list(functions.children() if hasattr(functions, "children") else functions)
    if not 1 <= segments <= len(children):
        raise ValueError(f"segments must lie between 1 and the number of functions ({len(children)}), not {segments}")
    preserve = kwargs.pop("preserve", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))

    def segment(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for f in children[start:end]:
                x = f(x)
            return x

        return run

    size = len(children) // segments
    for k in range(segments - 1):
        run = segment(k * size, (k + 1) * size)
        input = checkpoint(run, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return segment((segments - 1) * size, len(children))(input)
