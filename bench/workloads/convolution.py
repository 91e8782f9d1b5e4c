"""Convolutions of every form: the forward pass, and a forward and a backward pass with both gradients."""


class Case:
    """One convolution; `size` is that of the image, as many numbers as it has dimensions."""

    def __init__(self, batch, channels, outputs, size, kernel, transposed=False, bias=False, **window):
        self.batch, self.channels, self.outputs, self.size, self.kernel = batch, channels, outputs, size, kernel
        self.transposed, self.bias, self.window = transposed, bias, window

    def operands(self, torch, memory_format=None):
        """The function, its input, its parameters."""
        n, groups = len(self.size), self.window.get("groups", 1)
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,) * n
        ends = (self.channels, self.outputs // groups) if self.transposed else (self.outputs, self.channels // groups)
        x, w = torch.randn(self.batch, self.channels, *self.size), torch.randn(*ends, *kernel)
        if memory_format:
            x, w = (t.contiguous(memory_format=memory_format) for t in (x, w))
        bias = torch.randn(self.outputs) if self.bias else None
        function = getattr(torch.nn.functional, f"conv_transpose{n}d" if self.transposed else f"conv{n}d")
        return (lambda x, w, b: function(x, w, b, **self.window)), x, [w, bias]

    def forward(self, torch, memory_format=None):
        """One call without gradients."""
        function, x, parameters = self.operands(torch, memory_format)
        return lambda: function(x, *parameters)

    def training(self, torch, memory_format=None):
        """A call and the gradients of input, weight and bias."""
        function, x, parameters = self.operands(torch, memory_format)
        leaves = [t.requires_grad_() for t in (x, *parameters) if t is not None]
        g = torch.randn(function(x, *parameters).shape)
        if memory_format:
            g = g.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(function(x, *parameters), leaves, g)

    def gradient(self, of):
        """The gradient of one operand alone: 0 is the input, 1 the weight."""

        def make(torch):
            function, x, parameters = self.operands(torch)
            leaf = (x, *parameters)[of].requires_grad_()
            y = function(x, *parameters)
            g = torch.randn(y.shape)
            return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)

        return make


