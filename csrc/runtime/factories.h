// New tensors, and tensors given new sizes.
#pragma once
#include "runtime/op.h"

namespace fl {

// Gives a tensor other sizes (contiguous, or in a format), its storage growing where it must; contents beyond are not
// set.
void resize_tensor(Tensor* t, IntSpan sizes, MemoryFormat format = MemoryFormat::Contiguous);
// As `out=` does: warns where the tensor had elements.
void resize_output(Tensor* t, IntSpan sizes);
// Set by bind: a warning for the user.
extern void (*warn_user)(const char* text);

// Where new tensors live when nobody says so; each thread has its own.
Device default_device();
void set_default_device(Device device);

// dtype, device and requires_grad of a new tensor: four parameters in a row, of which any may be None.
//   ScalarType? dtype, Layout? layout, Device? device, bool? pin_memory, bool requires_grad
struct TensorOptions {
  DType dtype;
  Device device;
  bool requires_grad;
  // `at`: the first of these parameters. `like`: gives what is not said; null: the defaults.
  TensorOptions(const Call& call, int at, DType otherwise, const Tensor* like = nullptr);
  TensorRef empty(IntSpan sizes) const;
  TensorRef finish(TensorRef t) const;  // sets requires_grad
};

// Fresh memory of zeros.
void clear_tensor(Tensor* t);

}  // namespace fl
