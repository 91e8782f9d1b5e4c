"""Errors in PyTorch's words: what the parser of arguments says, checks of operators, empty reductions."""

import pytest

import flambeau as torch

F = torch.ones(2, 3)
V = torch.ones(3)
MASK = V > 0
NN = torch.nn.functional
COMBINATION = r"^{}\(\) received an invalid combination of arguments - got \({}\), but expected one of:\n"


@pytest.mark.parametrize(
    ("call", "name", "got"),
    [
        (lambda: torch.eq(2, F), "eq", "int, Tensor"),
        (lambda: torch.eq(F, F, foo=1), "eq", "Tensor, Tensor, foo=int"),
        (lambda: F.eq("a"), "eq", "str"),
        (lambda: torch.pow("a", F), "pow", "str, Tensor"),
        (lambda: torch.fmod(2, F), "fmod", "int, Tensor"),
        (lambda: torch.clamp_min(2, 3), "clamp_min", "int, int"),
        (lambda: torch.float_power(2, 3), "float_power", "int, int"),
        (lambda: torch.copysign(F, "a"), "copysign", "Tensor, str"),
        (lambda: torch.masked_fill(F, F > 0, "a"), "masked_fill", "Tensor, Tensor, str"),
        (lambda: torch.linspace("a", 2, 3), "linspace", "str, int, int"),
    ],
)
def test_operators_that_take_numbers_or_tensors(call, name: str, got: str) -> None:
    with pytest.raises(TypeError, match=COMBINATION.format(name, got)) as error:
        call()
    assert "Number" in str(error.value) and "Tensor" in str(error.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: torch.add("a", F), r"^add\(\): argument 'input' \(position 1\) must be Tensor, not str$"),
        (lambda: torch.add(F, F, foo=1), r"^add\(\) got an unexpected keyword argument 'foo'"),
        (lambda: torch.add(F, F, alpha="a"), r"^add\(\): argument 'alpha' must be Number, not str$"),
        (lambda: torch.maximum(F, 2), r"^maximum\(\): argument 'other' \(position 2\) must be Tensor, not int$"),
        (lambda: torch.atan2(F, 2), r"^atan2\(\): argument 'other' \(position 2\) must be Tensor, not int$"),
    ],
)
def test_operators_of_one_signature(call, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        call()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: torch.add(F), "add() received an invalid combination of arguments - got (Tensor), but expected (Tensor input, "),
        (lambda: torch.arange("a"), "arange(): argument 'end' (position 1) must be Number, not str"),
        (lambda: torch.randint(2.5, (2,)), "randint(): argument 'high' (position 1) must be int, not float"),
        (lambda: F.median("a"), "median(): argument 'dim' (position 1) must be int, not str"),
        (lambda: torch.median(F, "a"), "median(): argument 'dim' (position 2) must be int, not str"),
        (lambda: torch.where(F > 0, F), "where() received an invalid combination of arguments - got (Tensor, Tensor), but"),
        (lambda: torch.gather(F), 'gather() missing 2 required positional argument: "dim", "index"'),
        (lambda: torch.gather(F, 0), 'gather() missing 1 required positional arguments: "index"'),
        (lambda: F.to(torch.float32, "a"), "to() received an invalid combination of arguments - got (torch.dtype, str), but"),
    ],
)  # fmt: skip
def test_signatures_that_so_many_arguments_may_mean(call, sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value).startswith(sentence)


