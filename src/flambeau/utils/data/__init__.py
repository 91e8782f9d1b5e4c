"""Datasets, samplers and the loader that makes batches."""

from flambeau import _suggest
from flambeau.utils.data._utils.collate import default_collate, default_convert
from flambeau.utils.data.dataloader import DataLoader, get_worker_info
from flambeau.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from flambeau.utils.data.distributed import DistributedSampler
from flambeau.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__getattr__ = _suggest.suggesting(__name__)
