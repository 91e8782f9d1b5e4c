// Reference-counted bytes on a device. Only data() yields a pointer, and it may materialise a deferred value.
#pragma once
#include <functional>

#include "core/object_cache.h"
#include "core/ref.h"

namespace fl {

enum class DeviceType : uint8_t { CPU, CUDA, Meta };
struct Device {
  DeviceType type = DeviceType::CPU;
  int8_t index = -1;  // -1: no index was given
  bool operator==(const Device&) const = default;
};

class Storage final : public RefCounted {
 public:
  // Owns `bytes` freshly allocated, uninitialised bytes (none on meta).
  static Ref<Storage> create(size_t bytes, Device device = {});
  // Wraps foreign memory; `deleter` runs when the last reference goes (any thread).
  static Ref<Storage> wrap(void* data, size_t bytes, Device device, std::function<void()> deleter,
                           bool writable = true);

  void* data() {
    if (materialise_) [[unlikely]]
      materialise();
    return data_;
  }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool writable() const { return writable_; }
  bool resizable() const { return owned_ && !lent_; }
  // Somebody else keeps the address (NumPy, a memoryview): from now on the bytes stay where they are.
  void lend() { lent_ = true; }
  void resize(size_t bytes);  // keeps the contents; raises for wrapped memory

  // In-place changes count here; views share it because they share the storage.
  uint32_t version = 0;
  // A deferred value: the bytes are given back now; the first data() allocates them again and calls `fn` to fill them.
  // Set by the recorder of compiled regions.
  void defer(std::function<void(Storage&)> fn);

  static void* operator new(size_t) { return ObjectCache<Storage>::take(); }
  static void operator delete(void* p) { ObjectCache<Storage>::give(p); }

 private:
  Storage() = default;
  ~Storage() override;
  void materialise();

  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  bool owned_ = true, writable_ = true, lent_ = false;
  std::function<void()>* deleter_ = nullptr;
  std::function<void(Storage&)>* materialise_ = nullptr;
};

}  // namespace fl