def test_every_signature_is_listed() -> None:
    with pytest.raises(TypeError) as error:
        torch.remainder(2, 3)
    text = str(error.value)
    for signature in ("(Tensor, Tensor)", "(Number, Tensor)", "(Tensor, Number)"):
        assert f" * {signature}" in text
    with pytest.raises(TypeError) as error:
        torch.ge("a", F)
    assert "(Tensor input, Tensor other" in str(error.value) and "(Tensor input, Number other" in str(error.value)


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min"])
def test_reductions_of_nothing(name: str) -> None:
    f = getattr(torch, name)
    empty = torch.ones(2, 0)
    with pytest.raises(
        RuntimeError, match=rf"{name}\(\): Expected reduction dim to be specified for input.numel\(\) == 0"
    ):
        f(empty)
    with pytest.raises(IndexError, match=rf"{name}\(\): Expected reduction dim 1 to have non-zero size"):
        f(empty, 1)
    with pytest.raises(
        IndexError, match=r"argmax\(\): Expected reduction dim to be specified for input.numel\(\) == 0"
    ):
        torch.argmax(empty)
    assert torch.amax(empty, 0).shape == (0,) and torch.amax(F, dim=None) == torch.amin(F, None) == 1


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: torch.dot(V, V.half()), RuntimeError, "same dtype, but found Float and Half"),
        (lambda: torch.vsplit(V, 2), RuntimeError, "at least 2 dimension, but got a tensor with 1 dimensions!"),
        (lambda: torch.empty_permuted((2,), (0, 1)), RuntimeError, r"len\(size\) = 1 is not equal to len\(physical_layout\) = 2"),
        (lambda: torch.empty_permuted((2, 3), (0, 0)), RuntimeError, "Duplicate dim not allowed"),
        (lambda: torch.empty_permuted((2, 3), (0, 4)), RuntimeError, "expected to be between 0 and 1, but got 4 at index 1"),
        (lambda: torch.linspace(F, 2, 3), RuntimeError, r"0-dimensional start and end tensors, but got start with 2 dim"),
        (lambda: torch.logspace(F, V, 3), RuntimeError, r"but got start with 2 dimension\(s\) and end with 1 dimension"),
        (lambda: torch.narrow(F, 1, V, 1), RuntimeError, "start must be an 0-dim integral Tensor."),
        (lambda: NN.prelu(F.view(1, 6), torch.ones(2, 3)), RuntimeError, "scalar or 1D tensor, but got: ndim = 2"),
        (lambda: NN.prelu(F, torch.ones(2, 2)), RuntimeError, "Found parameter numbers = 4 and channel size = 3"),
        (lambda: NN.max_pool1d(F[None], 2, padding=-1), RuntimeError, r"max_pool1d\(\) padding must be non-negative, but got -1"),
        (lambda: NN.max_pool1d(F[None], 2, padding=-1, return_indices=True), RuntimeError, "pad must be non-negative, but got pad: -1"),
        (lambda: NN.avg_pool2d(torch.ones(0, 1, 49), 2, padding=-1), RuntimeError, "pad must be non-negative, but got pad: -1"),
        (lambda: NN.max_pool2d(torch.ones(0, 1, 49), 2, padding=4), RuntimeError, "got pad=4, kernel_size=2 and dilation=1"),
        (lambda: NN.adaptive_avg_pool1d(F[None], (1, 2)), RuntimeError, r"'output_size' should contain one int \(got 2\)"),
        (lambda: NN.adaptive_max_pool2d(F[None, None], ()), RuntimeError, "output_size.* must be 2"),
        (lambda: NN.gaussian_nll_loss(F, F, F, reduction="abc"), ValueError, "^abc is not valid$"),
        (lambda: NN.multi_margin_loss(torch.ones(0), torch.tensor(0)), RuntimeError, r"0-dim batch size, but got: \[0\]"),
        (lambda: NN.multilabel_margin_loss(torch.ones(0), torch.ones(0, dtype=torch.int64)), RuntimeError, r"but got: \[0\]"),
        (lambda: NN.multi_margin_loss(F, torch.ones(2)), RuntimeError, "expected scalar type Long but found Float"),
        (lambda: NN.triplet_margin_loss(F, V, F), RuntimeError, "anchor 2D, positive 1D, and negative 2D inputs"),
        (lambda: NN.cosine_similarity(F.long(), F.long()), RuntimeError, "yet common dtype is Long"),
        (lambda: NN.conv1d(F[None], torch.ones(2, 2, 2), groups=3), RuntimeError, "weight to be at least 3 at dimension 0"),
        (lambda: NN.conv1d(F[None].long(), torch.ones(2, 2, 2).long(), V[:2].double()), RuntimeError,
         r"Input type \(long int\) and bias type \(double\) should be the same"),
        (lambda: torch.linalg.vector_norm(F.long()), RuntimeError, "floating point or complex tensor as input. Got Long"),
        (lambda: torch.multinomial(torch.tensor([1.0, -1.0]), 3, True), RuntimeError, "encountering probability entry < 0"),
    ],
)  # fmt: skip
def test_sentences(call, error, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def test_tensors_of_no_dimensions_stand_for_numbers() -> None:
    one, two = torch.tensor(1), torch.tensor(2.0)
    assert torch.linspace(one, two, 3).tolist() == [1, 1.5, 2]
    assert torch.linspace(1, two, 2, dtype=torch.float64).dtype is torch.float64
    assert torch.logspace(one, 2, 2).tolist() == [10, 100]
    assert torch.logspace(one, two, 2, base=2.0).tolist() == [2, 4]
    assert torch.narrow(F, 1, one, 2).data_ptr() == F[:, 1:].data_ptr()


def test_losses_of_single_elements() -> None:
    x, zero = torch.tensor(1.0, dtype=torch.float64, requires_grad=True), torch.tensor(0)
    assert NN.multilabel_margin_loss(x, zero).item() == 0
    assert NN.multi_margin_loss(x, zero).item() == 0
    assert NN.multilabel_margin_loss(x.reshape(1), zero).shape == ()
    a, b = torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([[1.0, 0, 3]])
    assert NN.cosine_similarity(a, b, dim=0).tolist() == pytest.approx([0.857493, 0, 0.948683], rel=1e-5)
    assert NN.batch_norm(torch.ones(0), torch.ones(0), torch.ones(0)).shape == (0,)


def test_running_statistics_come_both_or_not_at_all() -> None:
    x, numbers = torch.arange(6.0).reshape(2, 3), torch.ones(3)
    for given, missing in (((numbers, None), "running_var"), ((None, numbers), "running_mean")):
        with pytest.raises(ValueError, match="must either both be None or neither be None"):
            NN.batch_norm(x, *given, training=True)
        with pytest.raises(RuntimeError, match=f"^{missing} must be defined in evaluation mode"):
            NN.batch_norm(x, *given)
    assert numbers.tolist() == [1, 1, 1]


def _bag(*offsets: int, table: torch.Tensor = F, **kwargs):
    at = torch.tensor(offsets or (0,), dtype=kwargs.pop("offsets_dtype", torch.int64))
    return NN.embedding_bag(kwargs.pop("input", torch.tensor([0, 1])), table, at, **kwargs)


def _classes(*size: int, of: tuple = (2, 3), loss=NN.nll_loss, **kwargs):
    return loss(torch.ones(of), torch.zeros(size, dtype=torch.int64), **kwargs)


tensor = torch.tensor
SLICES = "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
BAG_DTYPE = "Expected tensor for argument #1 '{}' to have one of the following scalar types: {}; but got torch.{}Tensor instead"


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: F.index_add(0, tensor([0, 5]), F), RuntimeError, "index 5 is out of bounds for dimension 0 with size 2"),
        (lambda: F.index_add(1, tensor([-1]), F[:, :1]), RuntimeError, "index -1 is out of bounds for dimension 1 with size 3"),
        (lambda: F.index_add(0, tensor([0, 5]), F, alpha=2), IndexError, "index out of range in self"),
        (lambda: V.index_add(0, tensor([5]), V[:1]), IndexError, "index out of range in self"),
        (lambda: F.index_add(0, tensor([0, 1]), torch.ones(3, 4)), RuntimeError,
         "index_add_(): Number of indices (2) should be equal to source.size(dim): (3), for dim: 0"),
        (lambda: F.index_add(0, tensor([0, 1]), torch.ones(2, 4)), RuntimeError, SLICES + "[2, 3] source.shape = [2, 4]"),
        (lambda: F.index_add(0, tensor([0, 1]), torch.ones(2)), RuntimeError, SLICES + "[2, 3] source.shape = [2]"),
        (lambda: F.index_add(0, tensor(0), tensor(1.0)), RuntimeError, SLICES + "[2, 3] source.shape = []"),
        (lambda: tensor(1.0).index_add(0, tensor([0]), torch.ones(1)), RuntimeError, SLICES + "[] source.shape = [1]"),
        (lambda: V.index_add(0, tensor([0, 1]), tensor(1.0)), IndexError, "Dimension specified as 0 but tensor has no dimensions"),
        (lambda: F.index_add(1, tensor([0]), V), RuntimeError,
         "index_add_(): Indexing dim 1 is out of bounds of the source tensor with dim 1"),
        (lambda: F.index_reduce(0, tensor([0, 1]), torch.ones(2, 4), "mean"), RuntimeError, SLICES + "[2, 3] source.shape = [2, 4]"),
        (lambda: F.index_reduce(0, tensor([0, 5]), F, "prod"), IndexError, "index out of range in self"),
        (lambda: F.index_reduce(0, tensor([0, 1]), F.double(), "prod"), RuntimeError,
         "index_reduce_(): self (Float) and source (Double) must have the same scalar type"),
        (lambda: F.index_copy(0, tensor([0, 1]), V[:2]), IndexError,
         "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source"),
        (lambda: F.index_copy(0, tensor([0, 1]), tensor(1.0)), IndexError,
         "index_copy_(): When source is scalar, index should have one element (got 2)"),
        (lambda: F.index_copy(0, tensor([0]), tensor(1.0)), RuntimeError, "index_copy_(): Source/destination tensor must have same slice"),
        (lambda: _classes(of=()), ValueError, "Expected 1 or more dimensions (got 0)"),
        (lambda: _classes(1, of=(), loss=NN.cross_entropy), ValueError, "Expected 1 or more dimensions (got 0)"),
        (lambda: _classes(3, 3, of=(3, 4, 2)), RuntimeError, "Expected target size [3, 2], got [3, 3]"),
        (lambda: _classes(3, 3, of=(3, 4, 2), loss=NN.cross_entropy), RuntimeError, "Expected target size [3, 2], got [3, 3]"),
        (lambda: _classes(2, 5, of=(2, 3, 4), loss=NN.cross_entropy, label_smoothing=0.1), RuntimeError,
         "Expected target size [2, 4], got [2, 5]"),
        (lambda: _classes(2, 4, of=(2, 3, 4, 5, 6)), RuntimeError, "Expected target size [2, 4, 5, 6], got [2, 4]"),
        (lambda: _classes(3), ValueError, "Expected input batch_size (2) to match target batch_size (3)."),
        (lambda: _classes(3, 4, of=(2, 3, 4)), ValueError, "Expected input batch_size (2) to match target batch_size (3)."),
        (lambda: _classes(2, 4, of=(2, 3, 4, 5)), RuntimeError,
         "only batches of spatial targets supported (3D tensors) but got targets of dimension: 2"),
        (lambda: _classes(2, 4, 4, of=(2, 3, 4, 5)), RuntimeError, "size mismatch (got input: [2, 3, 4, 5] , target: [2, 4, 4]"),
        (lambda: _classes(2, 4, of=(2, 3, 4), weight=F[0, :2]), RuntimeError,
         "weight tensor should be defined either for all or no classes"),
        (lambda: _classes(2, weight=V.double()), RuntimeError, "expected scalar type Float but found Double"),
        (lambda: _bag(0, 3), RuntimeError, "offsets[-1] can not be greater than input's length 2 but got offsets[-1] of 3"),
        (lambda: _bag(offsets_dtype=torch.float32), RuntimeError, BAG_DTYPE.format("indices", "Long, Int", "Float")),
        (lambda: _bag(table=F.long()), RuntimeError, BAG_DTYPE.format("weight", "Half, BFloat16, Float, Double", "Long")),
        (lambda: _bag(table=V), ValueError, "weight has to be a 2D Tensor, but got Tensor of dimension 1"),
        (lambda: _bag(padding_idx=3), RuntimeError, "padding_idx must be within the number of embeddings, -2 through 1, but got 3"),
        (lambda: _bag(mode="sum", per_sample_weights=V), ValueError,
         "embedding_bag: If per_sample_weights (torch.Size([3])) is not None, then it must have the same shape as the input"),
        (lambda: _bag(mode="sum", per_sample_weights=V[:2].double()), RuntimeError,
         "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 'per_sample_weights'"),
        (lambda: _bag(mode="mean", per_sample_weights=V[:2]), NotImplementedError,
         "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='mean')."),
        (lambda: _bag(mode="max", per_sample_weights=V[:2]), NotImplementedError, "embedding_bag: per_sample_weights was not None."),
        (lambda: _bag(mode="max", sparse=True), ValueError, "max mode does not support sparse weights"),
        (lambda: _bag(mode="max", scale_grad_by_freq=True), ValueError,
         "max mode does not support scaling the gradient by the frequency"),
        (lambda: _bag(mode="max", input=tensor([0, 7])), RuntimeError,
         "embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be 7"),
        (lambda: NN.embedding_bag(tensor([0]), F, tensor([], dtype=torch.int64), include_last_offset=True), RuntimeError,
         "include_last_offset: number of offset should be at least 1"),
        (lambda: torch.nn.EmbeddingBag(3, 4, padding_idx=5), AssertionError, "padding_idx must be within num_embeddings"),
        (lambda: torch.nn.Embedding(3, 4, padding_idx=5), AssertionError, "Padding_idx must be within num_embeddings"),
    ],
)  # fmt: skip
def test_sentences_of_slices_and_classes(call, error, sentence: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert type(found.value) is error and str(found.value).startswith(sentence)


def test_offsets_of_bags_are_of_any_integers() -> None:
    assert _bag(0, 1, offsets_dtype=torch.int16).tolist() == _bag(0, 1).tolist()


nn, T3, W = torch.nn, torch.ones(2, 3, 4), torch.ones(2, 3, 3, 3)
IMAGE, C = torch.ones(1, 3, 5, 5), F.to(torch.complex64)
DIMS = "expected stride to be a single integer value or a list of {} values to match the convolution dimensions, but got stride="
NO_FIT = "value cannot be converted to type {} without overflow"
SIZES = "Input and output sizes should be greater than 0, but got input ({})"
EXPANDED = "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton dimension {}.  Target sizes: "
OUTPUTS = "The outputs of the user-provided function given to {} must be either a Tensor or a tuple of Tensors but the "


def _set(x: torch.Tensor, index, value) -> None:
    x[index] = value


def _leaf() -> torch.Tensor:
    return torch.ones(3, requires_grad=True)


class _Answers(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return 3


class _Keeps(_Answers):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x, 3)
        return x * 2


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: tensor(1.0)[0], IndexError, "invalid index of a 0-dim tensor. Use `tensor.item()` in Python"),
        (lambda: tensor(1.0)[0, 0], IndexError, "too many indices for tensor of dimension 0"),
        (lambda: tensor(1.0)[tensor(0)], IndexError, "too many indices for tensor of dimension 0"),
        (lambda: tensor(1.0)[:], IndexError, "slice() cannot be applied to a 0-dim tensor."),
        (lambda: F[::0], ValueError, "slice step cannot be zero"),
        (lambda: F[::-1], ValueError, "step must be greater than zero"),
        (lambda: _set(F.to(torch.uint8), 0, 300), RuntimeError, NO_FIT.format("uint8_t")),
        (lambda: _set(F.int(), tensor([0]), float("nan")), RuntimeError, NO_FIT.format("int")),
        (lambda: _set(F.clone(), 0, 1j), RuntimeError, NO_FIT.format("float")),
        (lambda: _set(F.clone(), 0, 1e300), RuntimeError, NO_FIT.format("float")),
        (lambda: F.clone().fill_(1j), RuntimeError, NO_FIT.format("float")),
        (lambda: torch.tensor([300], dtype=torch.uint8), RuntimeError, NO_FIT.format("uint8")),
        (lambda: ~F, TypeError, "~ (operator.invert) is only implemented on integer and Boolean-type tensors"),
        (lambda: F.clone().requires_grad_("a"), TypeError,
         "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not str"),
        (lambda: F.numpy("a"), TypeError, "numpy() takes 0 positional arguments but 1 was given"),
        (lambda: F.storage(3), TypeError, "Tensor.storage() takes 1 positional argument but 2 were given"),
        (lambda: F.register_hook(), TypeError, "Tensor.register_hook() missing 1 required positional argument: 'hook'"),
        (lambda: torch.zeros(2, -1), RuntimeError, "zeros: Dimension size must be non-negative."),
        (lambda: torch.randperm(-1), RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
        (lambda: F.expand(-2, 3), RuntimeError, EXPANDED.format(-2, 2, 0) + "[-2, 3]"),
        (lambda: torch.bernoulli(2 * F), RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true, but got false."),
        (lambda: torch.bernoulli(F.long()), NotImplementedError, '"bernoulli_tensor_cpu_p_" not implemented for \'Long\''),
        (lambda: F.long().exponential_(), RuntimeError, "Exponential distribution is a continuous probability distribution."),
        (lambda: F.masked_select(torch.ones(4) > 0), RuntimeError, "The size of tensor a (4) must match the size of tensor b (3)"),
        (lambda: torch.floor(C), NotImplementedError, "floor is not supported for complex inputs"),
        (lambda: torch.addmv(V, F, V[:2]), RuntimeError, "size mismatch, got input (3), mat (2x3), vec (2)"),
        (lambda: torch.addmv(F, F, V), RuntimeError, "vector + matrix @ vector expected, got 2, 2, 1"),
        (lambda: torch.addr(F, V, F), RuntimeError, "addr: Expected 1-D argument vec2, but got 2-D"),
        (lambda: torch.baddbmm(V, T3, torch.ones(2, 5, 5)), RuntimeError, EXPANDED.format(5, 3, 2) + "[2, 3, 5]"),
        (lambda: torch.addbmm(F, T3, torch.ones(2, 4, 4)), RuntimeError, EXPANDED.format(4, 3, 1) + "[3, 4]"),
        (lambda: torch.einsum("ijk", F), RuntimeError, "einsum(): the number of subscripts in the equation (3) does not match"),
        (lambda: torch.gradient(F, spacing=[1]), RuntimeError,
         "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = 2', since"),
        (lambda: torch.promote_types(torch.int64, 2), TypeError,
         "promote_types(): argument 'type2' (position 2) must be torch.dtype, not int"),
        (lambda: torch.set_num_threads("a"), RuntimeError, "set_num_threads expects an int, but got str"),
        (lambda: torch.set_rng_state(V), TypeError, "RNG state must be a torch.ByteTensor"),
        (lambda: torch.compile(3), AssertionError, "A callable function is expected, but <class 'int'> is provided."),
        (lambda: torch.load(3), AttributeError, "'int' object has no attribute 'seek'. You can only torch.load from"),
        (lambda: NN.linear(T3, torch.ones(5, 4), V), RuntimeError, EXPANDED.format(5, 3, 1) + "[6, 5].  Tensor sizes: [3]"),
        (lambda: NN.bilinear(F, F, T3), RuntimeError, "bilinear(): input2 size does not match weight size: got 3 but expected 4"),
        (lambda: NN.bilinear(F, torch.ones(3, 3), torch.ones(2, 3, 3)), RuntimeError,
         "bilinear(): input batch dimensions do not match at dim 0: got 2 and 3"),
        (lambda: NN.conv2d(IMAGE, W.double()), RuntimeError, "expected scalar type Float but found Double"),
        (lambda: NN.conv2d(IMAGE, W, dilation=(1, 0)), RuntimeError, "dilation should be greater than zero, but got [1, 0]"),
        (lambda: NN.conv2d(IMAGE, W[0]), RuntimeError, DIMS.format(1) + "[1, 1]"),
        (lambda: NN.conv1d(IMAGE[0], W), RuntimeError, "Expected 4-dimensional input for 4-dimensional weight [2, 3, 3, 3], but"),
        (lambda: NN.conv_transpose2d(IMAGE, IMAGE[0][:, None], output_padding=(0, 1)), RuntimeError,
         "output padding must be smaller than either stride or dilation, but got output_padding_height: 0 output_padding_width: 1 "),
        (lambda: NN.conv_transpose2d(IMAGE, IMAGE[0][:, None], output_padding=-1), RuntimeError, "negative output_padding"),
        (lambda: NN.batch_norm(V, None, None, training=True), IndexError, "Dimension out of range"),
        (lambda: NN.layer_norm(F.long(), (3,)), NotImplementedError, '"LayerNormKernelImpl" not implemented for \'Long\''),
        (lambda: NN.rms_norm(F, (2,)), RuntimeError, "Given normalized_shape=[2], expected input with shape [*2], but got input"),
        (lambda: NN.glu(F), RuntimeError, "Halving dimension must be even, but dimension 1 is size 3"),
        (lambda: NN.interpolate(T3, 0), RuntimeError, SIZES.format("W: 4") + " and output (W: 0)"),
        (lambda: NN.interpolate(IMAGE, (2, 0)), RuntimeError, SIZES.format("H: 5, W: 5") + " output (H: 2, W: 0)"),
        (lambda: NN.affine_grid(torch.ones(1, 2, 3), (2, 1, 2, 2), False), RuntimeError, "Expected size for first two dimensions of batch2"),
        (lambda: NN.one_hot(tensor([1]), 0), RuntimeError, "Class values must be smaller than num_classes."),
        (lambda: NN.max_unpool2d(IMAGE, (999 * IMAGE).long(), 2), RuntimeError, "Found an invalid max index: 999 (output volumes are of size 10x10)"),
        (lambda: NN.max_unpool2d(IMAGE, IMAGE, 2), RuntimeError, "elements in indices should be type int64 but got: Float"),
        (lambda: NN.cosine_embedding_loss(F, F, F), RuntimeError, "0D or 1D target tensor expected, multi-target not supported"),
        (lambda: NN.cosine_embedding_loss(F, V, V), RuntimeError, "1D target tensor expects 2D input tensors, but found inputs with"),
        (lambda: nn.Conv2d(3, 4), TypeError, "Conv2d.__init__() missing 1 required positional argument: 'kernel_size'"),
        (lambda: nn.ReLU(3, 4), TypeError, "ReLU.__init__() takes from 1 to 2 positional arguments but 3 were given"),
        (lambda: nn.MultiheadAttention(4, 2)(T3, T3, T3, key_padding_mask=torch.ones(5, 5)), AssertionError,
         "Expected key_padded_mask.shape[0] to be 3, but got 5"),
        (lambda: nn.LSTMCell(3, 4)(T3[0]), RuntimeError, "input has inconsistent input_size: got 4 expected 3"),
        (lambda: nn.GRUCell(3, 4)(F, T3[0]), RuntimeError, "Input batch size 2 doesn't match hidden0 batch size 3"),
        (lambda: nn.RNNCell(3, 4)(F, F), RuntimeError, "hidden0 has inconsistent hidden_size: got 3, expected 4"),
        (lambda: torch.optim.Adam([_leaf()], betas=0.9), TypeError, "'float' object is not subscriptable"),
        (lambda: torch.optim.Adam([_leaf()], betas=(0.9,)), IndexError, "tuple index out of range"),
        (lambda: _Answers.apply(_leaf()).sum().backward(), RuntimeError, "expected Variable or None (got int)"),
        (lambda: _Keeps.apply(_leaf()), TypeError, "save_for_backward can only save variables, but argument 1 is of type int"),
        (lambda: torch.autograd.functional.jacobian(lambda x: 3, V), TypeError,
         OUTPUTS.format("jacobian") + "given outputs of the user-provided function has type <class 'int'>."),
        (lambda: torch.autograd.functional.jacobian(lambda x: (x, 3), V), TypeError,
         OUTPUTS.format("jacobian") + "value at index 1 has type <class 'int'>."),
        (lambda: torch.autograd.functional.vjp(lambda x: x, V), RuntimeError,
         "The vector v can only be None if the user-provided function returns a single Tensor with a single element."),
        (lambda: torch.autograd.functional.vjp(lambda x: x, V, V[:2]), RuntimeError, "v has invalid size: should be torch.Size([3])"),
        (lambda: torch.func.grad(lambda x: x)(V), RuntimeError,
         "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with 1 dims."),
    ],
)  # fmt: skip
def test_sentences_of_calls(call, error, sentence: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert type(found.value) is error and str(found.value).startswith(sentence)


@pytest.mark.parametrize(
    ("call", "name", "argument"),
    [
        (lambda: NN.embedding(tensor([0]), 3), "embedding", "'weight' (position 1)"),
        (lambda: NN.cosine_similarity(F, 3), "cosine_similarity", "'x2' (position 2)"),
        (lambda: NN.pairwise_distance(3, F), "pairwise_distance", "'x1' (position 1)"),
        (lambda: NN.grid_sample(F, 3), "grid_sampler", "'grid' (position 2)"),
        (lambda: NN.fold(3, 2, 2), "col2im", "'input' (position 1)"),
        (lambda: NN.unfold(3, 2), "im2col", "'input' (position 1)"),
        (lambda: NN.pixel_shuffle(3, 2), "pixel_shuffle", "'input' (position 1)"),
        (lambda: NN.alpha_dropout(3), "alpha_dropout", "'input' (position 1)"),
        (lambda: NN.kl_div(F, 3, reduction="sum"), "kl_div", "'target' (position 2)"),
        (lambda: NN.triplet_margin_loss(F, F, 3), "triplet_margin_loss", "'negative' (position 3)"),
        (lambda: NN.cosine_embedding_loss(F, F, 3), "cosine_embedding_loss", "'target' (position 3)"),
        (lambda: NN.soft_margin_loss(3, F), "soft_margin_loss", "'input' (position 1)"),
        (lambda: NN.poisson_nll_loss(F, 3), "poisson_nll_loss", "'target' (position 2)"),
    ],
)
def test_functions_whose_operands_are_no_tensors(call, name: str, argument: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == f"{name}(): argument {argument} must be Tensor, not int"


def test_numbers_out_of_vmap_are_read_by_item() -> None:
    with pytest.raises(RuntimeError, match=r"It looks like you're calling \.item\(\) on a Tensor"):
        torch.func.vmap(float)(V)


def test_what_was_changed_in_place_is_said_by_its_operator() -> None:
    x = _leaf().clone()
    y = x * x
    x[0] = 3
    with pytest.raises(RuntimeError, match="which is output 0 of torch::autograd::CopySlices, is at version 1"):
        y.sum().backward()
    y = _Answers.apply(_leaf())
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="which is output 0 of Add, is at version 1"):
        z.sum().backward()


def test_dtypes_that_have_no_kernel() -> None:
    bools, ints = torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.int32)
    complex_, bytes_ = torch.ones(3, dtype=torch.complex64), torch.ones(3, dtype=torch.uint8)
    for call, sentence in (
        (lambda: torch.linalg.cross(bools, bools), "\"cross\" not implemented for 'Bool'"),
        (lambda: torch.ones(2, 2, dtype=torch.bool) @ torch.ones(2, 2, dtype=torch.bool), "not implemented for 'Bool'"),
        (lambda: torch.arange(3, dtype=torch.bool), "\"arange_cpu\" not implemented for 'Bool'"),
        (lambda: torch.arange(0, 3, 1, dtype=torch.complex64), "\"arange_cpu\" not implemented for 'ComplexFloat'"),
        (lambda: torch.linspace(0, 1, 3, dtype=torch.bool), "\"linspace_cpu\" not implemented for 'Bool'"),
        (lambda: torch.nextafter(ints.short(), ints.short()), "\"nextafter_cpu\" not implemented for 'Short'"),
        (lambda: torch.signbit(complex_), "signbit is not implemented for complex tensors."),
    ):
        with pytest.raises(NotImplementedError, match=sentence):
            call()
    for call, sentence in (
        (lambda: ints.exponential_(), "^Exponential distribution is a continuous probability distribution.* Int"),
        (lambda: ints.polygamma_(1), "^result type Float can't be cast to the desired output type Int"),
        (lambda: ints.mvlgamma_(1), "^mvlgamma: result type Int can't be cast to the desired output type Float"),
        (lambda: torch.gradient(bytes_), "^torch.gradient does not support uint8 input."),
        (lambda: torch.nansum(complex_), "^nansum on CPU does not support complex inputs"),
        (lambda: torch.argmax(complex_), r"^argmax\(\): does not support complex input"),
        (lambda: torch.min(complex_, 0), r"^min\(\): does not support complex input"),
        (lambda: NN.kl_div(ints, ints, reduction="sum"), "^kl_div: Integral inputs not supported."),
        (lambda: NN.kl_div(V, complex_, reduction="sum"), "^kl_div: Complex inputs not supported."),
    ):
        with pytest.raises(RuntimeError, match=sentence):
            call()


