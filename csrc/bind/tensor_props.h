// Properties and methods of Tensor that are no operators.
#pragma once
#include "bind/python.h"

namespace fl {

void add_tensor_properties(PyObject* module);

}  // namespace fl
