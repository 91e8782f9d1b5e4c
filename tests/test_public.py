"""The public surface: names, devices that are not there, settings, modes, mixed precision."""

import difflib
import importlib
import inspect
import math
import pickle
import pydoc
import subprocess
import sys
import traceback
import types
import warnings

import pytest

import flambeau as torch

NO_GPU = (RuntimeError, AssertionError)
MODULES = (
    "accelerator", "amp", "autograd", "backends", "backends.cpu", "backends.cuda", "backends.cudnn",
    "backends.cusparselt", "backends.mha", "backends.mkl", "backends.mkldnn", "backends.mps", "backends.openmp",
    "backends.opt_einsum", "compiler", "cpu", "cuda", "cuda.amp", "cuda.random", "fft", "linalg", "mps", "nn",
    "nn.functional", "optim", "overrides", "random", "serialization", "signal", "signal.windows", "special", "types", "utils", "utils.data",
    "version", "xpu",
)  # fmt: skip


# ---- names


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_reached_as_attributes(name: str) -> None:
    module = importlib.import_module(f"flambeau.{name}")
    found = torch
    for part in name.split("."):
        found = getattr(found, part)
    assert found is module
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None or public in ("benchmark_limit", "strategy"), public


def test_every_public_name_exists_and_is_listed() -> None:
    missing = [name for name in torch.__all__ if not hasattr(torch, name)]
    assert not missing
    assert set(torch.__all__) <= set(dir(torch))
    assert {"nn", "cuda", "zeros", "Tensor", "float32", "save", "__version__"} <= set(dir(torch))
    assert not {"importlib", "math", "Any", "functional_ns"} & set(dir(torch))


def test_star_import_brings_functions_and_no_modules() -> None:
    code = "from flambeau import *\nprint(zeros(2).sum().item(), float32, is_tensor(pi), 'nn' in globals(), sep=';')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.0;torch.float32;False;False"


@pytest.mark.parametrize(
    ("module", "name", "close"),
    [
        (torch, "_version_", "__version__"),
        (torch, "float31", "float32"),
        (torch, "manual_sed", "manual_seed"),
        (torch, "optin", "optim"),
        (torch.nn, "Linaer", "Linear"),
        (torch.nn.functional, "rellu", "relu"),
        (torch.optim, "Adamm", "Adam"),
        (torch.utils, "dat", "data"),
        (torch.utils.data, "DataLoder", "DataLoader"),
        (torch.cuda, "is_availble", "is_available"),
        (torch.backends, "cuddn", "cudnn"),
    ],
)
def test_a_missing_name_is_answered_with_the_closest(module, name: str, close: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(module, name)
    assert str(error.value) == f"module '{module.__name__}' has no attribute '{name}'. Did you mean: '{close}'?"


def test_a_name_unlike_any_other_gets_no_suggestion() -> None:
    with pytest.raises(AttributeError, match=r"^module 'flambeau' has no attribute 'qqqzzz'$"):
        torch.qqqzzz  # noqa: B018
    assert not hasattr(torch, "__wrapped__")


def test_the_closest_name_is_looked_for_when_the_error_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda name, *_: asked.append(name) or ["relu"])
    assert not hasattr(torch, "rellu")
    assert getattr(torch, "rellu", 3) == 3
    assert asked == []
    with pytest.raises(AttributeError) as error:
        torch.rellu  # noqa: B018
    assert str(error.value).endswith("Did you mean: 'relu'?")
    assert asked == ["rellu"]
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is AttributeError
    assert str(again) == str(error.value)
    assert traceback.format_exception_only(error.value)[0].startswith("AttributeError: module 'flambeau' has no")