NO_MASK = (
    "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the "
    "`~` or `logical_not()` operator instead."
)


def _in_place(x: torch.Tensor, y) -> None:
    x -= y


@pytest.mark.parametrize(
    "call",
    [
        lambda: 1 - MASK,
        lambda: 1.5 - MASK,
        lambda: MASK - 1,
        lambda: MASK - V,
        lambda: V - MASK,
        lambda: V - tensor(True),
        lambda: tensor(True) - V,
        lambda: torch.rsub(MASK, 1),
        lambda: torch.subtract(MASK, 1),
        lambda: MASK.sub_(1),
        lambda: _in_place(V.clone(), MASK),
        lambda: torch.ones(3, 2)[:, 0] - MASK,
        lambda: V - True,
        lambda: False - V,
        lambda: V.clone().sub_(True),
        lambda: torch.rsub(V, True),
    ],
)
def test_masks_are_not_subtracted(call) -> None:
    with pytest.raises(RuntimeError) as error:
        call()
    assert str(error.value).startswith(NO_MASK)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: torch.lerp(F, F.double(), 0.5), "expected dtype float for `end` but got dtype double"),
        (lambda: torch.lerp(F.double(), F, F.double()), "expected dtype double for `end` but got dtype float"),
        (lambda: torch.lerp(F, F, F.double()), "expected dtype float for `weight` but got dtype double"),
        (lambda: torch.lerp(F.half(), F.half(), F), "expected dtype c10::Half for `weight` but got dtype float"),
        (lambda: torch.lerp(F.long(), F.long(), F), "expected dtype long int for `weight` but got dtype float"),
        (lambda: torch.lerp(F.long(), F.long(), 0.5), "expected dtype long int for `weight` but got dtype float"),
        (lambda: torch.lerp(tensor(1.0), F.double(), 0.5), "expected dtype float for `end` but got dtype double"),
        (lambda: F.clone().lerp_(F.double(), 0.5), "expected dtype float for `end` but got dtype double"),
        (lambda: torch.lerp(F.long(), F.long(), F.long()), "\"lerp_kernel_scalar\" not implemented for 'Long'"),
        (lambda: torch.heaviside(F, F.double()), "heaviside is not yet implemented for tensors with different dtypes."),
        (lambda: torch.heaviside(F, tensor(1)), "heaviside is not yet implemented for tensors with different dtypes."),
        (lambda: F.clone().heaviside_(F.long()), "heaviside is not yet implemented for tensors with different dtypes."),
    ],
)
def test_operands_of_one_dtype(call, sentence: str) -> None:
    with pytest.raises(RuntimeError) as error:
        call()
    assert str(error.value).startswith(sentence)


