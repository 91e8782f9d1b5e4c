// UntypedStorage: the bytes of a tensor.
#pragma once
#include "bind/python.h"
#include "core/storage.h"

namespace fl {

PyObject* storage_object(Ref<Storage> storage);
// Null where the object is no storage.
Storage* storage_of(PyObject* o);
void add_storage(PyObject* module);

}  // namespace fl
