// Uniform numbers to normal ones, sixteen at a time: number j of a block pairs up with number j + 8.
#pragma once
#include <cstdint>

namespace fl {

constexpr int64_t kNormalBlock = 16;

// `in` and `out` may be the same.
void box_muller(const float* in, float* out, int64_t blocks, float mean, float std);
void box_muller(const double* in, double* out, int64_t blocks, double mean, double std);

}  // namespace fl