def test_weights_of_lerp_that_are_numbers_are_cast() -> None:
    zeros = torch.zeros(3)
    assert torch.lerp(V, zeros, tensor(0.5, dtype=torch.float64)).tolist() == [0.5] * 3
    assert torch.lerp(V.half(), zeros.half(), tensor(0.5)).dtype is torch.float16
    assert torch.lerp(V.double(), zeros.double(), 0.5).dtype is torch.float64
    assert torch.lerp(V, zeros, tensor(1)).tolist() == [0] * 3


BYTES = torch.ones(3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: BYTES.clamp(0, 300), "uint8_t"),
        (lambda: BYTES.clamp(-300), "uint8_t"),
        (lambda: BYTES.clamp_max(300), "uint8_t"),
        (lambda: BYTES.clone().clamp_max_(300), "uint8_t"),
        (lambda: BYTES.to(torch.int8).clamp(-200, 200), "int8_t"),
        (lambda: BYTES.int().clamp(0, 2**40), "int"),
        (lambda: torch.where(MASK, BYTES, 300), "uint8_t"),
        (lambda: BYTES.index_fill(0, tensor([0]), 300), "uint8_t"),
        (lambda: BYTES.clone().index_fill_(0, tensor([0]), -300), "uint8_t"),
        (lambda: BYTES.scatter(0, tensor([0]), 300), "uint8_t"),
        (lambda: BYTES.int().index_fill(0, tensor([0]), float("nan")), "int"),
        (lambda: V.half().index_fill(0, tensor([0]), 1e5), "c10::Half"),
        (lambda: V.index_fill(0, tensor([0]), 1e300), "float"),
    ],
)
def test_numbers_that_do_not_fit(call, name: str) -> None:
    for _ in range(2):  # what a call was planned as is remembered
        assert BYTES.clamp_max(5).tolist() == BYTES.clamp(0, 5).tolist() == [1, 1, 1]
        assert BYTES.index_fill(0, tensor([0]), 5).tolist() == [5, 1, 1]
        with pytest.raises(RuntimeError) as error:
            call()
        assert str(error.value).startswith(f"value cannot be converted to type {name} without overflow")