def test_constants_and_version() -> None:
    assert (torch.pi, torch.e, torch.inf, torch.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(torch.nan)
    assert torch.version.__version__ == torch.__version__
    assert torch.version.cuda is None
    assert torch.version.hip is None
    assert isinstance(torch.version.git_version, str)


# ---- devices


def test_is_available_is_a_documented_function() -> None:
    assert inspect.isfunction(torch.cuda.is_available)
    assert inspect.signature(torch.cuda.is_available).return_annotation is bool
    assert "is_available() -> bool" in pydoc.render_doc(torch.cuda.is_available, renderer=pydoc.plaintext)
    assert torch.cuda.is_available() is False
    assert torch.cuda.unavailable_reason()


def test_import_does_not_open_the_driver() -> None:
    code = (
        "import flambeau, sys; flambeau.cuda; "
        "print(any('libcuda' in line for line in open('/proc/self/maps')) if sys.platform == 'linux' else False)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_questions_about_gpus_have_answers() -> None:
    cuda = torch.cuda
    assert cuda.device_count() == cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0
    assert not cuda.is_initialized()
    assert not cuda.is_bf16_supported()
    assert cuda.get_rng_state_all() == cuda.get_arch_list() == []
    assert cuda.memory_stats() == {}
    for call in (cuda.empty_cache, cuda.reset_peak_memory_stats, cuda.seed_all):
        assert call() is None
    assert cuda.manual_seed(3) is cuda.manual_seed_all(3) is None
    with cuda.device(-1), cuda.device(None), cuda.device_of(torch.ones(1)), cuda.stream(None):
        cuda.set_device(-1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.cuda.device(0),
        lambda: torch.cuda.device("cuda:1"),
        lambda: torch.cuda.set_device(0),
        lambda: torch.cuda.current_device(),
        lambda: torch.cuda.synchronize(),
        lambda: torch.cuda.get_device_name(0),
        lambda: torch.cuda.get_device_properties(0),
        lambda: torch.cuda.mem_get_info(),
        lambda: torch.cuda.init(),
        lambda: torch.cuda.Stream(),
        lambda: torch.cuda.Event(enable_timing=True),
        lambda: torch.cuda.CUDAGraph(),
        lambda: torch.cuda.current_stream(),
        lambda: torch.ones(1).cuda(),
        lambda: torch.ones(1).to("cuda"),
        lambda: torch.ones(1).to(torch.device("cuda", 0)),
        lambda: torch.nn.Linear(2, 2).cuda(),
        lambda: torch.zeros(2, device="cuda"),
        lambda: torch.tensor([1], device="cuda"),
        lambda: torch.arange(3, device=0),
    ],
)
def test_what_needs_a_gpu_says_what_is_missing(call) -> None:
    with pytest.raises(NO_GPU) as error:
        call()
    text = str(error.value)
    assert text.startswith(("Found no NVIDIA driver", "No CUDA GPUs are available", "Torch not compiled with CUDA"))
    assert f"[{torch.cuda.unavailable_reason()}]" in text
    assert "device='cpu'" in text


def test_other_devices_exist_as_names() -> None:
    for module in (torch.mps, torch.xpu, torch.accelerator, torch.backends.mps, torch.backends.cudnn):
        assert module.is_available() is False
    assert torch.cpu.is_available()
    assert torch.accelerator.current_accelerator() is None
    assert torch.backends.cudnn.version() is None
    with pytest.raises(RuntimeError, match="PyTorch is not linked with support for mps devices"):
        torch.ones(1).to("mps")
    with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
        torch.accelerator.synchronize()
    with pytest.raises(RuntimeError, match=r"Cannot execute emptyCache\(\) without MPS backend"):
        torch.mps.empty_cache()
    with pytest.raises(AssertionError, match="Torch not compiled with XPU enabled"):
        torch.xpu.synchronize()


def test_settings_of_libraries_are_kept() -> None:
    cudnn = torch.backends.cudnn
    cudnn.benchmark = True
    with cudnn.flags(enabled=False, deterministic=True):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (False, False, True)
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, True, False)
    cudnn.benchmark = False
    assert torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")


