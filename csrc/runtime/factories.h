// New tensors, and tensors given new sizes.
#pragma once
#include "runtime/op.h"

namespace fl {

// Gives a tensor other sizes (contiguous, or in a format), its storage growing where it must; contents beyond are not set.
void resize_tensor(Tensor* t, IntSpan sizes, MemoryFormat format = MemoryFormat::Contiguous);
// As `out=` does: warns where the tensor had elements.
void resize_output(Tensor* t, IntSpan sizes);
// Set by bind: a warning for the user.
extern void (*warn_user)(const char* text);

}  // namespace fl