def test_numbers_at_the_ends_of_dtypes_fit() -> None:
    at = tensor([0])
    assert BYTES.index_fill(0, at, 255).tolist() == BYTES.index_fill(0, at, -1).tolist() == [255, 1, 1]
    assert BYTES.clamp_min(-1).tolist() == [255] * 3  # wraps, as in PyTorch
    assert BYTES.clamp(0, 300.0).dtype is torch.float32
    assert BYTES.to(torch.int8).index_fill(0, at, -128)[0] == -128
    assert BYTES.long().index_fill(0, at, 2**62)[0] == 2**62
    assert V.index_fill(0, at, float("inf"))[0] == float("inf") and V.index_fill(0, at, float("nan"))[0].isnan()
    assert torch.ones(1, dtype=torch.bool).index_fill(0, at, 5).tolist() == [True]


PARAMETER = "mixed dtype (CPU): expect parameter to have scalar type of Float"


@pytest.mark.parametrize(
    ("x", "numbers", "sentence"),
    [
        (F.long(), (V, V), "\"batch_norm\" not implemented for 'Long'"),
        (F.bool(), (V, V), "\"batch_norm\" not implemented for 'Bool'"),
        (F.to(torch.complex64), (V, V), "\"batch_norm\" not implemented for 'ComplexFloat'"),
        (F, (V.double(), V.double()), PARAMETER),
        (F, (V.double(), V), PARAMETER),
        (F, (V, V.double()), "expected scalar type Float but found Double"),
        (F, (V, V, V.double(), V), PARAMETER),
        (F, (V, V, V, V.double()), "expected scalar type Float but found Double"),
        (F.double(), (V, V), "mixed dtype (CPU): all inputs must share same datatype."),
        (F.double(), (V, V, V.double(), V.double()), "expected scalar type Double but found Float"),
        (F.half(), (V, V, V.half(), V.half()), "expected scalar type Half but found Float"),
        (F.bfloat16(), (V.half(), V.half()), PARAMETER),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_dtypes_of_batch_norm(x, numbers, sentence: str, training: bool) -> None:
    with pytest.raises(RuntimeError) as error:
        NN.batch_norm(x, *numbers, training=training)
    assert str(error.value).startswith(sentence)


def test_batch_norm_of_narrow_numbers() -> None:
    x = torch.arange(6.0).reshape(2, 3).half()
    for numbers in ((V, V), (V, V, V, V), (V.half(),) * 4):
        for training in (False, True):
            assert NN.batch_norm(x, *(n.clone() for n in numbers), training=training).dtype is torch.float16
    mean = torch.zeros(3, dtype=torch.float64)
    NN.instance_norm(torch.arange(24.0).reshape(2, 3, 4), mean, torch.ones(3, dtype=torch.float64))
    assert mean.tolist() == pytest.approx([0.75, 1.15, 1.55])


def test_native_batch_norm_of_one_value_a_channel() -> None:
    mean, var = torch.zeros(3), torch.ones(3)
    out, seen, scale = torch.native_batch_norm(V[None], None, None, mean, var, True, 0.1, 1e-5)
    assert out.tolist() == [[0, 0, 0]] and seen.tolist() == [1, 1, 1]
    assert scale.tolist() == pytest.approx([316.2278] * 3)
    assert mean.tolist() == pytest.approx([0.1] * 3) and var.isnan().all()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training, got input size"):
        NN.batch_norm(V[None], None, None, training=True)


def test_celu_of_nothing() -> None:
    calls = (
        lambda: NN.celu(F, 0), lambda: NN.celu(F.clone(), 0.0, True), lambda: nn.CELU(0)(F),
        lambda: torch.celu(F, 0), lambda: torch.celu_(F.clone(), 0),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(RuntimeError, match="^ZeroDivisionError: alpha cannot be 0 for CELU"):
            call()


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (3, 4), (3, 1), (2, 1, 4), (2, 3, 1)])
def test_bias_of_linear_is_broadcast(shape: tuple) -> None:
    x, w = torch.arange(12.0).reshape(2, 3, 2), torch.arange(8.0).reshape(4, 2)
    bias = (torch.arange(torch.Size(shape).numel()).reshape(shape) / 3).requires_grad_()
    out = NN.linear(x, w, bias)
    torch.testing.assert_close(out, NN.linear(x, w) + bias)
    out.square().sum().backward()
    (expected,) = torch.autograd.grad((NN.linear(x, w) + bias).square().sum(), bias)
    torch.testing.assert_close(bias.grad, expected)
    double = bias.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: NN.linear(x.double(), w.double(), b), double)


