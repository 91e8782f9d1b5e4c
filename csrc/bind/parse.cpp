#include "bind/parse.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "bind/parse_errors.h"
#include "bind/tensor_object.h"
#include "bind/values.h"

namespace fl {

Form make_form(const Overload& overload) {
  Form form;
  form.hidden = overload.op && overload.op->name.find(".old") != std::string::npos;
  form.overload = &overload;
  for (const Param& p : overload.params) {
    form.names.push_back(PyUnicode_InternFromString(p.name.c_str()));
    if (!p.keyword_only) ++form.positional;
  }
  int last = form.positional - 1;
  bool after_operand = last == 1 && overload.params[0].type == ParamType::Tensor;
  if (last < 0 || (last > 0 && !after_operand)) return form;
  const Param& p = overload.params[static_cast<size_t>(last)];
  if (p.type == ParamType::Ints && !p.optional) form.varargs = last;
  return form;
}

void Arguments::reset(size_t n) {
  clear();
  size_ = n;
  if (n > kInline) {
    heap_ = std::make_unique<Value[]>(n);
    values_ = heap_.get();
    return;
  }
  values_ = reinterpret_cast<Value*>(inline_);
  for (size_t i = 0; i < n; ++i) new (values_ + i) Value();
}

void Arguments::clear() {
  if (size_ <= kInline)
    for (size_t i = 0; i < size_; ++i) values_[i].~Value();
  heap_.reset();
  size_ = 0;
}

bool keyword_matches(const std::string& param, const char* given) {
  if (param == given) return true;
  auto any = [given](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [given](const char* n) { return std::strcmp(n, given) == 0; });
  };
  if (param == "self" || param == "input") return any({"input", "self", "x", "a", "x1"});
  if (param == "other") return any({"x2"});
  if (param == "dim") return any({"axis"});
  if (param == "keepdim") return any({"keepdims"});
  return false;
}

int find_keyword(const Form& form, PyObject* name) {
  for (size_t i = 0; i < form.names.size(); ++i)
    if (form.names[i] == name) return static_cast<int>(i);
  const char* text = PyUnicode_AsUTF8(name);
  if (!text) throw PythonError{};
  for (size_t i = 0; i < form.names.size(); ++i)
    if (keyword_matches(form.overload->params[i].name, text)) return static_cast<int>(i);
  return -1;
}

namespace {

bool starts_varargs(PyObject* o) { return !PyTuple_Check(o) && !PyList_Check(o) && o != Py_None; }

// Integers given one by one, from position `at` on.
bool collect_varargs(const Form& form, PyObject* const* args, Py_ssize_t at, Py_ssize_t n, Value& v) {
  Param element;
  element.type = ParamType::Int;
  std::vector<int64_t> ints;
  Value one;
  for (; at < n; ++at) {
    if (!from_python(args[at], element, one)) return false;
    ints.push_back(one.as_int());
  }
  const Param& param = form.overload->params[static_cast<size_t>(form.varargs)];
  if (ints.size() == 1 && param.list_size > 1) ints.resize(static_cast<size_t>(param.list_size), ints[0]);
  v = Value(std::move(ints));
  return true;
}

bool take(const Form& form, size_t i, PyObject* o, Value& v) {
  const Param& param = form.overload->params[i];
  if (!from_python(o, param, v)) return false;
  if (o == Py_None && param.has_default) v = param.default_value;  // `correction=None` is `correction=1`
  bool boxed = param.number && v.is_number() && form.overload->op->kind != BodyKind::Scalar;
  if (boxed) v = Value(wrapped_number_tensor(v));
  return true;
}

// `given`: bit i, parameter i has a value.
bool take_positional(const Form& form, PyObject* const* args, Py_ssize_t n, Arguments& out, uint64_t& given) {
  Py_ssize_t fixed = n;
  if (form.varargs >= 0 && n > form.varargs && (starts_varargs(args[form.varargs]) || n > form.positional)) {
    if (!collect_varargs(form, args, form.varargs, n, out[static_cast<size_t>(form.varargs)])) return false;
    given |= uint64_t{1} << form.varargs;
    fixed = form.varargs;
  }
  if (fixed > form.positional) return false;
  for (Py_ssize_t i = 0; i < fixed; ++i)
    if (!take(form, static_cast<size_t>(i), args[i], out[static_cast<size_t>(i)])) return false;
  given |= (uint64_t{1} << fixed) - 1;
  return true;
}

bool take_keywords(const OpGroup& group, const Form& form, PyObject* const* values, PyObject* kwnames, Arguments& out,
                   uint64_t& given) {
  Py_ssize_t n = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < n; ++k) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, k);
    int i = find_keyword(form, name);
    if (i < 0) {
      if (!group.takes_out || PyUnicode_CompareWithASCIIString(name, "out") != 0) return false;
      out.out = values[k] == Py_None ? nullptr : values[k];
      continue;
    }
    uint64_t bit = uint64_t{1} << i;
    if (given & bit) return false;
    if (!take(form, static_cast<size_t>(i), values[k], out[static_cast<size_t>(i)])) return false;
    given |= bit;
  }
  return true;
}

bool fill_defaults(const Form& form, Arguments& out, uint64_t given) {
  const std::vector<Param>& params = form.overload->params;
  for (size_t i = 0; i < params.size(); ++i) {
    if (given >> i & 1) continue;
    if (!params[i].has_default) return false;
    out[i] = params[i].default_value;
  }
  return true;
}

// Whether an argument is a tensor of no dimensions that stands for something else.
bool has_followed(PyObject* const* args, Py_ssize_t n) {
  for (Py_ssize_t i = 0; i < n; ++i)
    if (is_tensor(args[i]) && tensor_of(args[i])->flags & kIntercept && !tensor_of(args[i])->dim()) return true;
  return false;
}

bool parse_form(const OpGroup& group, const Form& form, PyObject* const* args, Py_ssize_t n, PyObject* kwnames,
                Arguments& out) {
  out.reset(form.names.size());
  out.out = nullptr;
  uint64_t given = 0;
  return take_positional(form, args, n, out, given) && take_keywords(group, form, args + n, kwnames, out, given) &&
         fill_defaults(form, out, given);
}

}  // namespace

const Form* parse(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, Arguments& out) {
  auto first = [&]() -> const Form* {
    for (const Form& form : group.forms)
      if (parse_form(group, form, args, n, kwnames, out)) return &form;
    return nullptr;
  };
  const Form* found = first();
  if (found || !has_followed(args, n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0))) return found;
  struct Look {
    bool before = std::exchange(tensors_as_numbers, true);
    ~Look() { tensors_as_numbers = before; }
  } look;
  return first();
}

}  // namespace fl
