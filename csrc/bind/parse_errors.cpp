#include "bind/parse_errors.h"

#include <algorithm>
#include <cstring>

#include "bind/tensor_object.h"
#include "bind/values.h"

namespace fl {
namespace {

const char* type_text(const Param& p) {
  switch (p.type) {
    case ParamType::Tensor: return "Tensor";
    case ParamType::Tensors: return "tuple of Tensors";
    case ParamType::Scalar: return "Number";
    case ParamType::Int: return "int";
    case ParamType::Float: return "float";
    case ParamType::Bool: return "bool";
    case ParamType::Str: return "str";
    case ParamType::Ints: return "tuple of ints";
    case ParamType::Floats: return "tuple of floats";
    case ParamType::DType: return "torch.dtype";
    case ParamType::Device: return "torch.device";
    case ParamType::Layout: return "torch.layout";
    case ParamType::MemoryFormat: return "torch.memory_format";
    case ParamType::Generator: return "torch.Generator";
    case ParamType::Any: return "object";
  }
  return "object";
}

std::string shown_name(const Param& p) { return p.name == "self" ? "input" : p.name; }

std::string default_text(const Param& p) {
  if (p.default_value.is_none()) return "None";
  PyRef value = checked(to_python(p.default_value));
  PyRef repr = checked(PyObject_Repr(value.get()));
  const char* text = PyUnicode_AsUTF8(repr.get());
  return text ? text : "";
}

// What PyTorch's parser takes a number for as for a tensor: one signature serves both.
bool takes_numbers_as_tensors(const OpGroup& group) {
  static constexpr const char* names[] = {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "copy_"};
  return std::any_of(std::begin(names), std::end(names), [&](const char* n) { return group.name == n; });
}

// The operands for which a number may stand; PyTorch has a signature for each.
std::vector<size_t> number_operands(const OpGroup& group, const Form& form) {
  std::vector<size_t> found;
  if (takes_numbers_as_tensors(group)) return found;
  for (size_t i = group.with_self ? 1 : 0; i < form.overload->params.size(); ++i)
    if (form.overload->params[i].number) found.push_back(i);
  return found;
}

// `number`: the operand for which a number stands.
std::string signature_text(const OpGroup& group, const Form& form, size_t number = SIZE_MAX) {
  std::string text = "(";
  bool keyword_only = false;
  const std::vector<Param>& params = form.overload->params;
  auto add = [&text](const std::string& part) { text += (text.size() > 1 ? ", " : "") + part; };
  for (size_t i = group.with_self ? 1 : 0; i < params.size(); ++i) {
    if (params[i].keyword_only && !std::exchange(keyword_only, true)) add("*");
    std::string part = std::string(i == number ? "Number" : type_text(params[i])) + " " + shown_name(params[i]);
    if (params[i].has_default) part += " = " + default_text(params[i]);
    add(part);
  }
  if (group.takes_out && !group.with_self) {
    if (!keyword_only) add("*");
    add("Tensor out = None");
  }
  return text + ")";
}

std::string type_name(PyObject* o) {
  if (PyTuple_Check(o) || PyList_Check(o)) {
    std::string text = std::string(Py_TYPE(o)->tp_name) + " of (";
    Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
    for (Py_ssize_t i = 0; i < n; ++i) text += (i ? ", " : "") + type_name(PySequence_Fast_GET_ITEM(o, i));
    return text + (n == 1 ? ",)" : ")");
  }
  std::string name = Py_TYPE(o)->tp_name;
  if (!name.starts_with("flambeau.")) return name;
  name = name.substr(name.rfind('.') + 1);
  static constexpr const char* named[] = {"Size", "device", "dtype", "layout", "memory_format"};
  if (std::any_of(std::begin(named), std::end(named), [&](const char* n) { return name == n; })) return "torch." + name;
  return name;
}

std::string short_type_name(PyObject* o) {
  return PyTuple_Check(o) || PyList_Check(o) ? Py_TYPE(o)->tp_name : type_name(o);
}

std::string given_text(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  std::string text;
  auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  for (Py_ssize_t i = group.with_self ? 1 : 0; i < n; ++i) add(type_name(args[i]));
  Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    const char* name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, k));
    add(std::string(name ? name : "?") + "=" + type_name(args[n + k]));
  }
  return text;
}

