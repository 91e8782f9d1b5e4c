// From an operator, its attributes, dtypes and stride classes to the address of a kernel. Looking up takes no lock.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "runtime/op.h"

namespace fl {

// A run-time parameter: a double, an int64 or a complex double.
union Slot {
  double f;
  int64_t i;
  double c[2];
};

using ElementKernel = void (*)(char** ptr, const int64_t* stride, int64_t n, int64_t m, const Slot* params);

// Streamed: a contiguous output too large for the caches, written past them; its rows start at multiples of 64 bytes.
// Turned: an input that is contiguous from row to row. Reversed: an input that is read backwards.
enum class StrideClass : uint8_t { Contiguous, Broadcast, Strided, Streamed, Turned, Reversed };

constexpr int kMaxOperands = 20;
constexpr int kMaxFolds = 16;

struct KernelKey {
  uint64_t op = 0;            // operator, attributes, fold mask
  uint64_t operands[3] = {};  // eight bits an operand: dtype and stride class, outputs first
  bool operator==(const KernelKey&) const = default;

  void set_operand(int position, DType dtype, StrideClass c) {
    uint64_t code = 1 + (static_cast<uint64_t>(dtype) | static_cast<uint64_t>(c) << 5);
    operands[position / 8] |= code << (8 * (position % 8));
  }
};

constexpr uint64_t op_key(uint32_t op, uint32_t attrs, uint32_t fold) {
  return static_cast<uint64_t>(op) << 40 | static_cast<uint64_t>(attrs) << 16 | fold;
}

// What a kernel is asked for with where no table has it yet: operator|variant|attributes|dtypes|classes.
// `attributes` lists name=value for the static ones, then ~name for every parameter that is folded in or absent.
struct KernelRequest {
  const Overload& overload;
  std::string attributes;
  std::span<const DType> dtypes;
  std::span<const StrideClass> classes;
};
std::string key_text(const KernelRequest& request);

// Set by bind: asks flambeau.codegen for a kernel (its pack, the user's cache, or a new one). Takes the GIL.
extern void* (*kernel_resolver)(const std::string& key);

// The address for a key, or null.
void* find_kernel(const KernelKey& key);
// Resolves a kernel that find_kernel does not know and remembers it.
void* resolve_kernel(const KernelKey& key, const KernelRequest& request);

// A small number for a text of attributes, the same for the same text as long as the process lives; "" is 0.
uint32_t intern_attributes(const std::string& text);
std::string attributes_text(uint32_t id);

int64_t kernel_count();
// Around fork(): the table's lock is held while the process is copied.
void kernel_table_before_fork();
void kernel_table_after_fork();

}  // namespace fl
