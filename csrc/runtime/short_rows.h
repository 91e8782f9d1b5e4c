// Short rows beside operands that are the same for all of them (the channels of an image stored last, and a number for
// each): rows are joined to long ones, beside which such an operand stands as often as it takes.
#pragma once
#include <deque>
#include <optional>
#include <span>

#include "core/allocator.h"
#include "runtime/iteration.h"

namespace fl {

struct JoinedRows {
  std::deque<Scratch> copies;  // of what is repeated
  Iteration joined, rest;      // rest: fewer rows than are joined; maybe without elements
};

// Of an iteration that is collapsed; nothing where rows are not to be joined.
std::optional<JoinedRows> join_rows(const Iteration& it, int outputs, std::span<const DType> dtypes);

}  // namespace fl
