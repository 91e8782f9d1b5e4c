"""A model on several GPUs of one process; without any it runs where it is."""

from flambeau.nn.parallel.data_parallel import DataParallel, data_parallel
from flambeau.nn.parallel.scatter_gather import gather, parallel_apply, replicate, scatter

__all__ = ["DataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter"]
