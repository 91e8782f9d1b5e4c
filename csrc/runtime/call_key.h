// What a call's launches depend on, as bytes: sizes, strides and dtypes of its tensors, and its numbers.
#pragma once
#include <string>

#include "runtime/op.h"

namespace fl {

// A number that the schema does not call static reaches kernels at run time: what is planned may not depend on it.
inline bool is_run_time_number(const Param& p) {
  bool number = p.type == ParamType::Scalar || p.type == ParamType::Float || p.type == ParamType::Int;
  return number && !p.is_static;
}

// Appends to the key; `layout`: the parameter that is looked at though it is a number, or -1 for all of them. False
// where an argument has more to it, lies elsewhere than in memory, or has no elements.
bool append_call(const Call& call, std::string& key, bool all_numbers, int layout = -1);

}  // namespace fl
