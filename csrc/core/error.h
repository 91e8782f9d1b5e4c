// The one exception of the core. `bind` maps the kind to Python's class, and puts the operator and its arguments behind
// the sentence of an error that an operator raised. Text after a tab is the way out: it comes last.
#pragma once
#include <exception>
#include <string>
#include <utility>

namespace fl {

enum class ErrorKind { Runtime, Type, Value, Index, NotImplemented, Memory, Attribute, Import, OS, Assertion };

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
  std::string message_;
};

// printf-style; always throws.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(ErrorKind kind, const char* format, ...);
#define FL_CHECK(condition, kind, ...) \
  do {                                 \
    if (!(condition)) [[unlikely]]     \
      ::fl::fail(kind, __VA_ARGS__);   \
  } while (0)

}  // namespace fl
