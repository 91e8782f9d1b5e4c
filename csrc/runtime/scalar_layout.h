// How one overload of a Scalar operator uses its arguments, read off its signature once.
#pragma once
#include "runtime/kernel_table.h"

namespace fl {

struct ScalarLayout {
  std::vector<int> operands;  // parameters that are operands, in order
  std::vector<int> numbers;   // run-time parameters: a slot each
  std::vector<int> statics;   // static attributes
  std::vector<int> outs;      // `out=` parameters, one an output
  std::vector<int> folds;     // bit -> parameter that may be folded in or absent
  int written = -1;           // the operand (position in `operands`) that is changed in place
  int dtypes = -1;            // the parameter that lists result dtypes (ResultRule::Explicit)

  // Attributes met so far: a list that only grows at its head, so that it is read without a lock.
  struct Known {
    std::vector<Value> values;
    uint32_t id;
    const Known* next;
  };
  mutable std::atomic<const Known*> known = nullptr;
};

const ScalarLayout& scalar_layout(const Overload& overload);

// The interned number of the static attributes of a call.
uint32_t attributes_of(const ScalarLayout& layout, const Call& call);
// Bits of `layout.folds`: parameters that equal their default or are absent.
uint32_t fold_of(const ScalarLayout& layout, const Call& call);
// Whether a parameter is folded in or absent.
bool is_folded(const ScalarLayout& layout, uint32_t fold, int param);
// "approximate=tanh,~alpha": the attributes of a kernel's key.
std::string full_attributes(const Overload& overload, uint32_t attributes, uint32_t fold);

bool same_value(const Value& a, const Value& b);
std::string value_text(const Value& v);

}  // namespace fl
