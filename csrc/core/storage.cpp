#include "core/storage.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/allocator.h"
#include "core/error.h"

namespace fl {

namespace {

void* device_allocate(size_t bytes, Device device) {
  if (device.type == DeviceType::Meta) return nullptr;
  FL_CHECK(device.type == DeviceType::CPU, ErrorKind::Runtime,
           "no memory can be allocated on a GPU: none is available");
  return allocate(bytes);
}

}  // namespace

Ref<Storage> Storage::create(size_t bytes, Device device) {
  void* data = device_allocate(bytes, device);
  Ref<Storage> s = Ref<Storage>::fresh(new Storage);
  s->data_ = data;
  s->bytes_ = bytes;
  s->device_ = device;
  return s;
}

Ref<Storage> Storage::wrap(void* data, size_t bytes, Device device, std::function<void()> deleter, bool writable) {
  Ref<Storage> s = Ref<Storage>::fresh(new Storage);
  s->data_ = data;
  s->bytes_ = bytes;
  s->device_ = device;
  s->owned_ = false;
  s->writable_ = writable;
  if (deleter) s->deleter_ = new std::function<void()>(std::move(deleter));
  return s;
}

Storage::~Storage() {
  if (owned_ && data_) deallocate(data_, bytes_);
  if (deleter_) {
    (*deleter_)();
    delete deleter_;
  }
  delete materialise_;
}

void Storage::resize(size_t bytes) {
  FL_CHECK(resizable(), ErrorKind::Runtime, "Trying to resize storage that is not resizable");
  if (bytes == bytes_) return;
  void* old = data();
  void* fresh = device_allocate(bytes, device_);
  if (old && fresh) std::memcpy(fresh, old, std::min(bytes, bytes_));
  if (old) deallocate(old, bytes_);
  data_ = fresh;
  bytes_ = bytes;
}

void Storage::defer(std::function<void(Storage&)> fn) {
  FL_CHECK(owned_, ErrorKind::Runtime, "a storage of foreign memory cannot be deferred");
  auto* deferred = new std::function<void(Storage&)>(std::move(fn));
  delete std::exchange(materialise_, deferred);
  if (data_) deallocate(std::exchange(data_, nullptr), bytes_);
}

void Storage::materialise() {
  // Cleared first: the function that fills the storage asks for data() itself.
  std::unique_ptr<std::function<void(Storage&)>> fill(std::exchange(materialise_, nullptr));
  data_ = device_allocate(bytes_, device_);
  (*fill)(*this);
}

}  // namespace fl
