// The context of an error: [in add: self=(2, 3) float32 cpu, other=(4,) float32 cpu].
#include <string>

#include "autograd/text.h"
#include "bind/op_function.h"

namespace fl {
namespace {

// What is worth saying of an argument: tensors, lists of tensors and numbers. "" for the rest.
std::string argument_text(PyObject* o) {
  if (is_tensor(o)) return describe(*tensor_of(o));
  if (PyLong_Check(o) || PyFloat_Check(o)) {
    PyRef repr = PyRef::steal(PyObject_Repr(o));
    const char* text = repr ? PyUnicode_AsUTF8(repr.get()) : nullptr;
    if (!text) PyErr_Clear();
    return text ? text : "";
  }
  if (!PyTuple_Check(o) && !PyList_Check(o)) return "";
  constexpr Py_ssize_t kShown = 4;
  std::string text;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  for (Py_ssize_t i = 0; i < n && i < kShown; ++i) {
    std::string item = argument_text(PySequence_Fast_GET_ITEM(o, i));
    if (item.empty()) return "";
    text += (i ? ", " : "") + item;
  }
  return "[" + text + (n > kShown ? ", ..." : "") + "]";
}

std::string arguments_text(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  std::string text;
  auto add = [&text](const std::string& name, PyObject* o) {
    std::string value = argument_text(o);
    if (!value.empty()) text += (text.empty() ? "" : ", ") + name + "=" + value;
  };
  const std::vector<Param>& params = group.forms[0].overload->params;
  for (Py_ssize_t i = 0; i < n; ++i)
    add(static_cast<size_t>(i) < params.size() ? params[static_cast<size_t>(i)].name : "arg" + std::to_string(i),
        args[i]);
  Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    const char* name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, k));
    if (name) add(name, args[n + k]);
  }
  return text;
}

// Whether the table gives an operator no name that users could call it by. Those outside of the table have one.
bool is_internal(const Op* op) {
  if (!op || !op->python) return false;
  PyRef names = PyRef::steal(PyObject_GetAttrString(static_cast<PyObject*>(op->python), "names"));
  if (!names) PyErr_Clear();
  return names && PyObject_IsTrue(names.get()) == 0;
}

}  // namespace

void raise_in_call(const OpGroup& group, const Error& error, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  std::string sentence = error.what(), way_out;
  if (size_t tab = sentence.find('\t'); tab != std::string::npos) {
    way_out = " " + sentence.substr(tab + 1);
    sentence.resize(tab);
  }
  // Whoever knows more has said it already; a name that users cannot call tells them nothing.
  bool told = sentence.find("[in ") != std::string::npos || is_internal(group.forms[0].overload->op);
  if (std::string context = told ? "" : arguments_text(group, args, n, kwnames); !context.empty())
    sentence += " [in " + group.name + ": " + context + "]";
  PyErr_SetString(error_class(error.kind()), (sentence + way_out).c_str());
  throw PythonError{};
}

}  // namespace fl
