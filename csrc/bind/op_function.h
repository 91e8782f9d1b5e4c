// The callables that users see: `flambeau.add` (a function) and `Tensor.add` (the same group of overloads as a method).
#pragma once
#include "bind/parse.h"
#include "bind/tensor_object.h"
#include "runtime/op.h"

namespace fl {

struct OpFunction {
  PyObject_HEAD vectorcallfunc call;
  OpGroup* group;  // lives as long as the process
  PyObject* dict;  // __doc__, __module__ and what users set
  PyObject* weakrefs;
  PyObject* method;  // of a function: the method over the same group, made when asked for
  // The plainest call: this many leading tensors, everything else at its default. 0: there is none.
  int operands;
  const Form* plain;
  const Value* defaults;  // all arguments of the plainest call, operands empty
  Op* raw;                // a composite that parses its arguments itself
  Op* elementwise;        // a Scalar operator without parameters to look at: may skip boxing altogether
};

extern PyTypeObject *function_type, *method_type;
inline bool is_op_function(PyObject* o) { return Py_TYPE(o) == function_type || Py_TYPE(o) == method_type; }

// The general call: handlers, parsing, dispatch. Raises Python's error and returns null.
PyObject* call_function(OpFunction* f, PyObject* const* args, size_t nargsf, PyObject* kwnames);
// Two operands without keywords, by the shortest way there is.
PyObject* call_binary(OpFunction* f, PyObject* a, PyObject* b);
PyObject* call_unary(OpFunction* f, PyObject* a);

// Runs a parsed call and returns what the user gets.
PyRef run_form(const Form& form, Arguments& args);
// The function registered under a public name ("add"), for slots and methods that C++ implements on top of operators.
OpFunction* function_named(const char* name);

// results.cpp: what an operator returned, as the user sees it: a tensor, a tuple or a named tuple.
PyRef results_to_python(const Overload& overload, Outputs& outputs);
PyRef name_results(const Overload& overload, PyRef tuple);
// composite.cpp
// A composite that wants its arguments as they were given, unparsed.
bool is_raw_composite(const Op& op);
PyRef run_raw_composite(Op& op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);
PyRef run_composite(const Overload& overload, const Value* args);
void composite_forward(const Call& call, Outputs& outputs);
// error_context.cpp: raises Python's error for one that an operator raised, with what it was called with.
[[noreturn]] void raise_in_call(const OpGroup& group, const Error& error, PyObject* const* args, Py_ssize_t n,
                                PyObject* kwnames);
// out.cpp. Where no dtype is given, results are made in that of `out=`.
void take_dtype_of_out(const Form& form, Arguments& args);
// The tensor of `out=`, or null; raises where an elementwise operator would read what it has written.
Tensor* out_of_call(const Overload& overload, Arguments& args);
// Writes what a call returned to the tensors given as `out=`, as far as it is not there yet, and returns these.
PyRef write_out(const Overload& overload, PyRef result, PyObject* out);

void add_op_functions(PyObject* module);
void add_registration(PyObject* module);
void add_composites(PyObject* module);
PyObject* new_function(OpGroup* group, bool method);

}  // namespace fl
