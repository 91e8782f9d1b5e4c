// Reads signatures, written in PyTorch's schema grammar, into overloads.
#pragma once
#include <string_view>

#include "runtime/op.h"

namespace fl {

// Fills name, params, returns, is_view and mutated. Raises ValueError that shows where the text stops making sense.
void parse_signature(std::string_view text, Overload& overload);

}  // namespace fl
