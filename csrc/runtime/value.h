// A boxed argument or result of an operator, as the schema names it.
#pragma once
#include <complex>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace fl {

enum class MemoryFormat : uint8_t { Contiguous, Preserve, ChannelsLast, ChannelsLast3d };

class Value {
 public:
  enum class Tag : uint8_t {
    None,
    Tensor,
    Bool,
    Int,
    Float,
    DType,
    Device,
    Layout,
    MemoryFormat,
    Complex,
    Str,
    Ints,
    Floats,
    Tensors,
    Object
  };
  // What does not fit in eight bytes. An Object is anything Python (a Generator, a callable): bind fills `object`.
  struct Box : RefCounted {
    std::complex<double> complex;
    std::string str;
    std::vector<int64_t> ints;
    std::vector<double> floats;
    std::vector<TensorRef> tensors;  // an element may be null (optional)
    std::shared_ptr<void> object;
  };

  Value() = default;
  Value(TensorRef t) : tag_(t ? Tag::Tensor : Tag::None) { u_.t = t.detach(); }
  Value(bool v) : tag_(Tag::Bool) { u_.i = v; }
  Value(int64_t v) : tag_(Tag::Int) { u_.i = v; }
  Value(double v) : tag_(Tag::Float) { u_.d = v; }
  Value(DType v) : tag_(Tag::DType) { u_.i = static_cast<int64_t>(v); }
  Value(Device v) : tag_(Tag::Device) { u_.i = static_cast<int64_t>(v.type) << 8 | static_cast<uint8_t>(v.index); }
  Value(MemoryFormat v) : tag_(Tag::MemoryFormat) { u_.i = static_cast<int64_t>(v); }
  Value(std::complex<double> v) : Value(Tag::Complex) { u_.b->complex = v; }
  Value(std::string v) : Value(Tag::Str) { u_.b->str = std::move(v); }
  Value(std::vector<int64_t> v) : Value(Tag::Ints) { u_.b->ints = std::move(v); }
  Value(std::vector<double> v) : Value(Tag::Floats) { u_.b->floats = std::move(v); }
  Value(std::vector<TensorRef> v) : Value(Tag::Tensors) { u_.b->tensors = std::move(v); }
  static Value object(std::shared_ptr<void> p) {
    Value v(Tag::Object);
    v.u_.b->object = std::move(p);
    return v;
  }
  static Value layout() {
    Value v;
    v.tag_ = Tag::Layout;
    return v;
  }
  Value(const Value& o) : tag_(o.tag_), u_(o.u_) { retain(); }
  Value(Value&& o) noexcept : tag_(std::exchange(o.tag_, Tag::None)), u_(o.u_) {}
  Value& operator=(Value o) noexcept {
    std::swap(tag_, o.tag_);
    std::swap(u_, o.u_);
    return *this;
  }
  ~Value() { release(); }

  Tag tag() const { return tag_; }
  bool is_none() const { return tag_ == Tag::None; }
  bool is_tensor() const { return tag_ == Tag::Tensor; }
  bool is_number() const { return tag_ == Tag::Bool || tag_ == Tag::Int || tag_ == Tag::Float || tag_ == Tag::Complex; }
  // Accessors trust the schema: the parser has checked the tag.
  Tensor* tensor() const { return u_.t; }
  TensorRef tensor_ref() const { return tag_ == Tag::Tensor ? TensorRef(u_.t) : TensorRef(); }
  bool as_bool() const { return u_.i != 0; }
  int64_t as_int() const { return tag_ == Tag::Float ? static_cast<int64_t>(u_.d) : u_.i; }
  double as_double() const {
    return tag_ == Tag::Float ? u_.d : tag_ == Tag::Complex ? u_.b->complex.real() : double(u_.i);
  }
  std::complex<double> as_complex() const {
    return tag_ == Tag::Complex ? u_.b->complex : std::complex<double>(as_double());
  }
  DType dtype() const { return static_cast<DType>(u_.i); }
  Device device() const { return {static_cast<DeviceType>(u_.i >> 8), static_cast<int8_t>(u_.i & 0xff)}; }
  MemoryFormat memory_format() const { return static_cast<MemoryFormat>(u_.i); }
  const std::string& str() const { return u_.b->str; }
  const std::vector<int64_t>& ints() const { return u_.b->ints; }
  const std::vector<double>& floats() const { return u_.b->floats; }
  const std::vector<TensorRef>& tensors() const { return u_.b->tensors; }
  // A Generator parameter holds a fl::Generator, an Any parameter a Python object.
  void* object() const { return u_.b->object.get(); }
  const std::shared_ptr<void>& shared_object() const { return u_.b->object; }

 private:
  explicit Value(Tag boxed) : tag_(boxed) {
    u_.b = new Box;
    u_.b->retain();
  }
  void retain() const {
    if (tag_ == Tag::Tensor)
      u_.t->retain();
    else if (tag_ >= Tag::Complex)
      u_.b->retain();
  }
  void release() const {
    if (tag_ == Tag::Tensor)
      u_.t->release();
    else if (tag_ >= Tag::Complex)
      u_.b->release();
  }
  Tag tag_ = Tag::None;
  union {
    int64_t i = 0;
    double d;
    Tensor* t;
    Box* b;
  } u_;
};

// Calls f with the tensor, or with each of a list (null where it has none); once with null for what is neither.
template <class F>
void for_each_tensor(const Value& v, F&& f) {
  if (v.is_tensor()) {
    f(v.tensor());
  } else if (v.tag() == Value::Tag::Tensors) {
    for (const TensorRef& t : v.tensors()) f(t.get());
  } else {
    f(static_cast<Tensor*>(nullptr));
  }
}

}  // namespace fl
