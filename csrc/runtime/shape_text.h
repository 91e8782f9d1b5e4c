// Shapes as PyTorch's sentences write them.
#pragma once
#include <string>

#include "core/tensor.h"

namespace fl {

inline std::string shape_text(IntSpan sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

}  // namespace fl
