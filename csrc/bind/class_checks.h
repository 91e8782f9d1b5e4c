// What the losses of classes ask of their operands.
#pragma once
#include "bind/python.h"

namespace fl {

void add_class_checks(PyObject* module);

}  // namespace fl
