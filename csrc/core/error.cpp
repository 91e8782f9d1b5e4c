#include "core/error.h"

#include <cstdarg>
#include <cstdio>

namespace fl {

void fail(ErrorKind kind, const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string message(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  std::vsnprintf(message.data(), message.size() + 1, format, again);
  va_end(again);
  throw Error(kind, std::move(message));
}

}  // namespace fl
