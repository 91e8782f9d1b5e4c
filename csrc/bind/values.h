// Python objects to Values and back.
#pragma once
#include "bind/python.h"
#include "runtime/op.h"

namespace fl {

// A new reference. Lists of integers become tuples.
PyObject* to_python(const Value& v);

// A Value for an argument of the type; false where the object does not fit. Raises where it fits and cannot be had.
bool from_python(PyObject* o, const Param& param, Value& v);
// Any Python number, NumPy's too; false for everything else. Raises for integers of more than 64 bits.
bool number_from_python(PyObject* o, Value& v);
// Whether tensors of subclasses that see their calls are asked for their element where a number is wanted.
extern constinit thread_local bool tensors_as_numbers;
// What a Python callback returned for `returns`.
Value result_from_python(PyObject* o, const Return& expected);

// The element of a tensor that has one; raises otherwise.
Value item_value(const Tensor& t);
// The same as a Python number; exact for uint64.
PyObject* item_object(const Tensor& t);
PyObject* element_object(const char* address, DType dtype);
// The number as a tensor of no dimensions that takes part in promotion weakly.
TensorRef wrapped_number_tensor(const Value& number);
// Keeps a Python object in a Value.
Value object_value(PyObject* o);

}  // namespace fl
