#include "runtime/scalar_layout.h"

#include <cstdio>

#include "core/error.h"

namespace fl {

namespace {

bool is_number_type(ParamType t) {
  return t == ParamType::Scalar || t == ParamType::Float || t == ParamType::Int || t == ParamType::Bool;
}

const ScalarLayout* make_layout(const Overload& o) {
  auto* l = new ScalarLayout;
  for (size_t i = 0; i < o.params.size(); ++i) {
    const Param& p = o.params[i];
    auto at = static_cast<int>(i);
    if (o.op->result == ResultRule::Explicit && p.name == "dtypes") {
      l->dtypes = at;
    } else if (p.type == ParamType::Tensor && p.written && p.keyword_only) {
      l->outs.push_back(at);
    } else if (p.type == ParamType::Tensor) {
      if (p.written) l->written = static_cast<int>(l->operands.size());
      l->operands.push_back(at);
      if (p.optional) l->folds.push_back(at);
    } else if (p.is_static || !is_number_type(p.type)) {
      l->statics.push_back(at);
    } else {
      l->numbers.push_back(at);
      if (p.fold || p.optional) l->folds.push_back(at);
    }
  }
  FL_CHECK(l->folds.size() <= static_cast<size_t>(kMaxFolds), ErrorKind::Value, "%s: too many optional parameters",
           o.op->name.c_str());
  return l;
}

bool matches(const ScalarLayout& layout, const ScalarLayout::Known& known, const Call& call) {
  for (size_t i = 0; i < layout.statics.size(); ++i)
    if (!same_value(known.values[i], call[layout.statics[i]])) return false;
  return true;
}

uint32_t remember(const ScalarLayout& layout, const Call& call) {
  std::string text;
  auto* fresh = new ScalarLayout::Known;
  for (int at : layout.statics) {
    const Value& v = call[at];
    text += (text.empty() ? "" : ",") + call.overload->params[static_cast<size_t>(at)].name + "=" + value_text(v);
    fresh->values.push_back(v);
  }
  fresh->id = intern_attributes(text);
  fresh->next = layout.known.load(std::memory_order_acquire);
  while (!layout.known.compare_exchange_weak(fresh->next, fresh, std::memory_order_acq_rel)) {}
  return fresh->id;
}

}  // namespace

const ScalarLayout& scalar_layout(const Overload& overload) {
  const ScalarLayout* l = overload.layout.load(std::memory_order_acquire);
  if (l) [[likely]]
    return *l;
  const ScalarLayout* made = make_layout(overload);
  if (overload.layout.compare_exchange_strong(l, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *l;
}

uint32_t attributes_of(const ScalarLayout& layout, const Call& call) {
  if (layout.statics.empty()) return 0;
  for (const auto* k = layout.known.load(std::memory_order_acquire); k; k = k->next)
    if (matches(layout, *k, call)) return k->id;
  return remember(layout, call);
}

uint32_t fold_of(const ScalarLayout& layout, const Call& call) {
  uint32_t fold = 0;
  for (size_t bit = 0; bit < layout.folds.size(); ++bit) {
    const Param& p = call.overload->params[static_cast<size_t>(layout.folds[bit])];
    const Value& v = call[layout.folds[bit]];
    if (v.is_none() || (p.fold && same_value(v, p.default_value))) fold |= 1u << bit;
  }
  return fold;
}

bool is_folded(const ScalarLayout& layout, uint32_t fold, int param) {
  for (size_t bit = 0; fold >> bit; ++bit)
    if (layout.folds[bit] == param) return fold >> bit & 1;
  return false;
}

std::string full_attributes(const Overload& overload, uint32_t attributes, uint32_t fold) {
  std::string text = attributes_text(attributes);
  const ScalarLayout& layout = scalar_layout(overload);
  for (size_t bit = 0; bit < layout.folds.size(); ++bit)
    if (fold >> bit & 1)
      text += (text.empty() ? "~" : ",~") + overload.params[static_cast<size_t>(layout.folds[bit])].name;
  return text;
}

// An int equals the float of the same value: 1 and 1.0 fold alike.
bool same_value(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_complex() == b.as_complex();
  if (a.tag() != b.tag()) return false;
  switch (a.tag()) {
    case Value::Tag::None: return true;
    case Value::Tag::DType: return a.dtype() == b.dtype();
    case Value::Tag::Str: return a.str() == b.str();
    case Value::Tag::Ints: return a.ints() == b.ints();
    case Value::Tag::Floats: return a.floats() == b.floats();
    default: return false;
  }
}

std::string value_text(const Value& v) {
  char digits[64];
  switch (v.tag()) {
    case Value::Tag::None: return "None";
    case Value::Tag::Bool: return v.as_bool() ? "True" : "False";
    case Value::Tag::Int: return std::to_string(v.as_int());
    case Value::Tag::Float: std::snprintf(digits, sizeof digits, "%.17g", v.as_double()); return digits;
    case Value::Tag::DType: return dtype_code(v.dtype());
    case Value::Tag::Str: {
      // '|' and ',' separate the parts of a key.
      for (char c : v.str())
        FL_CHECK(c != '|' && c != ',' && c != '=' && c != '\n', ErrorKind::Value, "unexpected value '%s'",
                 v.str().c_str());
      return v.str();
    }
    case Value::Tag::Ints: {
      std::string text = "[";
      for (size_t i = 0; i < v.ints().size(); ++i) text += (i ? ";" : "") + std::to_string(v.ints()[i]);
      return text + "]";
    }
    default: fail(ErrorKind::Type, "a value of this kind cannot be a static attribute");
  }
}

}  // namespace fl