def test_linear_of_vectors() -> None:
    x, w, b = (torch.arange(float(n)).requires_grad_() for n in (3, 3, 5))
    y = NN.linear(F, w)
    y.sum().backward()
    assert y.tolist() == [3, 3] and w.grad.tolist() == [2, 2, 2]
    weight, row = torch.ones(5, 3), b[None]
    z = NN.linear(x, weight, row)
    assert z.tolist() == [3, 4, 5, 6, 7]
    assert torch.autograd.grad(z.sum(), (b, x))[0].tolist() == [1] * 5


def test_biases_of_linear_that_do_not_fit() -> None:
    x, w = torch.ones(2, 3), torch.ones(4, 3)
    for bias, numbers in ((torch.ones(3), (4, 3, 1)), (torch.ones(3, 4), (2, 3, 0)), (torch.ones(4, 1), (2, 4, 0))):
        with pytest.raises(RuntimeError) as error:
            NN.linear(x, w, bias)
        assert str(error.value).startswith(EXPANDED.format(*numbers) + "[2, 4].  Tensor sizes: ")


def test_numbers_are_copied() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.copy_(5.5)
    y.sum().backward()
    assert y.tolist() == [5.5, 5.5] and x.grad.tolist() == [0, 0]
    assert BYTES.clone().copy_(300).tolist() == [44] * 3 and BYTES.long().copy_(3.7).tolist() == [3] * 3
    assert V.to(torch.complex64).copy_(2j).tolist() == [2j] * 3
    with pytest.raises(TypeError, match=r"^copy_\(\): argument 'other' \(position 1\) must be Tensor, not str$"):
        V.clone().copy_("a")