def test_default_device() -> None:
    assert torch.get_default_device() == torch.device("cpu")
    with torch.device("meta") as meta:
        assert meta == torch.get_default_device() == torch.device("meta")
        with torch.device("cpu"):
            assert torch.rand(2).device.type == "cpu"
        made = [torch.zeros(2), torch.tensor([1]), torch.arange(3), torch.eye(2), torch.randint(3, (2,)), torch.rand(2)]
        made += [*torch.nn.Linear(2, 3).parameters(), torch.as_tensor([1.0])]
        assert {t.device.type for t in made} == {"meta"}
        assert torch.zeros(1, device="cpu").device.type == "cpu"
    assert torch.zeros(1).device.type == "cpu"
    torch.set_default_device("meta")
    try:
        assert torch.zeros(1).is_meta
    finally:
        torch.set_default_device(None)
    assert torch.zeros(1).device.type == "cpu"
    with pytest.raises(TypeError, match="must be str, not float"):
        torch.set_default_device(1.5)


# ---- types and questions


def test_old_tensor_types() -> None:
    assert torch.FloatTensor(2, 3).shape == (2, 3)
    assert torch.FloatTensor([1, 2]).tolist() == [1.0, 2.0]
    assert torch.LongTensor([1.5, 2]).dtype is torch.int64
    assert torch.ByteTensor(torch.Size([2, 2])).dtype is torch.uint8
    assert torch.BoolTensor([0, 2]).tolist() == [False, True]
    assert repr(torch.HalfTensor) == "<class 'torch.HalfTensor'>"
    x = torch.ones(2)
    assert isinstance(x, torch.FloatTensor)
    assert not isinstance(x, torch.DoubleTensor | torch.cuda.FloatTensor)
    assert not isinstance(1.0, torch.FloatTensor)
    torch.FloatTensor(x)[0] = 5
    assert x.tolist() == [5.0, 1.0]
    assert x.type(torch.DoubleTensor).dtype is torch.float64
    with pytest.raises(TypeError, match=r"got one of torch.float64"):
        torch.FloatTensor(x.double())
    with pytest.raises(TypeError, match=r"new\(\): data must be a sequence \(got float\)"):
        torch.FloatTensor(2.5)
    with pytest.raises(TypeError, match=r"type torch.cuda.FloatTensor not available"):
        torch.cuda.FloatTensor(2)


def test_default_tensor_type() -> None:
    try:
        torch.set_default_tensor_type("torch.DoubleTensor")
        assert torch.ones(1).dtype is torch.float64
        torch.set_default_tensor_type(torch.FloatTensor)
        assert torch.ones(1).dtype is torch.float32
        for wrong in (torch.IntTensor, "torch.LongTensor", "torch.cuda.FloatTensor", "FloatTensor", 3):
            with pytest.raises(TypeError):
                torch.set_default_tensor_type(wrong)
        assert torch.get_default_dtype() is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_questions_about_objects() -> None:
    x, z = torch.ones(2, 3), torch.ones(1, dtype=torch.complex64)
    assert torch.is_tensor(x)
    assert not torch.is_tensor([1])
    assert torch.is_storage(x.untyped_storage())
    assert torch.is_floating_point(x)
    assert torch.is_complex(z)
    assert not torch.is_complex(x)
    assert torch.is_signed(x)
    assert torch.numel(x) == 6
    assert torch.is_same_size(x, x + 1)
    assert torch.is_nonzero(torch.tensor([2]))
    assert torch.typename(x) == "torch.FloatTensor"
    assert torch.typename(torch.LongTensor) == "torch.LongTensor"
    assert torch.typename("a") == "str"
    with pytest.raises(
        TypeError, match=r"is_floating_point\(\): argument 'input' \(position 1\) must be Tensor, not int"
    ):
        torch.is_floating_point(3)
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        torch.is_nonzero(x)


# ---- settings


def test_deterministic_algorithms_are_remembered() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        torch.set_deterministic_debug_mode("error")
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_deterministic_debug_mode() == 2
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        for wrong in ("loud", 3):
            with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
                torch.set_deterministic_debug_mode(wrong)
        with pytest.raises(TypeError, match="must be bool, not str"):
            torch.use_deterministic_algorithms("yes")
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_settings() -> None:
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "high"
    with pytest.warns(UserWarning, match="has no effect"):
        torch.set_float32_matmul_precision("low")
    torch.set_float32_matmul_precision("highest")
    assert torch.set_flush_denormal(True) is False
    with pytest.raises(RuntimeError, match="Expected number of threads to be positive"):
        torch.set_num_interop_threads(0)


