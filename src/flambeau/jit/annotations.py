"""The types of annotations, which PyTorch hands on from `typing`."""

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: UP035  the names that programs import

__all__ = ["Any", "Dict", "List", "Optional", "Tuple", "Union"]
