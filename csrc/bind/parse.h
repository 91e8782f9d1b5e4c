// From Python arguments to an overload and its Values, by the signature.
#pragma once
#include <memory>
#include <vector>

#include "bind/python.h"
#include "runtime/op.h"

namespace fl {

// An overload with what the parser wants to know of it ready.
struct Form {
  const Overload* overload;
  std::vector<PyObject*> names;  // interned
  int positional = 0;            // parameters that may be given by position
  int varargs = -1;              // the int[] parameter whose integers may be given one by one
  bool hidden = false;           // never shown in messages
};

// All overloads that are reached under one name.
struct OpGroup {
  std::string name;
  std::vector<Form> forms;
  bool takes_out = false;  // functions: `out=` is accepted though no signature says so
  bool with_self = false;  // a method: messages do not count the first parameter
};
Form make_form(const Overload& overload);

// The arguments of one call. Values lie on the stack where they are few.
class Arguments {
 public:
  Arguments() = default;
  ~Arguments() { clear(); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
  void reset(size_t n);
  Value& operator[](size_t i) { return values_[i]; }
  Value* data() { return values_; }
  size_t size() const { return size_; }

  PyObject* out = nullptr;  // borrowed: the value of `out=` that no parameter takes

 private:
  void clear();
  static constexpr size_t kInline = 10;
  size_t size_ = 0;
  alignas(Value) unsigned char inline_[kInline * sizeof(Value)];
  std::unique_ptr<Value[]> heap_;
  Value* values_ = nullptr;
};

// The first form that takes the arguments, or null. Raises where a value fits and cannot be had.
const Form* parse(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, Arguments& out);
// The TypeError for arguments that no form takes.
[[noreturn]] void raise_mismatch(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);

}  // namespace fl
