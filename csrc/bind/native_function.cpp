#include "bind/native_function.h"

#include "bind/op_function.h"
#include "runtime/schema.h"

namespace fl {

void add_native_function(PyObject* module, const char* signature, ForwardFn forward, const char* doc) {
  Overload named;
  parse_signature(signature, named);
  Op& op = create_op(named.name, BodyKind::Native, {signature});
  op.forward = forward;
  op.has_gradient = false;
  auto* group = new OpGroup{named.name, {make_form(*op.overloads[0])}, false, false};
  PyRef function = checked(new_function(group, false));
  PyRef text = checked(PyUnicode_FromString(doc));
  check_status(PyObject_SetAttrString(function.get(), "__doc__", text.get()));
  add_object(module, named.name.c_str(), function.get());
}

}  // namespace fl
