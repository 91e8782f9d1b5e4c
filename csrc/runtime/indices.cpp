// Scans of index tensors (before anything is written through them) and the copying part of cat.
#include <algorithm>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/op.h"

namespace fl {
namespace {

// The first value outside [low, high), in the order of the elements.
template <class T>
bool scan(const Tensor* t, int64_t low, int64_t high, int64_t* bad) {
  int n = t->dim();
  std::vector<int64_t> at(static_cast<size_t>(n), 0);
  const T* base = t->data<T>();
  int64_t inner = n ? t->sizes[n - 1] : 1, step = n ? t->strides[n - 1] : 0;
  for (int64_t row = 0, rows = inner ? t->numel() / inner : 0; row < rows; ++row) {
    const T* p = base;
    int64_t rest = row;
    for (int d = n - 2; d >= 0; --d) {
      p += rest % t->sizes[d] * t->strides[d];
      rest /= t->sizes[d];
    }
    bool outside = false;
    for (int64_t i = 0; i < inner; ++i) outside |= p[i * step] < low || static_cast<int64_t>(p[i * step]) >= high;
    if (!outside) continue;
    for (int64_t i = 0; i < inner; ++i) {
      *bad = static_cast<int64_t>(p[i * step]);
      if (*bad < low || *bad >= high) return true;
    }
  }
  return false;
}

void first_outside(const Call& call, Outputs& outputs) {
  Tensor* t = call[0].tensor();
  int64_t high = call[1].as_int(), low = call[2].as_bool() ? -high : 0, bad = 0;
  bool found = false;
  if (!t->is_meta()) {
    switch (t->dtype) {
      case DType::I64: found = scan<int64_t>(t, low, high, &bad); break;
      case DType::I32: found = scan<int32_t>(t, low, high, &bad); break;
      case DType::I16: found = scan<int16_t>(t, low, high, &bad); break;
      case DType::I8: found = scan<int8_t>(t, low, high, &bad); break;
      case DType::U8: found = scan<uint8_t>(t, low, high, &bad); break;
      default: fail(ErrorKind::Index, "tensors used as indices must be long, int, byte or bool tensors");
    }
  }
  outputs.emplace_back(found ? Value(bad) : Value());
}

// What cat gives: in order, or channels-last where all parts are.
Dims cat_strides(const Dims& sizes, std::span<Tensor* const> parts) {
  Dims plain = contiguous_strides(sizes);
  if (sizes.size() != 4) return plain;
  Dims strides = result_strides(sizes, parts);
  bool channels_last = strides[1] == 1 && strides[3] == sizes[1] && strides[2] == sizes[1] * sizes[3];
  return channels_last ? strides : plain;
}

// cat_parts(tensors, dim, dtype): shapes were checked.
void cat_parts(const Call& call, Outputs& outputs) {
  const std::vector<TensorRef>& parts = call[0].tensors();
  auto dim = static_cast<int>(call[1].as_int());
  DType dtype = call[2].dtype();
  Dims sizes = parts[0]->sizes;
  sizes[dim] = 0;
  for (const TensorRef& t : parts) sizes[dim] += t->sizes[dim];
  std::vector<Tensor*> like;
  for (const TensorRef& t : parts) like.push_back(t.get());
  TensorRef out = Tensor::empty_strided(sizes, cat_strides(sizes, like), dtype, parts[0]->device());
  int64_t start = 0;
  for (const TensorRef& t : parts) {
    if (!out->is_meta() && t->numel()) {
      TensorRef slice =
          Tensor::make(out->storage, out->offset + start * out->strides[dim], t->sizes, out->strides, dtype);
      copy_into(slice.get(), t.get());
    }
    start += t->sizes[dim];
  }
  outputs.emplace_back(out);
}

RegisterNative first_outside_native("first_outside", first_outside);
RegisterNative cat_parts_native("cat_parts", cat_parts);

}  // namespace
}  // namespace fl
