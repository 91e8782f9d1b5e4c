#include "runtime/short_rows.h"

#include <cstring>

namespace fl {

namespace {

constexpr int64_t kShortRow = 64;   // elements
constexpr int64_t kLongRow = 1024;  // of joined rows
constexpr int64_t kFewest = 4 * kLongRow;
constexpr int64_t kUnit = 16;  // rows, so that joined ones begin as their elements are aligned, and at lines of a cache

bool is_one_run(const Iteration& it, int operand) {
  return it.row_stride(operand) == it.inner_stride(operand) * it.inner_size();
}

bool is_repeated(const Iteration& it, int operand) {
  for (int d = 0; d < it.dims - 1; ++d)
    if (it.stride[d][operand]) return false;
  return true;
}

// `rows` times the row of an operand, close together.
void repeat(const Iteration& it, int operand, int64_t item, int64_t rows, char* to) {
  for (int64_t i = 0; i < it.inner_size(); ++i)
    std::memcpy(to + i * item, it.data[operand] + i * it.inner_stride(operand), static_cast<size_t>(item));
  const int64_t row = it.inner_size() * item;
  for (int64_t done = 1, more; done < rows; done += more) {
    more = std::min(done, rows - done);
    std::memcpy(to + done * row, to, static_cast<size_t>(more * row));
  }
}

}  // namespace

std::optional<JoinedRows> join_rows(const Iteration& it, int outputs, std::span<const DType> dtypes) {
  if (it.dims < 2 || it.inner_size() >= kShortRow || it.elements < kFewest) return {};
  const int64_t length = it.inner_size(), all = it.size[it.dims - 2];
  const int64_t rows = kLongRow / length / kUnit * kUnit;
  if (all < rows) return {};
  for (int k = 0; k < it.operands; ++k)
    if (!is_one_run(it, k) && (k < outputs || !is_repeated(it, k))) return {};
  JoinedRows made{.copies = {}, .joined = it, .rest = it};
  Iteration &joined = made.joined, &rest = made.rest;
  const int outer = it.dims - 2, inner = it.dims - 1;
  joined.size[outer] = all / rows;
  joined.size[inner] = rows * length;
  rest.size[outer] = all % rows;
  joined.elements = it.elements / all * (all / rows * rows);
  rest.elements = it.elements - joined.elements;
  for (int k = 0; k < it.operands; ++k) {
    rest.data[k] += all / rows * rows * it.row_stride(k);
    joined.stride[outer][k] *= rows;
    if (is_one_run(it, k)) continue;
    auto item = static_cast<int64_t>(dtype_size(dtypes[static_cast<size_t>(k)]));
    char* copy = made.copies.emplace_back(static_cast<size_t>(rows * length * item)).as<char>();
    repeat(it, k, item, rows, copy);
    joined.data[k] = copy;
    joined.stride[inner][k] = item;
  }
  return made;
}

}  // namespace fl
