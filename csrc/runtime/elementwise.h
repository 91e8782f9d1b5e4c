// The driver of Scalar bodies: promotion, shapes, layout of the result, kernel, launch.
#pragma once
#include "runtime/iteration.h"
#include "runtime/kernel_table.h"

namespace fl {

// Runs any overload of a Scalar operator: results are new, or the operand that is written (x.add_(y)), or `out=`.
void elementwise_forward(const Call& call, Outputs& outputs);

// Kernels for operands that are contiguous and of one dtype, every parameter at its default.
enum class HotPattern : uint8_t { Unary, Binary, WithNumber, NumberFirst };
struct HotKernels {
  struct Slot {
    std::atomic<ElementKernel> kernel = nullptr;
    std::atomic<bool> refused = false;
    DType result = DType::F32;
  };
  Slot slots[4][kDTypes];
};

// The plainest calls, without boxing: null where the boxed way must be taken. They do not look at requires_grad, modes
// or flags.
TensorRef elementwise1(Op& op, Tensor* a);
TensorRef elementwise2(Op& op, Tensor* a, Tensor* b);
// `number_first`: op(number, a).
TensorRef elementwise2(Op& op, Tensor* a, const Value& number, bool number_first = false);

// A kernel over operands laid out by hand, outputs first.
struct ElementKernelCall {
  const Overload& overload;
  std::span<const DType> dtypes;  // one an operand
  uint32_t attributes = 0, fold = 0;
  const Slot* params = nullptr;
};
// The kernel for operands of these stride classes.
ElementKernel kernel_for(const ElementKernelCall& call, std::span<const StrideClass> classes);
// Collapses the dimensions, picks stride classes, runs in parallel pieces that depend on the shape only.
void run_elements(const ElementKernelCall& call, Iteration& it);

}  // namespace fl
