"""Which devices there are, and choosing one."""

from types import TracebackType
from typing import Any, NoReturn

from flambeau import _core

Device = _core.device | int | str | None


class OutOfMemoryError(RuntimeError):
    """There is not enough memory on a GPU."""


def unavailable_reason() -> str:
    """Why no tensor can live on a GPU; empty where one can.

    NVIDIA's driver is opened when this is first asked for, never at import.
    """
    return _core.cuda_driver()["problem"]


def is_available() -> bool:
    """Whether tensors can live on an NVIDIA GPU and operators run there.

    Returns:
        False where there is no driver or no GPU; `unavailable_reason()` and `flambeau doctor` say what is missing.

    Example:
        >>> torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device(type='cpu')
    """
    return not unavailable_reason()


def device_count() -> int:
    """How many GPUs can be used."""
    return len(_core.cuda_driver()["devices"]) if is_available() else 0


def init() -> NoReturn:
    """Starts CUDA.

    Raises:
        RuntimeError: there is no driver or no GPU.
    """
    _core.fail_without_cuda()


def is_initialized() -> bool:
    """Whether CUDA was started."""
    return False


def index_of(where: Any, optional: bool = False) -> int:
    """The number of a device that is given as a number, a name or a `torch.device`; -1: the current one."""
    if where is None and optional:
        return -1
    if isinstance(where, str):
        where = _core.device(where)
    if isinstance(where, _core.device):
        if where.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {where}")
        where = where.index
        if where is None and not optional:
            raise ValueError("Expected a torch.device with a specified index or an integer, but got: cuda")
        return -1 if where is None else where
    if not isinstance(where, int):
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got: {where}")
    return where


class device:
    """`with torch.cuda.device(0):` makes a GPU the current one.

    Args:
        device: its number, name or `torch.device`. A negative number leaves everything as it is.

    Raises:
        RuntimeError: there is no such GPU.
    """

    def __init__(self, device: Any) -> None:
        self.idx = index_of(device, optional=True)
        self.prev_idx = -1
        if device is not None and self.idx >= 0:
            init()

    def __enter__(self) -> None:
        """Nothing changes: only negative numbers come here."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to change back."""


class device_of(device):
    """`with torch.cuda.device_of(x):` makes the GPU of x the current one; tensors elsewhere change nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if getattr(obj, "is_cuda", False) else -1)


def set_device(device: Device) -> None:
    """Makes a GPU the current one; negative numbers change nothing.

    Raises:
        RuntimeError: there is no such GPU.
    """
    if index_of(device) >= 0:
        init()


def current_device() -> int:
    """The number of the current GPU."""
    init()


def synchronize(device: Device = None) -> None:
    """Waits for all work on a GPU."""
    init()


def ipc_collect() -> None:
    """Frees memory of GPUs that other processes no longer use."""
    init()


def get_device_name(device: Device = None) -> str:
    """The name of a GPU."""
    init()


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """The compute capability of a GPU, major and minor."""
    init()


def get_device_properties(device: Device = None) -> Any:
    """Name, memory, multiprocessors of a GPU."""
    init()


def utilization(device: Device = None) -> int:
    """How busy a GPU was lately, in percent."""
    init()


def can_device_access_peer(device: Device, peer_device: Device) -> bool:
    """Whether a GPU can read the memory of another."""
    init()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes in bfloat16."""
    return False


def is_tf32_supported() -> bool:
    """Whether the current GPU multiplies in TF32."""
    return False


def get_arch_list() -> list[str]:
    """The architectures that there are kernels for."""
    return []


def get_gencode_flags() -> str:
    """Flags of nvcc; there are none, kernels are generated at run time."""
    return ""
