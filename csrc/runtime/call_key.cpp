#include "runtime/call_key.h"

#include <algorithm>

namespace fl {
namespace {

template <class T>
void append(std::string& key, const T& value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append(std::string& key, IntSpan values) {
  append(key, values.size());
  key.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

bool append_tensor(const Tensor& t, std::string& key) {
  if (t.device() != Device{} || t.numel() == 0) return false;
  append(key, t.dtype);
  append(key, IntSpan(t.sizes));
  append(key, IntSpan(t.strides));
  return true;
}

bool append_tensors(const std::vector<TensorRef>& tensors, std::string& key) {
  append(key, tensors.size());
  return std::ranges::all_of(tensors, [&](const TensorRef& t) {
    append(key, t != nullptr);
    return !t || append_tensor(*t, key);
  });
}

bool append_value(const Value& v, std::string& key) {
  switch (v.tag()) {
    case Value::Tag::None: return true;
    case Value::Tag::Tensor: return append_tensor(*v.tensor(), key);
    case Value::Tag::Tensors: return append_tensors(v.tensors(), key);
    case Value::Tag::Bool:
    case Value::Tag::Int:
    case Value::Tag::DType:
    case Value::Tag::MemoryFormat: append(key, v.as_int()); return true;
    case Value::Tag::Float: append(key, v.as_double()); return true;
    case Value::Tag::Ints: append(key, IntSpan(v.ints())); return true;
    case Value::Tag::Str: key += v.str() + '\0'; return true;
    default: return false;
  }
}

}  // namespace

bool append_call(const Call& call, std::string& key, bool all_numbers, int layout) {
  append(key, call.overload);
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    const Value& v = call[static_cast<int>(i)];
    append(key, v.tag());
    bool seen = all_numbers || static_cast<int>(i) == layout || !is_run_time_number(call.overload->params[i]);
    if (seen && !append_value(v, key)) return false;
  }
  return true;
}

}  // namespace fl
