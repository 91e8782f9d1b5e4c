// dtype, device, layout, memory_format and Size: the small values of the public interface.
#pragma once
#include "bind/python.h"
#include "core/tensor.h"
#include "runtime/value.h"

namespace fl {

extern PyTypeObject *dtype_type, *device_type, *layout_type, *memory_format_type, *size_type;

// Borrowed: singletons that live as long as the process.
PyObject* dtype_object(DType d);
PyObject* memory_format_object(MemoryFormat f);
PyObject* strided_layout();
PyObject* device_object(Device d);  // new reference
PyObject* size_object(IntSpan v);   // new reference

// False where the object is something else; raises where it names something this build has not.
bool to_dtype(PyObject* o, DType& d);    // dtypes, and Python's float, int, bool, complex
bool to_device(PyObject* o, Device& d);  // devices, strings, integers
bool to_memory_format(PyObject* o, MemoryFormat& f);
bool is_strided_layout(PyObject* o);  // raises for the other layouts

void add_types(PyObject* module);

}  // namespace fl
