// Copies, casts and fills.
#pragma once
#include "runtime/iteration.h"
#include "runtime/op.h"

namespace fl {

// Writes `from` to `to`, broadcast and cast. They may overlap only if they are the same elements.
void copy_into(Tensor* to, Tensor* from);
// Copies operand 1 to operand 0, elements of `item` bytes, by a kernel that takes them in any order.
void copy_elements(Iteration& it, int64_t item);
// Writes one number to every element.
void fill_with(Tensor* to, const Value& number);
// Zeros, on all threads where there are many.
void clear_bytes(void* memory, int64_t bytes);
// A copy in another dtype with the strides an elementwise result has; the tensor itself where it has that dtype.
TensorRef cast_to(Tensor* t, DType dtype);
// Always a copy.
TensorRef clone_tensor(Tensor* t, MemoryFormat format = MemoryFormat::Preserve);
// The tensor itself where it has that layout already.
TensorRef contiguous_tensor(Tensor* t, MemoryFormat format = MemoryFormat::Contiguous);

// Strides of a memory format for these sizes; raises where the number of dimensions does not fit. Preserve is not one.
Dims format_strides(IntSpan sizes, MemoryFormat format);
bool has_format(const Tensor& t, MemoryFormat format);

// Raises where the memory is read-only (an array of NumPy, a mapped file).
void check_writable(const Tensor& written);
// Whether writing through a tensor is possible at all: raises where elements share memory (an expanded tensor).
void check_no_internal_overlap(const Tensor& written);
// Raises where `read` shares a part of the memory of `written`, but not all of it in the same places.
void check_no_partial_overlap(const Tensor& written, const Tensor& read);

// Whether a result of these sizes may be written straight to the tensor of `out=`: it is laid out as a new one would be
// and shares no memory with what is read, or, where each element is read before it is written, all of it.
bool takes_result(const Call& call, IntSpan sizes, DType dtype, Device device, bool elementwise);

}  // namespace fl
