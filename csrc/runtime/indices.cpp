// Scans of tensors of integers before anything is written: of indices and of divisors. The order of indices by rows.
#include <algorithm>
#include <atomic>
#include <vector>

#include "core/error.h"
#include "runtime/clones.h"
#include "runtime/copy.h"
#include "runtime/iteration.h"
#include "runtime/pool.h"
#include "runtime/positions.h"

namespace fl {
namespace {

constexpr int64_t kRun = 4096;  // elements that are tested together

constexpr int64_t kPart = 16;  // elements of loops of a fixed length, which compilers turn into vectors

// Negative where an element, given as its distance from the lowest, lies outside: it is negative or above the span.
inline __attribute__((always_inline)) int64_t outside_sign(uint64_t above, uint64_t last) {
  return static_cast<int64_t>(above | (last - above));
}

// The sign tells whether one of n elements, a multiple of kPart, lies outside.
FL_CLONES int64_t parts_outside(const int64_t* p, int64_t n, uint64_t first, uint64_t last) {
  int64_t parts[kPart] = {}, outside = 0;
  for (int64_t i = 0; i < n; i += kPart)
    for (int64_t k = 0; k < kPart; ++k) parts[k] |= outside_sign(static_cast<uint64_t>(p[i + k]) - first, last);
  for (int64_t part : parts) outside |= part;
  return outside;
}

template <class T>
bool any_outside(const T* p, int64_t n, int64_t step, int64_t low, int64_t high) {
  const auto first = static_cast<uint64_t>(low), last = static_cast<uint64_t>(high) - first - 1;
  int64_t outside = 0, i = 0;
  if constexpr (std::is_same_v<T, int64_t>) {
    if (step == 1) {
      i = n / kPart * kPart;
      outside = parts_outside(p, i, first, last);
    }
  }
  for (; i < n; ++i) outside |= outside_sign(static_cast<uint64_t>(p[i * step]) - first, last);
  return outside < 0;
}

template <class T>
const T* row_of(const Tensor& t, int64_t row) {
  const T* p = t.data<T>();
  for (int d = t.dim() - 2; d >= 0; --d) {
    p += row % t.sizes[d] * t.strides[d];
    row /= t.sizes[d];
  }
  return p;
}

// Rows are cut into runs; the first run, in order, with an element outside of [low, high) is looked through for it.
template <class T>
bool scan(const Tensor& t, int64_t low, int64_t high, int64_t* bad) {
  bool flat = t.is_contiguous() || t.dim() == 0;
  int64_t inner = flat ? t.numel() : t.sizes[t.dim() - 1], step = flat ? 1 : t.strides[t.dim() - 1];
  if (t.numel() == 0) return false;
  int64_t per_row = (inner + kRun - 1) / kRun, runs = t.numel() / inner * per_row;
  auto start = [&](int64_t run) {
    return (flat ? t.data<T>() : row_of<T>(t, run / per_row)) + run % per_row * kRun * step;
  };
  auto length = [&](int64_t run) { return std::min(kRun, inner - run % per_row * kRun); };
  std::atomic<int64_t> first{runs};
  auto test = [&](int64_t run) {
    if (!any_outside(start(run), length(run), step, low, high)) return;
    for (int64_t seen = first.load(); run < seen && !first.compare_exchange_weak(seen, run);) {}
  };
  int64_t together = std::max<int64_t>(1, 4 * kRun / std::min(inner, kRun)), tasks = (runs + together - 1) / together;
  LongWork quiet(t.numel() >= 64 * kRun);
  parallel_for(tasks, [&](int64_t task) {
    for (int64_t run = task * together; run < std::min(runs, (task + 1) * together); ++run) test(run);
  });
  if (first == runs) return false;
  const T* p = start(first);
  while (*p >= low && *p < high) p += step;
  *bad = static_cast<int64_t>(*p);
  return true;
}

}  // namespace

bool first_outside(const Tensor& given, int64_t low, int64_t high, int64_t* bad) {
  Dims sizes = given.sizes, strides = given.strides;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    if (strides[d] || sizes[d] == 0) continue;
    sizes.erase(d);  // an expanded dimension repeats its elements
    strides.erase(d);
  }
  TensorRef once = Tensor::make(given.storage, given.offset, sizes, strides, given.dtype);
  const Tensor& index = *once;
  switch (index.dtype) {
    case DType::I64: return scan<int64_t>(index, low, high, bad);
    case DType::I32: return scan<int32_t>(index, low, high, bad);
    case DType::I16: return scan<int16_t>(index, low, high, bad);
    case DType::I8: return scan<int8_t>(index, low, high, bad);
    case DType::U8: return scan<uint8_t>(index, low, high, bad);
    default: fail(ErrorKind::Index, "tensors used as indices must be long, int, byte or bool tensors");
  }
}

namespace {

template <class T>
bool zero_in(const Tensor& t) {
  Iteration it(t.sizes);
  it.add(t);
  it.collapse();
  std::atomic<bool> found{false};
  run_pieces(it, [&](char** ptr, int64_t n, int64_t m) {
    bool zero = false;
    for (int64_t j = 0; j < m; ++j) {
      const char* row = ptr[0] + j * it.row_stride(0);
      for (int64_t i = 0; i < n; ++i) zero |= *reinterpret_cast<const T*>(row + i * it.inner_stride(0)) == 0;
    }
    if (zero) found = true;
  });
  return found;
}

}  // namespace

