#include "runtime/schema.h"

#include <cctype>
#include <charconv>
#include <optional>

#include "core/error.h"

namespace fl {
namespace {

struct TypeName {
  std::string_view text;
  ParamType type;
};
constexpr TypeName kTypeNames[] = {
    {"Tensor", ParamType::Tensor},
    {"Scalar", ParamType::Scalar},
    {"int", ParamType::Int},
    {"SymInt", ParamType::Int},
    {"float", ParamType::Float},
    {"bool", ParamType::Bool},
    {"str", ParamType::Str},
    {"ScalarType", ParamType::DType},
    {"Device", ParamType::Device},
    {"Layout", ParamType::Layout},
    {"MemoryFormat", ParamType::MemoryFormat},
    {"Generator", ParamType::Generator},
    {"Any", ParamType::Any},
};

// Names that defaults of dtype and memory format parameters use.
std::optional<Value> named_constant(std::string_view name) {
  if (name == "None") return Value();
  if (name == "True") return Value(true);
  if (name == "False") return Value(false);
  if (name == "contiguous_format") return Value(MemoryFormat::Contiguous);
  if (name == "preserve_format") return Value(MemoryFormat::Preserve);
  if (name == "long") return Value(DType::I64);
  if (name == "inf") return Value(__builtin_inf());
  for (int i = 0; i < kDTypes; ++i)
    if (name == dtype_name(static_cast<DType>(i))) return Value(static_cast<DType>(i));
  return std::nullopt;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  void signature(Overload& o) {
    std::string_view name = word();
    o.name = name;
    if (accept(".")) word();  // the overload's own name is for people
    expect("(");
    bool keyword_only = false;
    while (!accept(")")) {
      if (accept("*")) {
        keyword_only = true;
      } else {
        o.params.push_back(param(keyword_only));
      }
      if (!peek(')')) expect(",");
    }
    expect("->");
    returns(o);
    skip_space();
    if (at_ != text_.size()) error("the end");
    relate(o);
  }

 private:
  [[noreturn]] void error(const char* wanted) const {
    fail(ErrorKind::Value, "signature '%.*s': expected %s at position %zu", static_cast<int>(text_.size()),
         text_.data(), wanted, at_);
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool peek(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool accept(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(const char* token) {
    if (!accept(token)) error(token);
  }
  std::string_view word() {
    skip_space();
    size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) ++at_;
    if (at_ == start) error("a name");
    return text_.substr(start, at_ - start);
  }

  struct Type {
    ParamType type;
    bool optional = false, elements_optional = false, written = false;
    char alias = 0;
    int list_size = 0;
  };
  Type type() {
    Type t{base_type()};
    if (accept("(")) {
      t.alias = word()[0];
      t.written = accept("!");
      expect(")");
    }
    t.optional = accept("?");
    if (accept("[")) {
      t.elements_optional = std::exchange(t.optional, false);
      if (!peek(']')) t.list_size = static_cast<int>(integer());
      expect("]");
      t.type = list_of(t.type);
      t.optional = accept("?");
    }
    return t;
  }
  ParamType base_type() {
    std::string_view name = word();
    for (const TypeName& known : kTypeNames)
      if (known.text == name) return known.type;
    at_ -= name.size();
    error("a type");
  }
  ParamType list_of(ParamType element) {
    if (element == ParamType::Tensor) return ParamType::Tensors;
    if (element == ParamType::Int) return ParamType::Ints;
    if (element == ParamType::Float || element == ParamType::Scalar) return ParamType::Floats;
    error("a list of Tensor, int or float");
  }
  int64_t integer() {
    skip_space();
    int64_t v = 0;
    auto [end, status] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), v);
    if (status != std::errc()) error("an integer");
    at_ = static_cast<size_t>(end - text_.data());
    return v;
  }

  Param param(bool keyword_only) {
    Type t = type();
    Param p;
    p.type = t.type;
    p.optional = t.optional;
    p.elements_optional = t.elements_optional;
    p.alias = t.alias;
    p.written = t.written;
    p.list_size = t.list_size;
    p.keyword_only = keyword_only;
    p.name = word();
    p.is_static = t.type == ParamType::Str || t.type == ParamType::Bool || t.type == ParamType::DType;
    if (accept("=")) {
      p.has_default = true;
      p.default_value = default_value(p);
    }
    return p;
  }

  Value default_value(const Param& p) {
    if (peek('[') || peek('(')) return list_default(p.type);
    if (peek('\'') || peek('"')) return Value(quoted());
    if (std::isalpha(static_cast<unsigned char>(text_[at_]))) {
      size_t start = at_;
      accept("torch.");
      std::optional<Value> v = named_constant(word());
      if (v) return fit(*v, p.type);
      at_ = start;
      error("a constant");
    }
    return fit(number(), p.type);
  }
  std::string quoted() {
    char quote = text_[at_++];
    size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) error("a closing quote");
    std::string s(text_.substr(at_, end - at_));
    at_ = end + 1;
    return s;
  }
  Value number() {
    size_t start = at_;
    double d = 0;
    auto [end, status] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), d);
    if (status != std::errc()) error("a default value");
    at_ = static_cast<size_t>(end - text_.data());
    std::string_view spelling = text_.substr(start, at_ - start);
    if (spelling.find_first_of(".en") != std::string_view::npos) return Value(d);
    at_ = start;
    return Value(integer());
  }
  // An int default of a float parameter is a float, one of an int[2] parameter stands for both.
  static Value fit(Value v, ParamType type) {
    if (type == ParamType::Float && v.is_number()) return Value(v.as_double());
    if (type == ParamType::Ints && v.tag() == Value::Tag::Int) return Value(std::vector<int64_t>{v.as_int()});
    return v;
  }
  Value list_default(ParamType type) {
    std::vector<double> floats;
    std::vector<int64_t> ints;
    bool square = accept("[");
    if (!square) expect("(");
    while (!accept(square ? "]" : ")")) {
      skip_space();
      Value v = accept("True") ? Value(int64_t{1}) : accept("False") ? Value(int64_t{0}) : number();
      ints.push_back(v.as_int());
      floats.push_back(v.as_double());
      accept(",");
    }
    if (type == ParamType::Floats) return Value(std::move(floats));
    if (type == ParamType::Tensors) return Value(std::vector<TensorRef>{});
    return Value(std::move(ints));
  }

  void returns(Overload& o) {
    if (!accept("(")) {
      o.returns.push_back(returned());
      return;
    }
    while (!accept(")")) {
      o.returns.push_back(returned());
      if (!peek(')')) expect(",");
    }
  }
  Return returned() {
    Type t = type();
    Return r{.name = {}, .type = t.type, .alias = t.alias, .written = t.written};
    skip_space();
    if (at_ < text_.size() && std::isalpha(static_cast<unsigned char>(text_[at_]))) r.name = word();
    return r;
  }

  static void relate(Overload& o) {
    for (size_t i = 0; i < o.params.size(); ++i)
      if (o.params[i].written && o.mutated < 0) o.mutated = static_cast<int>(i);
    for (const Return& r : o.returns)
      for (const Param& p : o.params) o.is_view |= r.alias && r.alias == p.alias && !p.written;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

void parse_signature(std::string_view text, Overload& overload) { Parser(text).signature(overload); }

}  // namespace fl
