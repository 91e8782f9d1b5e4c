// The operator table as C++ sees it: parsed signatures, and how each body runs.
//
// A signature is written in PyTorch's schema grammar, e.g.
//   add(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor
//   topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)
//   relu_(Tensor(a!) self) -> Tensor(a!)          transpose(Tensor(a) self, int dim0, int dim1) -> Tensor(a)
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/value.h"

namespace fl {

enum class ParamType : uint8_t {
  Tensor,
  Tensors,
  Scalar,
  Int,
  Float,
  Bool,
  Str,
  Ints,
  Floats,
  DType,
  Device,
  Layout,
  MemoryFormat,
  Generator,
  Any
};

struct Param {
  std::string name;
  ParamType type;
  bool optional = false;           // `Tensor?`, `int[]?`: None is accepted
  bool elements_optional = false;  // `Tensor?[]`
  bool number = false;  // a Tensor operand for which a Python number may stand; its Value is then the number itself
                        // for Scalar bodies, and a tensor of no dimensions with wrapped_number for the others
  bool keyword_only = false;
  bool has_default = false;
  Value default_value;
  int list_size = 0;       // `int[2]`: one int stands for both
  char alias = 0;          // 'a' of Tensor(a) / Tensor(a!)
  bool written = false;    // Tensor(a!)
  bool is_static = false;  // a static attribute: part of the kernel's key
  bool fold = false;       // run-time parameter, constant in the body where it equals its default
  char role = 'c';         // operand of a Scalar body: c takes part in promotion and is seen in the compute dtype,
                           // r is seen in its real counterpart, z in its complex one, k keeps its own dtype,
                           // m does and must be bool; d is as c, and no 0 where integers are computed.
                           // Scalar parameter: c takes part in promotion, a must not be of a higher kind than it,
                           // k neither; f neither, but it must fit the dtype that is computed in
};

struct Return {
  std::string name;  // fields of a named tuple
  ParamType type;
  char alias = 0;
  bool written = false;
};

struct Op;

struct Overload {
  Op* op = nullptr;
  std::string name;  // as users call it: "add", "add_" (an in-place form is an overload of the same operator)
  int index = 0;     // in op->overloads
  std::vector<Param> params;
  std::vector<Return> returns;
  bool is_view = false;  // a return aliases a parameter that is not written
  int mutated = -1;      // the parameter that is changed in place (Tensor(a!)), -1: none
  // How the elementwise driver reads the arguments; made at the first call (runtime/elementwise.cpp).
  mutable std::atomic<const struct ScalarLayout*> layout = nullptr;
};

enum class BodyKind : uint8_t { Scalar, Reduce, Row, Native, Loop, Composite };

// How the dtype of the result follows from the promoted dtype of the operands.
// Promote: the same. Float: integers compute in the default dtype. Bool, Int64, Int32: that dtype. Real, Complex: the
// real or complex counterpart. Input: the dtype of the first operand. Explicit: the last parameter, `int[] dtypes`,
// lists one an output (-1: the compute dtype). RealFloat: Float, then Real. Number: bools give int64.
enum class ResultRule : uint8_t {
  Promote,
  Float,
  Bool,
  Real,
  Input,
  Int64,
  Explicit,
  Int32,
  Complex,
  RealFloat,
  Number
};

// One call that is being run: arguments in the order of the parameters, defaults filled in.
struct Call {
  const Overload* overload;
  Value* args;
  Tensor* out = nullptr;  // of `out=`: operators that can write their result there may; see `takes_result`
  Op& op() const { return *overload->op; }
  const Value& operator[](int i) const { return args[i]; }
};

using Outputs = std::vector<Value>;
using ForwardFn = void (*)(const Call&, Outputs&);

// What backward needs of a Scalar or Row operator: made once by Python per (attributes, fold, complex, needs).
struct BackwardPlan {
  Op* derived = nullptr;  // null: every gradient is "g" or "0"
  struct Saved {
    bool output;
    int index;
  };  // operands of `derived` after the incoming gradients
  std::vector<Saved> saved;
  std::vector<int> outputs;  // per needed operand: k-th output of derived, kPassGrad or kZeroGrad
  static constexpr int kPassGrad = -1, kZeroGrad = -2;
};

struct Op {
  uint32_t id;
  std::string name;  // "add", "nn.functional.gelu" has name "gelu"
  BodyKind kind;
  ResultRule result = ResultRule::Promote;
  std::vector<ResultRule> results;  // one an output where they differ
  uint32_t dtypes = 0xffffffff;     // bit per DType that the operands may have after promotion
  // The sentence for others: "{got}" stands for "Long". Raised as NotImplementedError, or as the class it begins with
  // ("RuntimeError: ..."). Empty: "<name>_cpu" not implemented for 'Long'.
  std::string dtype_error;
  std::string out_error;   // for `out=` of another dtype ("{got}", "{want}"); empty: the kind of body decides
  std::string mask_error;  // for operands of role m; "{got}" is "Float", "{name}" is "float"
  uint32_t alone = 0;      // bit per DType whose tensors go with operands of the same dtype only
  // The sentence for those beside another dtype: "{want}" is operand 0's ("float"), "{name}" that of the first that
  // differs, "{operand}".
  std::string mixed_error;
  bool numbers_fit = false;  // numbers that stand for operands must fit the integers that are computed in
  std::vector<std::unique_ptr<Overload>> overloads;
  ForwardFn forward = nullptr;  // set by the kind, or by register_native
  bool has_gradient = true;     // false: results never require a gradient (comparisons, argmax)
  bool hand_gradient = false;   // the entry gives grad=: a traced program, not a derived one
  bool pure = false;            // a loop operator whose launch follows from sizes, strides, dtypes and numbers
  bool derived = false;         // made by ops.derive: operands have the compute dtype already
  int n_outputs = 1;
  int work = 1;                                   // of a Scalar body on an element, an addition being one
  void* python = nullptr;                         // the entry (borrowed, immortal): bodies of Composite and Loop, grad
  void* dispatch = nullptr;                       // per-kind data: kernel table slots, plans
  void* tape = nullptr;                           // autograd's data: gradient plans and programs by key
  std::atomic<struct HotKernels*> hot = nullptr;  // kernels of the plainest calls (runtime/elementwise.h)
};

// Adds an operator to the table. `name` is unique there ("scatter.src"); signatures may have several base names
// ("add", "add_"). Raises ValueError.
Op& create_op(std::string name, BodyKind kind, const std::vector<std::string>& signatures);
Op* find_op(std::string_view name);
Op& op_by_id(uint32_t id);
uint32_t op_count();  // ids are below this

// C++ implementations of Native bodies, found by name when the table registers the entry. Static objects.
struct RegisterNative {
  RegisterNative(const char* name, ForwardFn fn);
};
ForwardFn find_native(std::string_view name);

}  // namespace fl