def test_sequences_are_broadcast_to_the_first() -> None:
    pad = nn.utils.rnn.pad_sequence
    a, b = torch.zeros(2, 3, requires_grad=True), torch.tensor([[1.0], [2], [3]], requires_grad=True)
    out = pad([a, b], batch_first=True, padding_value=7.0)
    assert out.tolist() == [[[0] * 3, [0] * 3, [7] * 3], [[1] * 3, [2] * 3, [3] * 3]]
    out.sum().backward()
    assert b.grad.tolist() == [[3], [3], [3]] and a.grad.tolist() == [[1] * 3] * 2
    assert pad([F, V]).shape == (3, 2, 3)
    for others, sentence in (
        ([F, torch.ones(4, 2)], "The size of tensor a .3. must match the size of tensor b .2. at"),
        ([torch.ones(2, 1), torch.ones(4, 3)], "output with shape .4, 1. doesn't match the broadcast shape"),
    ):
        with pytest.raises(RuntimeError, match=sentence):
            pad(others)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_dimensions_of_variances_come_in_a_tuple(name: str) -> None:
    for numbers in ((0, 1), (1, 2), (1, 2, 3, 4, 5)):
        with pytest.raises(TypeError, match=COMBINATION.format(name, ".*")):
            getattr(torch, name)(F, *numbers)
    if hasattr(F, name):
        assert getattr(F, name)((0, 1)).shape == getattr(F, name)().shape == ()
    assert F.count_nonzero(0, 1) == F.count_nonzero((0, 1)) == F.count_nonzero() == 6


