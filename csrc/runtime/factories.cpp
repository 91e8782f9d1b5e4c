#include "runtime/factories.h"

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/shape_text.h"

namespace fl {

void (*warn_user)(const char* text) = nullptr;

void resize_tensor(Tensor* t, IntSpan sizes, MemoryFormat format) {
  int64_t numel = checked_numel(sizes);
  int64_t end;
  bool overflow = __builtin_add_overflow(numel, t->offset, &end) ||
                  __builtin_mul_overflow(end, static_cast<int64_t>(t->itemsize()), &end);
  FL_CHECK(!overflow, ErrorKind::Runtime, "Storage size calculation overflowed with sizes=%s", shape_text(sizes).c_str());
  if (numel > 0 && static_cast<size_t>(end) > t->storage->bytes()) {
    FL_CHECK(t->storage->resizable(), ErrorKind::Runtime, "Trying to resize storage that is not resizable");
    t->storage->resize(static_cast<size_t>(end));
  }
  t->strides = format_strides(sizes, format);
  t->sizes = Dims(sizes);
  t->refresh();
}

void resize_output(Tensor* t, IntSpan sizes) {
  if (t->numel() != 0 && warn_user) {
    std::string text = "An output with one or more elements was resized since it had shape " + shape_text(t->sizes) +
                       ", which does not match the required output shape " + shape_text(sizes) +
                       ". Pass a tensor of that shape, or one without elements.";
    warn_user(text.c_str());
  }
  resize_tensor(t, sizes);
}

}  // namespace fl
