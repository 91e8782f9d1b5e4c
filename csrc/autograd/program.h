// Gradients as data: derived programs of scalar and row operators, and traced programs of hand-written gradients.
#pragma once
#include "autograd/saved.h"

namespace fl {

// One source of an argument while a gradient program runs. Slots: the arguments of the forward call by parameter, then
// its outputs, then the incoming gradients, then results of instructions.
struct Source {
  enum class Kind : uint8_t {
    Const,  // value
    Slot,   // slot
    Item,   // element `index` of the list in `slot` (Tensor[], int[])
    Sizes,  // sizes of the tensor in `slot` (of element `index` of its list, -1: it is no list)
    Size,   // one size: dimension `dim`, negative counts from the end
    Numel,
    DType,
    Device,
    List,  // of `parts`
    Add,
    Sub,
    Mul,
    FloorDiv,
    TrueDiv,
    Mod,
    Neg,
    Max,
    Min,  // numbers: `parts`
  };
  Kind kind = Kind::Const;
  int slot = -1, index = -1, dim = 0;
  ParamType list = ParamType::Ints;  // of List: Tensors, Ints or Floats
  Value value;
  std::vector<Source> parts;
};

struct Instruction {
  const Overload* overload = nullptr;
  std::vector<Source> args;  // by parameter
  std::vector<int> drops;    // slots that nobody reads after this
  int first_slot = 0;        // where results go
  uint64_t serves = 0;       // results of the program that depend on it, see GradProgram::bit_of
};

struct GradProgram {
  // What a node keeps of the forward call: whole values, or only the metadata of tensors.
  struct Kept {
    bool output;
    int index;  // parameter or output
    bool data;  // false: sizes, dtype and device only
  };
  std::vector<Kept> kept;
  std::vector<Instruction> code;
  std::vector<Source> results;  // one a flattened tensor argument; Const None: no gradient
  int first_gradient = 0;       // slot of the first incoming gradient
  int n_slots = 0;

  // The bit that stands for a result where only some are wanted; those from 64 on share one.
  static uint64_t bit_of(size_t result) { return uint64_t{1} << (result < 63 ? result : 63); }
  // Finds out which results each instruction serves, when the program is whole.
  void find_uses();
};

using Needs = SmallList<bool, 8>;  // by tensor argument, lists flattened

// Set by bind. `attributes`: as in the kernel's key (full_attributes); `needs`: bit i for the i-th Tensor operand.
// Null: the operator has no gradient.
extern BackwardPlan* (*backward_planner)(Op&, const std::string& attributes, bool complex, uint32_t needs);
// Traces the hand-written gradient for this kind of call. `by_value` names the int and float parameters (bits) that the
// function looked at: their values become part of the key. Null: the operator has no gradient.
extern GradProgram* (*program_tracer)(const Call&, const Outputs&, const Needs& needs, uint64_t& by_value);

}  // namespace fl
