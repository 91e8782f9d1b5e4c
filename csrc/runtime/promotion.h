// Which dtype an operator computes in: PyTorch's rules for tensors, tensors of no dimensions and Python numbers.
#pragma once
#include "runtime/op.h"

namespace fl {

DType default_dtype();
void set_default_dtype(DType d);  // raises TypeError unless it is a floating-point type

// What a Python number is where no tensor says otherwise: bool, int64, the default dtype or its complex counterpart.
DType number_dtype(const Value& number);

// The dtype that operands promote to. A higher category decides, unless a lower one is of a higher kind
// (bool < integer < float < complex).
class Promotion {
 public:
  void add(const Tensor& t) { add(t, t.dtype); }
  void add(const Tensor& t, DType d);  // as if its dtype were d
  void add(const Value& number);
  bool empty() const { return !tensors_.set && !scalars_.set && !numbers_.set; }
  DType result() const;

 private:
  struct Category {
    bool set = false;
    DType dtype = DType::Bool;
    void add(DType d);
  };
  static Category combine(const Category& higher, const Category& lower);
  Category tensors_, scalars_, numbers_;
};

// Whether a result of type `from` may be written to a tensor of type `to`.
bool can_cast(DType from, DType to);
void check_can_cast(DType from, DType to);
// Raises NotImplementedError where the operator's table entry does not list the dtype.
void check_dtype(const Op& op, DType d);
// What C++ calls the type in PyTorch's sentences: "long int".
const char* dtype_c_name(DType d);
// A sentence with "{got}" replaced by "Long" and "{name}" by "long int".
std::string fill_in(std::string sentence, DType d);
// Raises RuntimeError where the number does not fit the integer type.
void check_number_fits(const Value& number, DType d, const char* name = nullptr);
// The same for every dtype: no complex number in real ones, no infinity and no nan in integers.
void check_number_casts(const Value& number, DType d);
void check_number_assigns(const Value& number, DType d);  // x[index] = number
// The number as one element of dtype d.
void write_number(const Value& number, DType d, void* to);
// One element as a number of its kind (bool, int, float or complex).
Value read_number(const void* from, DType d);

}  // namespace fl
