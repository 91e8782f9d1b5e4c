"""Old names of tensors on a GPU."""

from flambeau._tensor_types import SHORT_NAMES, make_types

globals().update(make_types(cuda=True))
__all__ = [f"{short}Tensor" for short in SHORT_NAMES.values()]
