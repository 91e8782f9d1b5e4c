"""Anomaly detection: which forward call made the node whose gradient failed or is nan."""

import traceback
import warnings

from flambeau import _core

__all__ = ["detect_anomaly", "set_detect_anomaly"]


def forward_trace() -> list[str]:
    """The Python stack of a forward call, kept with its node."""
    return traceback.format_stack()[:-1]


def report(name: str, trace: list[str] | None) -> None:
    """Warns with the stack of the forward call of a node whose gradient went wrong."""
    if trace is None:
        text = (
            f"Error detected in {name}. No forward pass information available. Enable detect anomaly during forward "
            "pass for more information."
        )
    else:
        text = f"Error detected in {name}. Traceback of forward call that caused the error:\n{''.join(trace)}"
    warnings.warn(text, stacklevel=2)


class set_detect_anomaly:
    """Switches anomaly detection on or off: at once when called, and until the end of the block in a `with` statement.

    Args:
        mode: True to switch it on.
        check_nan: whether a nan in a gradient is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev, self.prev_check_nan = _core.anomaly_mode()
        _core.set_anomaly_mode(mode, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _core.set_anomaly_mode(self.prev, self.prev_check_nan)


class detect_anomaly:
    """Inside, nodes remember where they were made, and a backward that fails or gives nan says where that was.

    Slow; for debugging only.

    Args:
        check_nan: whether a nan in a gradient is an error.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.prev, self.prev_check_nan = _core.anomaly_mode()
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.prev, self.prev_check_nan = _core.anomaly_mode()
        _core.set_anomaly_mode(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        _core.set_anomaly_mode(self.prev, self.prev_check_nan)
