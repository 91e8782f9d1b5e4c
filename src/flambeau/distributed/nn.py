"""Collectives through which gradients flow; they need a group of processes as well."""

from flambeau import _suggest
from flambeau.distributed._group import needs_a_group as _needs_a_group

_NAMES = ("all_gather", "all_reduce", "all_to_all", "all_to_all_single", "broadcast", "gather", "reduce", "scatter")

__all__ = [*_NAMES]

globals().update({_name: _needs_a_group(_name) for _name in _NAMES})

__getattr__ = _suggest.suggesting(__name__)
