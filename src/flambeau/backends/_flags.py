"""Settings that hold inside a `with` block."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(settings: dict[str, Any], **values: Any) -> Iterator[None]:
    """Other values of a module's settings."""
    before = {name: settings[name] for name in values}
    settings.update(values)
    try:
        yield
    finally:
        settings.update(before)
