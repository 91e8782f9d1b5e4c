"""Memory shared with NumPy, the buffer protocol and DLPack; tensors from Python data."""

import gc
import mmap
import warnings
import weakref

import numpy as np
import pytest

import flambeau as torch

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
]  # fmt: skip


@pytest.mark.parametrize("name", DTYPES)
def test_both_ways_share_memory(name):
    a = np.array([[1, 0, 1], [0, 1, 1]], dtype=name)
    t = torch.from_numpy(a)
    assert t.dtype is getattr(torch, name)
    assert t.tolist() == a.tolist()
    a[0, 1] = 1
    assert t[0, 1].item() == 1
    b = t.T.numpy()
    assert b.dtype == a.dtype
    assert np.shares_memory(a, b)
    assert b.strides == a.T.strides
    assert np.array_equal(np.asarray(t), a)
    d = np.from_dlpack(t)
    assert np.shares_memory(d, a)
    e = torch.from_dlpack(a)
    assert e.dtype is t.dtype
    assert e.data_ptr() == t.data_ptr()


def test_lifetimes():
    a = np.ones(3, np.float32)
    seen = weakref.ref(a)
    t = torch.from_numpy(a)
    del a
    gc.collect()
    assert seen() is not None
    b = t[1:].numpy()
    del t
    gc.collect()
    assert b.tolist() == [1, 1]
    del b
    gc.collect()
    assert seen() is None


def test_shapes_without_elements_or_dimensions():
    assert torch.from_numpy(np.ones((2, 0, 3))).shape == (2, 0, 3)
    assert torch.from_numpy(np.array(3.0)).shape == ()
    assert torch.zeros(2, 0).numpy().shape == (2, 0)
    assert torch.tensor(3.0).numpy().shape == ()
    assert torch.from_numpy(np.ones((4, 4))[::2, 1:]).stride() == (8, 1)


def test_steps_that_nobody_takes_may_be_of_any_size():
    x = torch.arange(4.0, dtype=torch.float64).unfold(0, 2, 2**63 - 1)
    assert x.stride() == (2**63 - 1, 1)
    assert x.numpy().tolist() == memoryview(x).tolist() == x.tolist() == [[0.0, 1.0]]
    assert x[:, :0].numpy().shape == (1, 0)


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        ([1], TypeError, r"expected np.ndarray \(got list\)"),
        (np.array(["a"]), TypeError, "can't convert np.ndarray of type numpy.str_"),
        (np.array([None]), TypeError, "can't convert np.ndarray of type numpy.object_"),
        (np.array([1], "datetime64[s]"), TypeError, "can't convert np.ndarray of type numpy.datetime64"),
        (np.ones(3)[::-1], ValueError, "At least one stride in the given numpy array is negative"),
        (np.ones(3, ">f4"), ValueError, "byte order different from the native byte order"),
        (np.ones(4, [("a", "u1"), ("b", "f4")])["b"], ValueError, "strides not a multiple of the element byte size"),
    ],
)
def test_arrays_that_cannot_be_shared(array, kind, message):
    with pytest.raises(kind, match=message):
        torch.from_numpy(array)


def test_tensors_that_cannot_be_shared():
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        torch.ones(1, requires_grad=True).numpy()
    assert torch.ones(1, requires_grad=True).numpy(force=True).tolist() == [1]
    with pytest.raises(TypeError, match="Got unsupported ScalarType BFloat16"):
        torch.ones(1, dtype=torch.bfloat16).numpy()
    with pytest.raises(BufferError, match="require gradient"):
        np.from_dlpack(torch.ones(1, requires_grad=True))
    with pytest.raises(TypeError, match="meta"):
        torch.empty(1, device="meta").numpy()


def test_numpy_functions_and_operators_take_tensors():
    x = torch.ones(2)
    assert isinstance(np.sin(x), torch.Tensor)
    for value in (x + np.ones(2), np.ones(2) + x):
        assert isinstance(value, torch.Tensor)
        assert value.dtype is torch.float64
    assert (x == np.ones(2)).tolist() == [True, True]
    assert np.array(x, dtype=np.int32).dtype == np.int32


def test_buffers():
    x = torch.arange(6, dtype=torch.int32).reshape(2, 3)
    view = memoryview(x)
    assert (view.format, view.shape, view.strides) == ("i", (2, 3), (12, 4))
    assert view.tolist() == x.tolist()
    data = bytearray(b"\1\0\0\0\2\0\0\0")
    t = torch.frombuffer(data, dtype=torch.int32)
    t[0] = 7
    assert data[0] == 7
    with pytest.raises(ValueError, match="must be a multiple of element size"):
        torch.frombuffer(bytearray(5), dtype=torch.int32)
    with pytest.raises(ValueError, match="must not be 0"):
        torch.frombuffer(b"", dtype=torch.int32)
    with pytest.raises(BufferError):
        memoryview(torch.ones(1, dtype=torch.bfloat16))
    storage = x.untyped_storage()
    assert storage is x[1].untyped_storage()
    assert bytes(storage[:4]) == b"\0\0\0\0"
    assert storage.nbytes() == 24