def test_examples_whose_results_differ_in_size() -> None:
    x = tensor([[1, 0, 1], [1, 1, 1]])
    sentence = "^vmap: We do not support batching operators that can {} dynamic shape. Attempt"
    for call, what in ((torch.nonzero, "output"), (lambda e: e[e > 0], "support")):
        with pytest.raises(RuntimeError, match=sentence.format(what)):
            torch.func.vmap(call)(x)
    assert torch.func.vmap(torch.nonzero)(x[1:]).shape == (1, 3, 1)  # of one size: more than PyTorch does


def test_complex_numbers_have_no_order() -> None:
    c = F.to(torch.complex64)
    for call, kernel in (
        (lambda: c.max(), "max_all"),
        (lambda: c.min(), "min_all"),
        (lambda: c.amax(), "max_values_cpu"),
        (lambda: c.amin(0), "min_values_cpu"),
        (lambda: c.median(0), "median_out"),
        (lambda: c.median(), "median_cpu"),
        (lambda: torch.histc(c), "aminmax_cpu"),
        (lambda: torch.histc(c, 4, 0, 1), "histogram_cpu"),
    ):
        with pytest.raises(NotImplementedError, match=f"^\"{kernel}\" not implemented for 'ComplexFloat'"):
            call()


BYTES = torch.ones(3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda: NN.threshold(BYTES, 300, 2), "uint8_t"),
        (lambda: NN.threshold(BYTES, 2, 300), "uint8_t"),
        (lambda: NN.threshold(BYTES.long(), float("nan"), 1), "int64_t"),
        (lambda: NN.threshold(V, 1j, 1), "float"),
        (lambda: NN.threshold(V.bfloat16(), 1e300, 1), "float"),
        (lambda: NN.hardtanh(BYTES, 0, 300), "uint8_t"),
        (lambda: NN.hardtanh(BYTES.to(torch.int8), -300, 3), "int8_t"),
        (lambda: NN.hardtanh(V, -1e300, 1e300), "float"),
        (lambda: NN.hardshrink(V, 1j), "float"),
        (lambda: NN.elu(V, 1j), "float"),
    ],
)
def test_numbers_of_activations_fit_the_dtype(call, dtype: str) -> None:
    with pytest.raises(RuntimeError, match=f"^value cannot be converted to type {dtype} without overflow"):
        call()


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: torch.relu(V + 1j), NotImplementedError, "clamp is not supported for complex types"),
        (lambda: NN.relu6(V + 1j), NotImplementedError, "clamp is not supported for complex types"),
        (lambda: NN.hardtanh(MASK), RuntimeError, "Bool inputs not supported for hardtanh"),
        (lambda: NN.hardtanh(BYTES, -1, 1), RuntimeError, "cannot do hardtanh on an unsigned type with negative limits"),
        (lambda: torch.floor(MASK), NotImplementedError, "\"floor_vml_cpu\" not implemented for 'Bool'"),
        (lambda: torch.argmax(MASK), RuntimeError, "argmax(): does not support bool input"),
        (lambda: torch.argmin(V + 1j), RuntimeError, "argmin(): does not support complex input"),
        (lambda: torch.prelu(V, V[:1].double()), RuntimeError, "prelu: Type promoting not supported. Got Float and Double"),
        (lambda: torch.unique(V[0], dim=0), IndexError, "Dimension specified as 0 but tensor has no dimensions"),
        (lambda: V.float_power_(2), RuntimeError, "the base given to float_power_ has dtype Float but the operation's"),
        (lambda: torch.nanmean(V, dtype=torch.int32), RuntimeError, "nanmean(): could not infer output dtype. Optional"),
        (lambda: torch.stft(V.bfloat16(), 2, 1, return_complex=True), RuntimeError,
         "MKL FFT doesn't support tensors of type: BFloat16"),
        (lambda: torch.linalg.matrix_norm(F.half(), "nuc"), RuntimeError,
         "linalg.matrix_norm: Low precision dtypes not supported. Got Half"),
        (lambda: NN.mse_loss(F, F, weight=V), ValueError, "Weights and input must have the same size."),
        (lambda: NN.ctc_loss(F[:, None], F[:1].long(), (2,), (1,), reduction="foo"), ValueError, "foo is not a valid value"),
        (lambda: NN.linear(V[0], V), RuntimeError, "both arguments to linear need to be at least 1D, but they are 0D and 1D"),
        (lambda: NN.linear(F, V, V[0]), RuntimeError, "mat2 must be a matrix, got 1-D tensor"),
    ],
)  # fmt: skip
def test_sentences_of_dtypes_and_shapes(call, error, sentence: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error and str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: V.long().bitwise_and_(V), "result type Float can't be cast to the desired output type Long"),
        (lambda: V.long().gcd_(V), "result type Float can't be cast to the desired output type Long"),
        (lambda: V.long().nextafter_(V), "result type Float can't be cast to the desired output type Long"),
        (lambda: torch.bitwise_or(V, V[:2]), "The size of tensor a (3) must match the size of tensor b (2)"),
    ],
)
def test_what_comes_before_the_kernel(call, sentence: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        call()
    assert type(raised.value) is RuntimeError and str(raised.value).startswith(sentence)


def test_bools_are_numbers_to_parameters_of_floats() -> None:
    assert NN.pad(MASK, (1, 0), value=True).tolist() == [True] * 4 and NN.pad(V, (1, 0), value=False).tolist() == [0, 1, 1, 1]
    assert NN.dropout(V, False).tolist() == [1, 1, 1]
