// Python's operators on tensors.
#pragma once
#include "bind/python.h"

namespace fl {

PyType_Slot* tensor_type_slots();
PyMethodDef tensor_complex_method();
void add_slots(PyObject* module);

}  // namespace fl