def test_a_capsule_is_used_once():
    capsule = torch.ones(2).__dlpack__()
    assert torch.from_dlpack(capsule).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="can be consumed only once"):
        torch.from_dlpack(capsule)
    del capsule
    torch.ones(2).__dlpack__(max_version=(1, 0))
    with pytest.raises(TypeError, match="__dlpack__"):
        torch.from_dlpack(3)


@pytest.mark.parametrize(
    ("data", "dtype", "values"),
    [
        ([[1, 2], [3, 4]], "int64", [[1, 2], [3, 4]]), ([1, 2.5], "float32", [1, 2.5]),
        ([True, False], "bool", [True, False]), ([True, 2], "int64", [1, 2]), ([1, 2j], "complex64", [1, 2j]),
        ([], "float32", []), ([[], []], "float32", [[], []]),
        (range(3), "int64", [0, 1, 2]), (np.float64(2), "float64", 2.0), ([np.float32(1), 2], "float32", [1, 2]),
        ([np.ones(2), np.zeros(2)], "float64", [[1, 1], [0, 0]]), (((1, (2)), (3, 4)), "int64", [[1, 2], [3, 4]]),
        (2**63 - 1, "int64", 2**63 - 1), (1e400, "float32", float("inf")), (np.int8([1]), "int8", [1]),
    ],
)  # fmt: skip
def test_construction(data, dtype, values):
    t = torch.tensor(data)
    assert t.dtype is getattr(torch, dtype)
    assert t.tolist() == values


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ([[1, 2], [3]], ValueError, r"expected sequence of length 2 at dim 1 \(got 1\)"),
        ([[1], 2], TypeError, "not a sequence"),
        ([1, [2]], TypeError, "'list' object cannot be interpreted as an integer"),
        (None, RuntimeError, "Could not infer dtype of NoneType"),
        ({1}, RuntimeError, "Could not infer dtype of set"),
        ("a", TypeError, r"new\(\): invalid data type 'str'"),
        ([1, b"a"], TypeError, r"new\(\): invalid data type 'bytes'"),
        (2**63, ValueError, "Overflow when unpacking long long"),
        ([2**64], ValueError, "Overflow when unpacking long long"),
    ],
)
def test_construction_errors(data, kind, message):
    with pytest.raises(kind, match=message):
        torch.tensor(data)


def test_construction_with_a_dtype():
    assert torch.tensor(-1, dtype=torch.uint8).item() == 255
    assert torch.tensor(1.5, dtype=torch.int32).item() == 1
    assert torch.tensor([2**64 - 1], dtype=torch.uint64).tolist() == [2**64 - 1]
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.tensor(300, dtype=torch.uint8)
    with pytest.raises(TypeError, match="must be real number, not complex"):
        torch.tensor(1j, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype can require gradients"):
        torch.tensor([1], requires_grad=True)
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        torch.tensor(torch.ones(1))
    a = np.ones(2, np.float32)
    assert torch.as_tensor(a).data_ptr() == torch.from_numpy(a).data_ptr()
    assert torch.as_tensor(a, dtype=torch.float64).dtype is torch.float64


ONES, FIRST = torch.ones(4, 4), torch.zeros(4, 4, dtype=torch.int64)
WRITES = {
    "add_": lambda x: x.add_(1), "copy_": lambda x: x.copy_(ONES), "fill_": lambda x: x.fill_(1), "zero_": lambda x: x.zero_(),
    "view": lambda x: x.__setitem__(0, 1.0), "index": lambda x: x.__setitem__((slice(None), FIRST[0]), 1.0),
    "mask": lambda x: x.__setitem__(ONES > 0, 1.0), "scatter_": lambda x: x.scatter_(0, FIRST, 1.0),
    "scatter_add_": lambda x: x.scatter_add_(0, FIRST, ONES), "index_add_": lambda x: x.index_add_(0, FIRST[0], ONES),
    "index_copy_": lambda x: x.index_copy_(0, FIRST[0], ONES), "index_put_": lambda x: x.index_put_((FIRST[0],), ONES),
    "masked_scatter_": lambda x: x.masked_scatter_(ONES > 0, ONES), "normal_": lambda x: x.normal_(), "cumsum_": lambda x: x.cumsum_(0),
    "addmm_": lambda x: x.addmm_(ONES, ONES), "out": lambda x: torch.add(ONES, ONES, out=x), "out of cat": lambda x: torch.cat([ONES[:2], ONES[:2]], out=x),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_read_only_memory_is_not_written(write, tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(np.arange(16, dtype=np.float32).tobytes())
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not writable is said once
        x = torch.from_numpy(np.frombuffer(mapping, dtype=np.float32).reshape(4, 4))
    with pytest.raises(RuntimeError, match="the memory to be written is read-only"):
        write(x)
    assert (x.t_().numpy() == np.arange(16).reshape(4, 4).T).all()