CASES = {
    "1x1_256_64_56": Case(16, 256, 64, (56, 56), 1),
    "1x1_64_256_56": Case(16, 64, 256, (56, 56), 1),
    "1x1_stride2_256_512_56": Case(16, 256, 512, (56, 56), 1, stride=2),
    "3x3_64_56": Case(16, 64, 64, (56, 56), 3, padding=1),
    "3x3_64_56_bias": Case(16, 64, 64, (56, 56), 3, padding=1, bias=True),
    "3x3_128_28": Case(16, 128, 128, (28, 28), 3, padding=1),
    "3x3_256_14": Case(32, 256, 256, (14, 14), 3, padding=1),
    "3x3_512_7": Case(32, 512, 512, (7, 7), 3, padding=1),
    "3x3_64_56_one": Case(1, 64, 64, (56, 56), 3, padding=1),
    "3x3_stride2_128_256_28": Case(32, 128, 256, (28, 28), 3, padding=1, stride=2),
    "5x5_32_64_28": Case(32, 32, 64, (28, 28), 5, padding=2),
    "7x7_stride2_64_128_56": Case(8, 64, 128, (56, 56), 7, padding=3, stride=2),
    "patches_16x16_3_768_224": Case(8, 3, 768, (224, 224), 16, stride=16, bias=True),
    "first_7x7_stride2_3_64_224": Case(4, 3, 64, (224, 224), 7, padding=3, stride=2),
    "first_3x3_3_64_32": Case(64, 3, 64, (32, 32), 3, padding=1),
    "first_3x3_stride2_3_32_224": Case(8, 3, 32, (224, 224), 3, padding=1, stride=2),
    "first_5x5_1_6_28": Case(64, 1, 6, (28, 28), 5, padding=2, bias=True),
    "first_3x3_1_32_28": Case(64, 1, 32, (28, 28), 3, bias=True),
    "depthwise_3x3_96_112": Case(4, 96, 96, (112, 112), 3, padding=1, groups=96),
    "depthwise_3x3_144_56": Case(16, 144, 144, (56, 56), 3, padding=1, groups=144),
    "depthwise_3x3_stride2_144_56": Case(16, 144, 144, (56, 56), 3, padding=1, stride=2, groups=144),
    "depthwise_3x3_384_14": Case(32, 384, 384, (14, 14), 3, padding=1, groups=384),
    "depthwise_5x5_672_14": Case(16, 672, 672, (14, 14), 5, padding=2, groups=672),
    "depthwise_3x3_960_7": Case(32, 960, 960, (7, 7), 3, padding=1, groups=960),
    "depthwise_7x7_96_56": Case(8, 96, 96, (56, 56), 7, padding=3, groups=96),
    "grouped32_3x3_128_56": Case(8, 128, 128, (56, 56), 3, padding=1, groups=32),
    "grouped32_3x3_512_14": Case(16, 512, 512, (14, 14), 3, padding=1, groups=32),
    "grouped4_3x3_128_28": Case(16, 128, 128, (28, 28), 3, padding=1, groups=4),
    "dilated2_3x3_128_28": Case(16, 128, 128, (28, 28), 3, padding=2, dilation=2),
    "dilated4_3x3_64_56": Case(8, 64, 64, (56, 56), 3, padding=4, dilation=4),
    "transposed_2x2_stride2_128_64_28": Case(16, 128, 64, (28, 28), 2, stride=2, transposed=True, bias=True),
    "transposed_4x4_stride2_128_64_16": Case(
        32, 128, 64, (16, 16), 4, stride=2, padding=1, transposed=True, bias=True
    ),
    "transposed_3x3_64_28": Case(16, 64, 64, (28, 28), 3, padding=1, transposed=True),
    "1d_3_64_128_1024": Case(16, 64, 128, (1024,), 3, padding=1),
    "1d_9_stride4_1_64_16000": Case(8, 1, 64, (16000,), 9, padding=4, stride=4, bias=True),
    "1d_dilated8_2_64_4096": Case(8, 64, 64, (4096,), 2, dilation=8),
    "1d_depthwise_31_256_500": Case(8, 256, 256, (500,), 31, padding=15, groups=256),
    "3d_3x3x3_32_16": Case(4, 32, 32, (16, 16, 16), 3, padding=1),
    "3d_3x3x3_64_8_28": Case(2, 64, 64, (8, 28, 28), 3, padding=1),
    "3d_1x3x3_64_8_28": Case(4, 64, 64, (8, 28, 28), (1, 3, 3), padding=(0, 1, 1)),
    "3d_3x1x1_64_8_28": Case(4, 64, 64, (8, 28, 28), (3, 1, 1), padding=(1, 0, 0)),
    "3d_3x3x3_stride2_32_64_16": Case(8, 32, 64, (16, 16, 16), 3, padding=1, stride=2),
    "3d_first_3x3x3_1_16_32": Case(4, 1, 16, (32, 32, 32), 3, padding=1),
    "3d_transposed_2x2x2_stride2_64_32_12": Case(4, 64, 32, (12, 12, 12), 2, stride=2, transposed=True),
}  # fmt: skip


def _channels_last(make, dimensions=2):
    """The same with operands in channels-last order."""
    name = "channels_last" if dimensions == 2 else "channels_last_3d"
    return lambda torch: make(torch, getattr(torch, name))


WORKLOADS = {f"{name}_forward": case.forward for name, case in CASES.items()}
WORKLOADS |= {f"{name}_training": case.training for name, case in CASES.items()}
for _name in ("3x3_64_56", "3x3_256_14", "first_5x5_1_6_28"):
    WORKLOADS[f"{_name}_data"], WORKLOADS[f"{_name}_weight"] = CASES[_name].gradient(0), CASES[_name].gradient(1)
for _name in ("1x1_256_64_56", "3x3_64_56", "depthwise_3x3_144_56"):
    WORKLOADS[f"channels_last_{_name}_forward"] = _channels_last(CASES[_name].forward)
    WORKLOADS[f"channels_last_{_name}_training"] = _channels_last(CASES[_name].training)

# For `compare.py --channels-last`: the same convolutions with operands in that order, which PyTorch is faster in.
CHANNELS_LAST = {}
for _name, _case in CASES.items():
    if len(_case.size) > 1:
        CHANNELS_LAST[f"{_name}_forward"] = _channels_last(_case.forward, len(_case.size))
        CHANNELS_LAST[f"{_name}_training"] = _channels_last(_case.training, len(_case.size))
