// x[...] and x[...] = value.
#pragma once
#include "bind/python.h"

namespace fl {

PyObject* get_item(PyObject* self, PyObject* key);
int set_item(PyObject* self, PyObject* key, PyObject* value);

}  // namespace fl
