// A vector whose first N elements lie in the object itself.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace fl {

template <class T, int N>
class SmallList {
 public:
  SmallList() = default;
  explicit SmallList(size_t n) { resize(n); }
  SmallList(const SmallList& o) {
    reserve(o.size_);
    for (const T& v : o) push_back(v);
  }
  SmallList(SmallList&& o) noexcept { take(o); }
  SmallList& operator=(const SmallList& o) {
    if (this != &o) *this = SmallList(o);
    return *this;
  }
  SmallList& operator=(SmallList&& o) noexcept {
    if (this == &o) return *this;
    drop();
    take(o);
    return *this;
  }
  ~SmallList() { drop(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }

  void push_back(T v) {
    if (size_ == capacity_) reserve(2 * capacity_);
    new (data_ + size_) T(std::move(v));
    ++size_;
  }
  void resize(size_t n) {
    reserve(n);
    while (size_ < n) new (data_ + size_++) T();
    shrink(n);
  }
  void reserve(size_t n) {
    if (n <= capacity_) return;
    T* fresh = static_cast<T*>(::operator new(n * sizeof(T)));
    for (uint32_t i = 0; i < size_; ++i) {
      new (fresh + i) T(std::move(data_[i]));
      data_[i].~T();
    }
    if (data_ != own()) ::operator delete(data_);
    data_ = fresh;
    capacity_ = static_cast<uint32_t>(n);
  }
  void clear() { shrink(0); }
  void pop_back() { shrink(size_ - 1); }

 private:
  void shrink(size_t n) {
    while (size_ > n) data_[--size_].~T();
  }
  T* own() { return reinterpret_cast<T*>(own_); }
  void drop() {
    clear();
    if (data_ != own()) ::operator delete(data_);
    data_ = own();
    capacity_ = N;
  }
  // Into an empty list without memory of its own.
  void take(SmallList& o) {
    if (o.data_ != o.own()) {
      data_ = std::exchange(o.data_, o.own());
      capacity_ = std::exchange(o.capacity_, static_cast<uint32_t>(N));
      size_ = std::exchange(o.size_, 0u);
      return;
    }
    for (uint32_t i = 0; i < o.size_; ++i) new (data_ + i) T(std::move(o.data_[i]));
    size_ = o.size_;
    o.clear();
  }

  T* data_ = own();
  uint32_t size_ = 0, capacity_ = N;
  alignas(T) std::byte own_[N * sizeof(T)];
};

}  // namespace fl
