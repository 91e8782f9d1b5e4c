// The item of a rank among few, by counting how many are less than each: no branch depends on how items compare.
#pragma once
#include <cstdint>

namespace fl {

constexpr int64_t kFewItems = 16;

// Of n items, 1 to kFewItems, no two of which are equal. There is memory for kFewItems, and what follows them is lost.
uint64_t item_of_rank(uint64_t* items, int64_t n, int64_t rank);

}  // namespace fl