// Says what the one form that may have been meant has against the arguments.
class Complaint {
 public:
  Complaint(const OpGroup& group, const Form& form, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
      : group_(group), form_(form), params_(form.overload->params), args_(args), n_(n), kwnames_(kwnames) {}

  [[noreturn]] void raise_it() {
    std::vector<bool> given(params_.size());
    too_many();
    positional(given);
    const char* unknown = keywords(given);
    missing(given);
    if (unknown) unexpected(unknown);
    raise(PyExc_TypeError, "%s(): invalid arguments", name());
  }

 private:
  const char* name() const { return group_.name.c_str(); }
  Py_ssize_t hidden() const { return group_.with_self ? 1 : 0; }

  void too_many() {
    if (n_ <= form_.positional || form_.varargs >= 0) return;
    Py_ssize_t takes = form_.positional - hidden(), got = n_ - hidden();
    raise(PyExc_TypeError, "%s() takes %zd positional argument%s but %zd %s given", name(), takes,
          takes == 1 ? "" : "s", got, got == 1 ? "was" : "were");
  }

  void positional(std::vector<bool>& given) {
    Value v;
    for (Py_ssize_t i = 0; i < n_; ++i) {
      if (form_.varargs >= 0 && i >= form_.varargs) return varargs(given);
      const Param& p = params_[static_cast<size_t>(i)];
      given[static_cast<size_t>(i)] = true;
      if (from_python(args_[i], p, v)) continue;
      bad_items(p, args_[i], i + 1 - hidden());
      raise(PyExc_TypeError, "%s(): argument '%s' (position %zd) must be %s, not %s", name(), shown_name(p).c_str(),
            i + 1 - hidden(), type_text(p), short_type_name(args_[i]).c_str());
    }
  }

  void varargs(std::vector<bool>& given) {
    const Param& p = params_[static_cast<size_t>(form_.varargs)];
    given[static_cast<size_t>(form_.varargs)] = true;
    Value v;
    if (n_ == form_.positional && from_python(args_[form_.varargs], p, v)) return;
    Param element;
    element.type = ParamType::Int;
    Py_ssize_t first = form_.varargs;
    if (n_ == form_.positional) bad_items(p, args_[first], first + 1 - hidden());
    for (Py_ssize_t i = first; i < n_; ++i) {
      if (from_python(args_[i], element, v)) continue;
      if (i > first)
        raise(PyExc_TypeError,
              "%s(): argument '%s' failed to unpack the object at pos %zd with error \"type must be tuple of ints,but "
              "got %s\"",
              name(), p.name.c_str(), i + 1 - first, short_type_name(args_[i]).c_str());
      raise(PyExc_TypeError, "%s(): argument '%s' (position %zd) must be tuple of ints, not %s", name(), p.name.c_str(),
            i + 1 - hidden(), short_type_name(args_[i]).c_str());
    }
  }

  // A list that holds something else.
  void bad_items(const Param& p, PyObject* o, Py_ssize_t position) {
    if (!PyTuple_Check(o) && !PyList_Check(o)) return;
    Param element;
    element.type = p.type == ParamType::Tensors ? ParamType::Tensor : ParamType::Int;
    if (p.type != ParamType::Tensors && p.type != ParamType::Ints) return;
    element.optional = p.elements_optional;
    Value v;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(o, i);
      if (from_python(item, element, v)) continue;
      std::string got = type_name(item);
      if (p.type == ParamType::Tensors)
        raise(PyExc_TypeError, "expected Tensor as element %zd in argument %zd, but got %s", i, position - 1,
              got.c_str());
      if (i > 0)
        raise(PyExc_TypeError,
              "%s(): argument '%s' failed to unpack the object at pos %zd with error \"type must be tuple of ints,but "
              "got %s\"",
              name(), p.name.c_str(), i + 1, got.c_str());
      raise(PyExc_TypeError,
            "%s(): argument '%s' (position %zd) must be tuple of ints, but found element of type %s at pos 0", name(),
            p.name.c_str(), position, got.c_str());
    }
  }

