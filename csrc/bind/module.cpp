// The extension module flambeau._core.
#include <nanobind/nanobind.h>

#include "bind/autograd_node.h"
#include "bind/class_checks.h"
#include "bind/construct.h"
#include "bind/generator.h"
#include "bind/hooks.h"
#include "bind/interop.h"
#include "bind/kernels.h"
#include "bind/modes.h"
#include "bind/module_calls.h"
#include "bind/op_function.h"
#include "bind/seen_function.h"
#include "bind/storage_object.h"
#include "bind/tensor_object.h"
#include "bind/tensor_props.h"
#include "bind/tensor_slots.h"
#include "bind/types.h"

NB_MODULE(_core, m) {
  using namespace fl;
  m.attr("__version__") = FLAMBEAU_VERSION;
  PyObject* module = m.ptr();
  try {
    add_types(module);
    add_generator(module);
    add_storage(module);
    add_modes(module);
    add_seen_function(module);
    add_op_functions(module);
    make_tensor_type(tensor_type_slots());
    add_object(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type));
    add_tensor_properties(module);
    add_slots(module);
    add_registration(module);
    add_composites(module);
    add_construction(module);
    add_numpy(module);
    add_dlpack(module);
    add_hooks(module);
    add_module_calls(module);
    add_class_checks(module);
    add_kernels(module);
    add_system(module);
    add_autograd(module);
  } catch (const PythonError&) { throw nanobind::python_error(); }
}
