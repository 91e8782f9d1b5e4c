// A value kept for backward, with the version it had.
#pragma once
#include "autograd/node.h"

namespace fl {

class Saved {
 public:
  Saved() = default;
  // Anything but a tensor is kept as it is. An output of the node itself is kept without its history.
  Saved(const Value& value, bool is_output, uint32_t output_nr = 0);
  // Raises where the value was changed in place since, and where it was freed. `owner` restores the history of an
  // output.
  Value unpack(Node* owner) const;
  void reset() {
    value_ = Value();
    freed_ = true;
  }

 private:
  TensorRef restore(Node* owner) const;

  Value value_;
  uint32_t version_ = 0;
  uint16_t output_nr_ = 0;
  bool is_output_ = false, freed_ = false, packed_ = false;
};

// Set by bind while saved-tensor hooks may be active on this thread: returns null where there are none.
extern std::shared_ptr<void> (*pack_saved)(Tensor*);
extern TensorRef (*unpack_saved)(void*);

// What an in-place call changes, as it was, with the history that it had.
TensorRef before_change(Tensor* t);

// Remembers which operator changed a storage last, for the message of a stale saved value. A small ring: old entries
// go.
void note_change(const Storage* storage, uint32_t version, const Overload& by);

[[noreturn]] void fail_freed();

}  // namespace fl
