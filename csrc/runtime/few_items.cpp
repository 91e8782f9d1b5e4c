#include "runtime/few_items.h"

#include "runtime/clones.h"

namespace fl {

FL_CLONES uint64_t item_of_rank(uint64_t* items, int64_t n, int64_t rank) {
  constexpr uint64_t kSign = uint64_t{1} << 63;                     // machines compare integers with signs
  int64_t mine[kFewItems], beyond[kFewItems];                       // how many are less, from `rank` on
  for (int64_t k = n; k < kFewItems; ++k) items[k] = ~uint64_t{0};  // all n are less than this
  for (int64_t k = 0; k < kFewItems; ++k) {
    mine[k] = static_cast<int64_t>(items[k] ^ kSign);
    beyond[k] = -rank;
  }
  for (int64_t i = 0; i < n; ++i) {
    const auto item = static_cast<int64_t>(items[i] ^ kSign);
    for (int64_t k = 0; k < kFewItems; ++k) beyond[k] += item < mine[k];
  }
  uint64_t found = 0;
  for (int64_t k = 0; k < kFewItems; ++k) found |= beyond[k] == 0 ? items[k] : 0;
  return found;
}

}  // namespace fl
