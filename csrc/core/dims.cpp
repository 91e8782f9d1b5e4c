#include <algorithm>
#include <utility>

#include "core/tensor.h"

namespace fl {

bool Dims::operator==(const Dims& o) const { return n_ == o.n_ && std::equal(begin(), end(), o.begin()); }

void Dims::push_back(int64_t v) { insert(n_, v); }

void Dims::insert(int at, int64_t v) {
  Dims wider(n_ + 1);
  std::copy_n(begin(), at, wider.data());
  wider[at] = v;
  std::copy(begin() + at, end(), wider.data() + at + 1);
  *this = std::move(wider);
}

void Dims::erase(int at) {
  Dims narrower(n_ - 1);
  std::copy_n(begin(), at, narrower.data());
  std::copy(begin() + at + 1, end(), narrower.data() + at);
  *this = std::move(narrower);
}

}  // namespace fl
