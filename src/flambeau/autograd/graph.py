"""The graph of gradients: nodes, hooks on them, and hooks on what they save."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flambeau import _core
from flambeau._core import Node, Tensor
from flambeau.autograd.handles import RemovableHandle

__all__ = [
    "GradientEdge",
    "Node",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """Where a gradient flows to: a node and the number of its input."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge into which the gradient of a tensor flows."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*_core.gradient_edge(tensor))


def add_hook(hooks: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    """Puts a hook into a dict; the handle takes it out again."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def _register_hook(self: Node, fn: Callable[..., Any]) -> RemovableHandle:
    """Calls `fn(grad_inputs, grad_outputs)` after the node ran; what it returns replaces `grad_inputs`."""
    return add_hook(self._post_hooks, fn)


def _register_prehook(self: Node, fn: Callable[..., Any]) -> RemovableHandle:
    """Calls `fn(grad_outputs)` before the node runs; what it returns replaces `grad_outputs`."""
    return add_hook(self._pre_hooks, fn)


Node.register_hook = _register_hook
Node.register_prehook = _register_prehook


class saved_tensors_hooks:
    """Inside, `pack_hook(tensor)` decides what is kept for backward, and `unpack_hook(kept)` gives the tensor back.

    Args:
        pack_hook: called when an operation saves a tensor.
        unpack_hook: called with its result when backward needs the tensor.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        _core.push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc: object) -> None:
        _core.pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps what backward needs in the memory of the host."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Tensor) -> tuple[Any, Tensor]:
            return tensor.device, tensor if tensor.device.type == "cpu" else tensor.cpu()

        def unpack(kept: tuple[Any, Tensor]) -> Tensor:
            device, tensor = kept
            return tensor if tensor.device == device else tensor.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Says that elements were changed behind the library's back, so that stale saved values are noticed."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        _core.increment_version(t)


class _MultiHandle(RemovableHandle):
    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __getstate__(self) -> Any:
        return self.handles

    def __setstate__(self, state: Any) -> None:
        self.handles = state


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all"
) -> RemovableHandle:
    """Calls `fn` with the gradients of several tensors: once all are there ("all"), or with the first ("any").

    Args:
        tensors: what is watched.
        fn: gets a sequence of gradients for "all" (None for tensors that have none), one gradient for "any".
        mode: "all" or "any".
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    got: dict[int, Tensor | None] = {}
    called = [False]

    def make(i: int) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            if mode == "any":
                if not called[0]:
                    called[0] = True
                    fn(grad)
                return
            got[i] = grad
            if len(got) == len(tensors):
                grads = [got[k] for k in range(len(tensors))]
                got.clear()
                fn(grads)

        return hook

    return _MultiHandle([t.register_hook(make(i)) for i, t in enumerate(tensors)])
