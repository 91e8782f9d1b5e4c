#include <algorithm>
#include <utility>

#include "core/tensor.h"

namespace fl {

Dims::Dims(IntSpan v) : n_(static_cast<int>(v.size())) {
  if (n_ > kInline) heap_ = new int64_t[v.size()];
  std::copy(v.begin(), v.end(), data());
}

Dims::Dims(int n, int64_t fill) : n_(n) {
  if (n_ > kInline) heap_ = new int64_t[static_cast<size_t>(n)];
  for (int64_t *v = data(), *last = v + n; v < last; ++v) *v = fill;
}

Dims::Dims(Dims&& o) noexcept : n_(std::exchange(o.n_, 0)) {
  if (n_ > kInline) {
    heap_ = o.heap_;
  } else {
    std::copy_n(o.inline_, n_, inline_);
  }
}

Dims& Dims::operator=(const Dims& o) {
  if (this == &o) return *this;
  if (n_ <= kInline && o.n_ <= kInline) {
    n_ = o.n_;
    std::copy_n(o.inline_, n_, inline_);
    return *this;
  }
  return *this = Dims(IntSpan(o));
}

Dims& Dims::operator=(Dims&& o) noexcept {
  if (this == &o) return *this;
  if (n_ > kInline) delete[] heap_;
  n_ = std::exchange(o.n_, 0);
  if (n_ > kInline) {
    heap_ = o.heap_;
  } else {
    std::copy_n(o.inline_, n_, inline_);
  }
  return *this;
}

bool Dims::operator==(const Dims& o) const {
  return n_ == o.n_ && std::equal(begin(), end(), o.begin());
}

void Dims::push_back(int64_t v) {
  insert(n_, v);
}

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
