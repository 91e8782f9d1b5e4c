#include "autograd/text.h"

#include <cctype>

#include "runtime/promotion.h"

namespace fl {

namespace {
std::string joined(IntSpan v) {
  std::string text;
  for (size_t i = 0; i < v.size(); ++i) text += (i ? ", " : "") + std::to_string(v[i]);
  return text;
}
}  // namespace

const char* device_name(Device d) {
  return d.type == DeviceType::CPU ? "cpu" : d.type == DeviceType::CUDA ? "cuda" : "meta";
}

const char* c_type_name(DType d) { return d == DType::U64 ? "long unsigned int" : dtype_c_name(d); }

std::string list_text(IntSpan v) { return "[" + joined(v) + "]"; }

std::string describe(const Tensor& t) {
  return "(" + joined(t.sizes) + (t.dim() == 1 ? ",) " : ") ") + dtype_name(t.dtype) + " " + device_name(t.device());
}

std::string operator_name(const Node& node) {
  std::string name = node.name();
  if (name == "CopySlices" || name == "AccumulateGrad") return "torch::autograd::" + name;
  const size_t end = name.find_last_not_of("0123456789") + 1;
  constexpr std::string_view suffix = "Backward";
  if (std::string_view(name).substr(0, end).ends_with(suffix)) name.erase(end - suffix.size());
  return name;
}

std::string camel_case(std::string_view name) {
  std::string text;
  bool upper = true;
  for (char c : name) {
    if (c == '_') {
      upper = true;
      continue;
    }
    text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = std::isdigit(static_cast<unsigned char>(c));
  }
  return text;
}

}  // namespace fl
