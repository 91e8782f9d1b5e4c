"""Patches of images as columns, and columns added up to images: each is the gradient of the other."""

from ..ir.fn import logical_or, maximum, minimum, where
from .launch import Launch, product
from .pool import output_size
from .sort import check_implemented
from .table import ANY, Loop, op

_INTEGERS = ("u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64")


# ints: sizes of an image, places of the kernel, sizes of the kernel, stride, padding, dilation (two of each)
class _Tap:
    """One element of the kernel: which places see it inside of the image, and where."""

    def __init__(self, b, plane, i, j, stride: int):
        self._b, self._plane = b, plane
        self._step = stride or b.int(7)
        self._down, self._right = (k * b.int(10 + axis) - b.int(8 + axis) for axis, k in ((0, i), (1, j)))
        self.first = maximum(minimum((self._step - 1 - self._right) // self._step, b.int(3)), 0)
        self.last = maximum(minimum((b.int(1) - 1 - self._right) // self._step + 1, b.int(3)), self.first)

    def row(self, y):
        """Whether a row of places sees the image, and the offset of the element that place x = 0 would see."""
        b, row = self._b, y * self._b.int(6) + self._down
        return (row >= 0) & (row < b.int(0)), (self._plane * b.int(0) + row) * b.int(1) + self._right

    def right_of(self, offset, x):
        """Offset of what place x of a row sees."""
        return offset + x * self._step


def _columns_program(b, stride: int):
    """Buffers: columns, images. One iteration: a line of the columns, which is one element of the kernel."""
    with b.parallel() as line:
        k, width = line % (b.int(4) * b.int(5)), b.int(3)
        tap = _Tap(b, line // (b.int(4) * b.int(5)), k // b.int(5), k % b.int(5), stride)
        with b.loop(0, b.int(2)) as y:
            inside, source = tap.row(y)
            first, last = where(inside, tap.first, width), where(inside, tap.last, width)
            to = (line * b.int(2) + y) * width
            with b.loop(0, first) as x:
                b.store(0, to + x, 0)
            with b.loop(first, last, independent=True) as x:
                b.store(0, to + x, b.load(1, tap.right_of(source, x)))
            with b.loop(last, width) as x:
                b.store(0, to + x, 0)


def _images_program(b, stride: int):
    """Buffers: images, columns. One iteration: a channel of an image."""
    with b.parallel() as plane:
        elements = b.int(0) * b.int(1)
        with b.loop(0, elements) as e:
            b.store(0, plane * elements + e, 0)
        with b.loop(0, b.int(4)) as i, b.loop(0, b.int(5)) as j:
            tap = _Tap(b, plane, i, j, stride)
            line = (plane * b.int(4) + i) * b.int(5) + j
            with b.loop(0, b.int(2)) as y:
                inside, target = tap.row(y)
                source = (line * b.int(2) + y) * b.int(3)
                with b.loop(where(inside, tap.first, tap.last), tap.last, independent=True) as x:
                    at, new = tap.right_of(target, x), b.load(1, source + x)
                    b.store(0, at, logical_or(b.load(0, at), new) if new.dtype == "b1" else b.load(0, at) + new)


def places(size, kernel, dilation, padding, stride) -> list[int]:
    """How many places a kernel has along every dimension."""
    sizes = zip(size, kernel, dilation, padding, stride, strict=True)
    return [output_size(n, k, s, p, d, False) for n, k, d, p, s in sizes]


def _launch(out, source, program, iterations: int, work: int, size, kernel, dilation, padding, stride) -> Launch:
    ints = [*size, *places(size, kernel, dilation, padding, stride), *kernel, *stride, *padding, *dilation]
    known = stride[1] if stride[1] <= 2 else 0  # distances that kernels are made for
    return Launch((out,), (out, source.contiguous()), ints, iterations if out.numel() else 0, work, program, (known,))


def _columns_plan(o, self, kernel, dilation, padding, stride):
    check_implemented(self, "im2col_out_cpu", _INTEGERS)
    batch, channels, *size = self.shape
    lines, count = channels * product(kernel), product(places(size, kernel, dilation, padding, stride))
    out = o.empty((batch, lines, count), dtype=self.dtype, device=self.device)
    return _launch(out, self, _columns_program, batch * lines, count, size, kernel, dilation, padding, stride)


def _images_plan(o, self, size, kernel, dilation, padding, stride):
    check_implemented(self, "col2im_out_cpu", _INTEGERS)
    batch, lines, count = self.shape
    channels = lines // product(kernel)
    out = o.empty((batch, channels, *size), dtype=self.dtype, device=self.device)
    work = product(size) + product(kernel) * count
    return _launch(out, self, _images_program, batch * channels, work, size, kernel, dilation, padding, stride)


op(
    "im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor",
    names=(),
    dtypes=ANY,
    body=Loop(_columns_plan, pure=True),
    grad=lambda o, g, self, *window: (o.col2im(g, [self.shape[2], self.shape[3]], *window),),
    doc="The patches of images (N, C, H, W) as columns (N, C kh kw, L).",
)
op(
    "col2im(Tensor self, int[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> "
    "Tensor",
    names=(),
    dtypes=ANY,
    body=Loop(_images_plan, pure=True),
    grad=lambda o, g, self, output_size, *window: (o.im2col(g, *window),),
    doc="Columns (N, C kh kw, L) added up to images (N, C, H, W) where patches overlap.",
)
