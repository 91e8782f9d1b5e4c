#include "autograd/text.h"

#include <cctype>

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

const char* c_type_name(DType d) {
  constexpr const char* names[kDTypes] = {"bool",
                                          "unsigned char",
                                          "signed char",
                                          "short int",
                                          "int",
                                          "long int",
                                          "short unsigned int",
                                          "unsigned int",
                                          "long unsigned int",
                                          "c10::Float8_e4m3fn",
                                          "c10::Float8_e5m2",
                                          "c10::Float8_e4m3fnuz",
                                          "c10::Float8_e5m2fnuz",
                                          "c10::Half",
                                          "c10::BFloat16",
                                          "float",
                                          "double",
                                          "c10::complex<float>",
                                          "c10::complex<double>"};
  return names[static_cast<int>(d)];
}

std::string list_text(IntSpan v) { return "[" + joined(v) + "]"; }

std::string describe(const Tensor& t) {
  return "(" + joined(t.sizes) + (t.dim() == 1 ? ",) " : ") ") + dtype_name(t.dtype) + " " + device_name(t.device());
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