  // The first keyword that names no parameter, or null.
  const char* keywords(std::vector<bool>& given) {
    const char* unknown = nullptr;
    Py_ssize_t n = kwnames_ ? PyTuple_GET_SIZE(kwnames_) : 0;
    Value v;
    for (Py_ssize_t k = 0; k < n; ++k) {
      PyObject* keyword = PyTuple_GET_ITEM(kwnames_, k);
      const char* text = PyUnicode_AsUTF8(keyword);
      int i = find_keyword(form_, keyword);
      if (i < 0) {
        bool taken = group_.takes_out && std::strcmp(text, "out") == 0;
        if (!taken && !unknown) unknown = text;
        continue;
      }
      const Param& p = params_[static_cast<size_t>(i)];
      if (given[static_cast<size_t>(i)])
        raise(PyExc_TypeError, "%s() got multiple values for argument '%s'", name(), text);
      given[static_cast<size_t>(i)] = true;
      if (!from_python(args_[n_ + k], p, v))
        raise(PyExc_TypeError, "%s(): argument '%s' must be %s, not %s", name(), shown_name(p).c_str(), type_text(p),
              short_type_name(args_[n_ + k]).c_str());
    }
    return unknown;
  }

  [[noreturn]] void unexpected(const char* keyword) {
    std::vector<std::string> names;
    for (const Param& p : params_) names.push_back(shown_name(p));
    std::string near = closest_name(keyword, names);
    std::string hint = near.empty() ? "" : ". Did you mean: '" + near + "'?";
    raise(PyExc_TypeError, "%s() got an unexpected keyword argument '%s'%s", name(), keyword, hint.c_str());
  }

  void missing(const std::vector<bool>& given) {
    std::string names;
    int count = 0;
    for (size_t i = 0; i < params_.size(); ++i) {
      if (given[i] || params_[i].has_default) continue;
      names += (count++ ? ", \"" : "\"") + shown_name(params_[i]) + "\"";
    }
    if (count)  // PyTorch's plural
      raise(PyExc_TypeError, "%s() missing %d required positional argument%s: %s", name(), count, count == 1 ? "s" : "",
            names.c_str());
  }

  const OpGroup& group_;
  const Form& form_;
  const std::vector<Param>& params_;
  PyObject* const* args_;
  Py_ssize_t n_;
  PyObject* kwnames_;
};

// Whether so many arguments may be meant for a form. Of several forms the longest is the one that surely takes `out`.
bool is_plausible(const OpGroup& group, const Form& form, size_t given) {
  const std::vector<Param>& params = form.overload->params;
  const auto asked = [](const Param& p) { return !p.has_default; };
  const size_t least = static_cast<size_t>(std::count_if(params.begin(), params.end(), asked));
  const auto longer = [&](const Form& other) { return other.names.size() > form.names.size(); };
  const bool out = group.takes_out && !group.with_self && std::ranges::none_of(group.forms, longer);
  return least <= given && (given <= form.names.size() + (out ? 1 : 0) || form.varargs >= 0);
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string closest_name(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t limit = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    if (distance >= limit || distance >= std::max(word.size(), candidate.size())) continue;
    limit = distance;
    best = candidate;
  }
  return best;
}

void raise_mismatch(const OpGroup& group, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  size_t given = static_cast<size_t>(n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
  const Form* meant = group.forms.size() == 1 ? &group.forms.front() : nullptr;
  int plausible = meant ? 1 : 0;
  std::string signatures;
  for (const Form& form : group.forms) {
    if (form.hidden) continue;
    if (group.forms.size() > 1 && is_plausible(group, form, given)) {
      meant = &form;
      ++plausible;
    }
    signatures += " * " + signature_text(group, form) + "\n";
    for (size_t number : number_operands(group, form)) signatures += " * " + signature_text(group, form, number) + "\n";
  }
  if (plausible == 1 && number_operands(group, *meant).empty()) Complaint(group, *meant, args, n, kwnames).raise_it();
  const bool several = std::count(signatures.begin(), signatures.end(), '\n') > 1;
  const std::string expected = several ? "one of:\n" + signatures : signatures.substr(3, signatures.size() - 4);
  raise(PyExc_TypeError, "%s() received an invalid combination of arguments - got (%s), but expected %s",
        group.name.c_str(), given_text(group, args, n, kwnames).c_str(), expected.c_str());
}

}  // namespace fl