def test_compile_returns_what_it_is_given() -> None:
    model = torch.nn.Linear(2, 2)
    assert torch.compile(model) is model

    @torch.compile(dynamic=True)
    def double(x):
        return 2 * x

    assert double(torch.ones(1)).item() == 2
    assert torch.compiler.disable(double) is double
    assert not torch.compiler.is_compiling()


# ---- modes


def test_a_function_mode_sees_calls_and_may_replace_them() -> None:
    class Log(torch.overrides.TorchFunctionMode):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(torch.overrides.resolve_name(func))
            if func is torch.exp:
                return "replaced"
            return func(*args, **(kwargs or {}))

    x = torch.ones(2, 3)
    with Log() as outer, Log() as inner:
        y = (x + 1).sum()
        assert torch.exp(y) == "replaced"
        torch.nn.functional.relu(x)
        x.mul_(2)
    assert inner.seen == [
        "torch.Tensor.add",
        "torch.Tensor.sum",
        "torch.exp",
        "torch.nn.functional.relu",
        "torch.Tensor.mul_",
    ]
    assert outer.seen == [name for name in inner.seen if name != "torch.exp"]
    torch.exp(x)
    assert len(inner.seen) == 5


def test_python_functions_can_be_replaced_too() -> None:
    class Metres:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, args

    @torch.overrides.wrap_torch_function(lambda a, b=None: (a, b))
    def between(a, b=None):
        return a

    metres = Metres()
    assert between(3) == 3
    assert between(metres, 4) == ("between", (metres, 4))
    assert torch.overrides.has_torch_function_variadic(1, metres)
    assert not torch.overrides.has_torch_function_unary(torch.ones(1))
    assert torch.overrides.is_tensor_like(metres)
    assert not torch.overrides.is_tensor_like(3)


def test_what_can_be_overridden_is_listed() -> None:
    functions = torch.overrides.get_overridable_functions()
    assert torch.add in functions["torch"]
    assert torch.nn.functional.relu in functions["torch.nn.functional"]
    assert torch.Tensor.add in functions["torch.Tensor"]
    assert torch.overrides.get_testing_overrides()[torch.add](1, b=2) == -1
    assert torch.overrides.is_tensor_method_or_property(torch.Tensor.add)
    assert not torch.overrides.is_tensor_method_or_property(torch.add)
    assert torch.overrides.resolve_name(print) is None


# ---- mixed precision


def test_autocast_on_the_cpu() -> None:
    x, layer = torch.randn(4, 4), torch.nn.Linear(4, 4)
    with torch.autocast("cpu"):
        assert torch.is_autocast_enabled("cpu")
        assert not torch.is_autocast_enabled()
        product = x @ x
        assert product.dtype is layer(x).dtype is torch.bfloat16
        assert (x + x).dtype is torch.float32
        assert (x.double() @ x.double()).dtype is torch.float64
        assert torch.cat([product, x]).dtype is torch.float32
        assert product.prod().dtype is torch.float32
        with torch.autocast("cpu", enabled=False):
            assert (x @ x).dtype is torch.float32
            assert not torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", dtype=torch.float16):
            assert (x @ x).dtype is torch.float16
    assert (x @ x).dtype is torch.float32
    expected = x.bfloat16() @ x.bfloat16()
    assert torch.equal(product, expected)

    @torch.autocast("cpu")
    def inside(a):
        return a @ a

    assert inside(x).dtype is torch.bfloat16


LOSSES = (
    "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div", "l1_loss", "mse_loss", "smooth_l1_loss",
    "soft_margin_loss",
)  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_computes_losses_in_float32(name: str) -> None:
    loss = getattr(torch.nn.functional, name)
    x, y = torch.randn(4, 5).bfloat16(), torch.rand(4, 5).bfloat16()
    expected = loss(x.float(), y.float(), reduction="sum")
    with torch.autocast("cpu"):
        assert torch.equal(loss(x, y, reduction="sum"), expected)


