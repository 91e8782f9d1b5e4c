// Pieces of error sentences.
#pragma once
#include <string>

#include "autograd/node.h"
#include "core/tensor.h"

namespace fl {

std::string list_text(IntSpan v);               // [2, 3]
std::string describe(const Tensor& t);          // (2, 3) float32 cpu
const char* device_name(Device d);              // cpu
const char* c_type_name(DType d);               // "float", as PyTorch's sentences about gradients say it
std::string operator_name(const Node& node);    // "Mul" of MulBackward0, as PyTorch's sentences say who made a tensor
std::string camel_case(std::string_view name);  // max_pool2d -> MaxPool2D

}  // namespace fl