bool holds_zero(const Tensor& t) {
  switch (t.itemsize()) {
    case 1: return zero_in<uint8_t>(t);
    case 2: return zero_in<uint16_t>(t);
    case 4: return zero_in<uint32_t>(t);
    default: return zero_in<uint64_t>(t);
  }
}

namespace {

void first_outside_native(const Call& call, Outputs& outputs) {
  Tensor* t = call[0].tensor();
  int64_t high = call[1].as_int(), low = call[2].as_bool() ? -high : 0, bad = 0;
  outputs.emplace_back(!t->is_meta() && first_outside(*t, low, high, &bad) ? Value(bad) : Value());
}

// group_positions(index, rows): a counting sort, so places of one row stay in their order.
void group_positions(const Call& call, Outputs& outputs) {
  Tensor* index = call[0].tensor();
  int64_t n = index->numel(), rows = call[1].as_int();
  TensorRef order = Tensor::empty(Dims{n}, DType::I64, index->device());
  TensorRef starts = Tensor::empty(Dims{rows + 1}, DType::I64, index->device());
  outputs.emplace_back(order);
  outputs.emplace_back(starts);
  if (index->is_meta()) return;
  const auto* at = index->data<int64_t>();
  int64_t* first = starts->data<int64_t>();
  int64_t* places = order->data<int64_t>();
  std::fill_n(first, rows + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++first[at[i] + 1];
  for (int64_t r = 0; r < rows; ++r) first[r + 1] += first[r];
  for (int64_t i = 0; i < n; ++i)
    places[first[at[i]]++] = i;  // a row's start moves to its end, which is the next start
  for (int64_t r = rows; r > 0; --r) first[r] = first[r - 1];
  first[0] = 0;
}

// Adds how often k stands among n positions to counts[k]. Four rows of counts, so that equal neighbours need not wait
// for each other, of another type than the positions, so that loads need not wait for stores.
void count_rows(const int64_t* at, int64_t n, int64_t size, uint32_t* counts) {
  uint32_t *second = counts + size, *third = second + size, *fourth = third + size;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    ++counts[at[i]];
    ++second[at[i + 1]];
    ++third[at[i + 2]];
    ++fourth[at[i + 3]];
  }
  for (; i < n; ++i) ++counts[at[i]];
}

// Calls add(rows, p) for each of `parts` of n, which adds the counts of its part to four rows; the sums of all go to
// `counts`. Parts are shorter than 2^32.
template <class F>
void count_parts(int64_t parts, int64_t size, int64_t* counts, F&& add) {
  std::vector<uint32_t> all(static_cast<size_t>(parts * 4 * size));
  parallel_for(parts, [&](int64_t p) { add(&all[static_cast<size_t>(p * 4 * size)], p); });
  std::fill_n(counts, size, 0);
  for (const uint32_t* row = all.data(); row != all.data() + all.size(); row += size)
    for (int64_t j = 0; j < size; ++j) counts[j] += row[j];
}

constexpr int64_t kMostParts = 16;

// count_positions(index, size): checked positions of int64. Counts of parts add up to the same in any order.
void count_positions(const Call& call, Outputs& outputs) {
  TensorRef index = contiguous_tensor(call[0].tensor());
  int64_t n = index->numel(), size = call[1].as_int();
  TensorRef out = Tensor::empty(Dims{size}, DType::I64, index->device());
  outputs.emplace_back(out);
  if (index->is_meta() || size == 0) return;
  const auto* at = index->data<int64_t>();
  auto* counts = out->data<int64_t>();
  const int64_t parts = std::min(n / (16 * size + kRun), std::max(kMostParts, n >> 30));
  LongWork quiet(n >= 16 * kRun);
  if (parts < 1) {
    std::fill_n(counts, size, 0);
    for (int64_t i = 0; i < n; ++i) ++counts[at[i]];
    return;
  }
  count_parts(parts, size, counts, [&](uint32_t* rows, int64_t p) {
    int64_t begin = n * p / parts, end = n * (p + 1) / parts;
    count_rows(at + begin, end - begin, size, rows);
  });
}

// count_few(index): the counts of 0 .. kFew - 1 among values of int64 where all lie there, else nothing. Each run is
// tested just before it is counted, so that the values are read from memory once.
void count_few(const Call& call, Outputs& outputs) {
  constexpr int64_t kFew = 1024;
  TensorRef index = contiguous_tensor(call[0].tensor());
  const int64_t n = index->numel(), parts = std::clamp(n / (16 * kFew), int64_t{1}, std::max(kMostParts, n >> 30));
  const auto* at = index->data<int64_t>();
  TensorRef out = Tensor::empty(Dims{kFew}, DType::I64, index->device());
  std::atomic<bool> few{true};
  LongWork quiet(n >= 16 * kRun);
  count_parts(parts, kFew, out->data<int64_t>(), [&](uint32_t* rows, int64_t p) {
    for (int64_t i = n * p / parts, end = n * (p + 1) / parts; i < end && few; i += kRun) {
      const int64_t length = std::min(kRun, end - i);
      if (any_outside(at + i, length, 1, 0, kFew))
        few = false;
      else
        count_rows(at + i, length, kFew, rows);
    }
  });
  few ? outputs.emplace_back(out) : outputs.emplace_back();
}

RegisterNative few("count_few", count_few);
RegisterNative outside("first_outside", first_outside_native);
RegisterNative counting("count_positions", count_positions);
RegisterNative groups("group_positions", group_positions);

}  // namespace
}  // namespace fl