def test_autocast_widens_what_has_no_kernel_of_16_bits() -> None:
    x = torch.eye(3).bfloat16()
    with torch.autocast("cpu"):
        assert torch.linalg.inv(x).dtype is torch.float32
        assert torch.fft.rfft(x).dtype is torch.complex64
        assert x.float().index_copy(0, torch.tensor([0]), x[1:2]).dtype is torch.float32
        assert x.cumprod(0).dtype is x.logsumexp(0).dtype is torch.bfloat16


def test_modes_see_a_loss_as_one_call() -> None:
    names = []

    class Log(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    x, y = torch.randn(2, 3), torch.tensor([0, 1])
    with Log():
        torch.nn.CrossEntropyLoss(weight=torch.ones(3))(x, y)
    assert names == ["ones", "cross_entropy"]


def test_gradients_of_autocast_reach_float32_weights() -> None:
    layer = torch.nn.Linear(8, 2)
    with torch.autocast("cpu"):
        loss = layer(torch.ones(3, 8)).float().sum()
    loss.backward()
    assert layer.weight.grad.dtype is torch.float32
    assert layer.weight.grad.tolist() == [[3.0] * 8] * 2


def test_mixed_precision_for_gpus_is_off_without_one() -> None:
    with pytest.warns(UserWarning, match="CUDA is not available. Disabling"), torch.autocast("cuda"):
        assert not torch.is_autocast_enabled()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = torch.cuda.amp.GradScaler()
    assert not scaler.is_enabled()
    assert scaler.get_scale() == 1.0
    assert scaler.scale(3) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.cuda.amp.GradScaler(enabled=False)
        torch.amp.autocast("cuda", enabled=False)
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'meta'"):
        torch.autocast("meta")


def test_custom_forward_and_backward_keep_their_mode() -> None:
    seen = []

    class Product(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a @ a

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            seen.append(torch.is_autocast_enabled("cpu"))
            (a,) = ctx.saved_tensors
            return (grad @ a).float()

    a = torch.eye(2, requires_grad=True)
    with torch.autocast("cpu"):
        out = Product.apply(a)
    out.float().sum().backward()
    assert seen == [True]
    assert not torch.is_autocast_enabled("cpu")


def test_scaler_leaves_out_steps_that_overflowed() -> None:
    weight = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    for value, kept in ((0.5, 0.5), (math.inf, 0.5), (0.25, 0.25), (0.25, 0.0)):
        optimizer.zero_grad()
        scaler.scale((weight * value).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert weight.tolist() == [kept, kept]
    assert scaler.get_scale() == 8.0  # halved once, doubled once
    fresh = torch.amp.GradScaler("cpu")
    fresh.load_state_dict(scaler.state_dict())
    assert fresh.state_dict() == scaler.state_dict()


def test_scaler_says_what_is_out_of_order() -> None:
    weight = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    assert weight.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) is being called after step"):
        scaler.unscale_(optimizer)


def test_public_functions_are_pickled_by_their_place():
    places = (torch, torch.nn.functional, torch.special, torch.linalg, torch.fft, torch.Tensor)
    kinds = torch._core.OpFunction | torch._core.OpMethod | torch._core.SeenFunction | types.FunctionType
    functions = [f for place in places for name in dir(place) if isinstance(f := getattr(place, name), kinds)]
    public = [f for f in functions if not f.__name__.startswith("_") and f.__module__.startswith("flambeau")]
    assert len(public) > 1300
    lost = [f for f in public if pickle.loads(pickle.dumps(f)) is not f]
    assert not lost


def test_errors_of_linear_algebra_come_from_another_process():
    with pytest.raises(torch.linalg.LinAlgError) as error:
        torch.linalg.cholesky(-torch.eye(2))
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is torch.linalg.LinAlgError and str(again) == str(error.value)
