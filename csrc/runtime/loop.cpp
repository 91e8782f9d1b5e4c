#include "runtime/loop.h"

#include <algorithm>

#include "core/error.h"
#include "runtime/pool.h"

namespace fl {

namespace {
constexpr int64_t kGrain = 16384;  // elements of one task
}

void run_loop(LoopKernel kernel, std::span<Tensor* const> buffers, IntSpan ints, int64_t n, int64_t work,
              const Slot* params) {
  std::vector<char*> ptr;
  for (Tensor* t : buffers) ptr.push_back(t->data());
  int64_t per_task = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, work));
  int64_t tasks = (n + per_task - 1) / per_task;
  auto task = [&](int64_t t) {
    std::vector<char*> mine(ptr);  // a kernel may move its pointers
    kernel(mine.data(), ints.data(), t * per_task, std::min(n, (t + 1) * per_task), params);
  };
  if (tasks <= 1) {
    if (n > 0) task(0);
    return;
  }
  LongWork quiet(n * work >= 2 * kGrain);
  parallel_for(tasks, task);
}

void run_multi(ElementKernel kernel, std::span<Tensor* const> tensors, int width, const Slot* params) {
  struct Piece {
    size_t group;
    int64_t begin, end;
  };
  std::vector<Piece> pieces;
  auto groups = tensors.size() / static_cast<size_t>(width);
  int64_t total = 0;
  for (size_t g = 0; g < groups; ++g) {
    Tensor* first = tensors[g * static_cast<size_t>(width)];
    for (int k = 1; k < width; ++k) {
      Tensor* t = tensors[g * static_cast<size_t>(width) + static_cast<size_t>(k)];
      FL_CHECK(t->sizes == first->sizes && t->strides == first->strides, ErrorKind::Runtime,
               "multi-tensor kernels need tensors of equal sizes and strides");
    }
    total += first->numel();
    for (int64_t i = 0; i < first->numel(); i += kGrain) pieces.push_back({g, i, std::min(first->numel(), i + kGrain)});
  }
  auto run = [&](int64_t p) {
    const Piece& piece = pieces[static_cast<size_t>(p)];
    char* ptr[16];
    int64_t stride[32] = {};
    for (int k = 0; k < width; ++k) {
      Tensor* t = tensors[piece.group * static_cast<size_t>(width) + static_cast<size_t>(k)];
      stride[k] = static_cast<int64_t>(t->itemsize());
      ptr[k] = t->data() + piece.begin * stride[k];
    }
    kernel(ptr, stride, piece.end - piece.begin, 1, params);
  };
  if (total < 2 * kGrain) {
    for (size_t p = 0; p < pieces.size(); ++p) run(static_cast<int64_t>(p));
    return;
  }
  LongWork quiet(true);
  parallel_for(static_cast<int64_t>(pieces.size()), run);
}

}  // namespace fl
