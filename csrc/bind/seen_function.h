// Functions written in Python that modes see as one call.
#pragma once
#include "bind/python.h"

namespace fl {

void add_seen_function(PyObject* module);

}  // namespace fl
