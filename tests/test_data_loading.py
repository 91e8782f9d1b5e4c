"""Datasets, samplers and the loader."""

from collections import namedtuple

import numpy as np
import pytest

import flambeau as torch
from flambeau.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> dict:
        return {"x": torch.tensor([i, i * i]), "half": i / 2, "name": str(i)}


class Stream(IterableDataset):
    def __init__(self, n: int, length: int | None = None) -> None:
        self.n, self.length = n, length

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("no length")
        return self.length


def pairs(n: int) -> TensorDataset:
    return TensorDataset(torch.arange(n), torch.arange(n) * 10)


def test_batches_in_order():
    loader = DataLoader(pairs(7), batch_size=3)
    assert [[t.tolist() for t in batch] for batch in loader] == [
        [[0, 1, 2], [0, 10, 20]],
        [[3, 4, 5], [30, 40, 50]],
        [[6], [60]],
    ]
    assert len(loader) == 3 and len(DataLoader(pairs(7), batch_size=3, drop_last=True)) == 2


def test_cut_out_batches_are_what_collating_gives():
    """Batches of tensors are read at once; the same samples one by one give the same."""
    data = Subset(TensorDataset(torch.rand(9, 2), torch.arange(9)), [5, 2, 2, 8, 0])

    class OneByOne(Dataset):
        def __len__(self):
            return len(data)

        def __getitem__(self, i):
            return data[i]

    quick, slow = DataLoader(data, batch_size=2), DataLoader(OneByOne(), batch_size=2)
    for a, b in zip(quick, slow, strict=True):
        assert type(a) is type(b) and [t.tolist() for t in a] == [t.tolist() for t in b]


def test_samples_that_are_dictionaries():
    batch = next(iter(DataLoader(Squares(5), batch_size=2)))
    assert batch["x"].tolist() == [[0, 0], [1, 1]]
    assert batch["half"].dtype == torch.float64 and batch["half"].tolist() == [0.0, 0.5]
    assert batch["name"] == ["0", "1"]


def test_streams():
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    loader = DataLoader(Stream(3, length=2), batch_size=None)
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2"):
        list(loader)
    with pytest.raises(ValueError, match="expected unspecified shuffle option, but got shuffle=True"):
        DataLoader(Stream(3), shuffle=True)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "could only be specified in multiprocessing"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"shuffle": True, "sampler": [1]}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 3}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(ValueError, match=text):
        DataLoader([1, 2, 3], **options)


def test_options_stay():
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        DataLoader([1]).batch_size = 2


def test_workers_are_announced_and_replaced():
    with pytest.warns(UserWarning, match="fetches samples in the main process"):
        loader = DataLoader(pairs(4), batch_size=2, num_workers=2)
    assert len(list(loader)) == 2


def test_shuffling_follows_the_seed():
    def order(seed):
        torch.manual_seed(seed)
        return [x.item() for x, _ in DataLoader(pairs(20), shuffle=True)]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(20))


def test_samplers():
    assert list(BatchSampler(SequentialSampler(range(7)), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert len(list(RandomSampler(range(5), num_samples=12))) == 12
    drawn = list(WeightedRandomSampler([0.0, 1.0, 1.0], 50))
    assert set(drawn) == {1, 2}
    shares = [list(DistributedSampler(range(10), 3, rank, shuffle=False)) for rank in range(3)]
    assert shares == [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
    with pytest.raises(ValueError, match="num_samples should be a positive integer value"):
        RandomSampler([])
    with pytest.raises(ValueError, match=r"rank should be in the interval \[0, 2\]"):
        DistributedSampler(range(10), 3, 5)


def test_splits():
    parts = random_split(range(10), [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [5, 3, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset!"):
        random_split(range(5), [2, 2])


def test_composed_datasets():
    both = ConcatDataset([[1, 2], [3]])
    assert len(both) == 3 and both[-1] == 3
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
        both[-4]
    stacked = StackDataset(a=[1, 2], b=["x", "y"])
    assert stacked[1] == {"a": 2, "b": "y"}
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(torch.zeros(2), torch.zeros(3))


def test_collate():
    point = namedtuple("point", "x y")
    batch = default_collate([point(1, torch.zeros(2)), point(2, torch.ones(2))])
    assert isinstance(batch, point) and batch.x.tolist() == [1, 2] and batch.y.shape == (2, 2)
    assert default_collate([np.float32(1), np.float32(2)]).dtype == torch.float32
    assert default_collate([np.zeros(2), np.ones(2)]).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert default_collate([True, False]).dtype == torch.bool
    assert default_convert({"a": np.zeros(2), "b": "text"})["a"].shape == (2,)
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([(1, 2), (3,)])
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays, numbers, dicts or lists"):
        default_collate([object()])
