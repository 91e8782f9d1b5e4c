// Generator: a stream of random numbers.
#pragma once
#include "bind/python.h"
#include "runtime/random.h"
#include "runtime/value.h"

namespace fl {

// Generator parameters are Values that hold a fl::Generator. False for other objects.
bool generator_from_python(PyObject* o, Value& v);
// What an Object value is in Python: a Generator or the object itself.
PyObject* object_to_python(const Value& v);
void add_generator(PyObject* module);

}  // namespace fl
