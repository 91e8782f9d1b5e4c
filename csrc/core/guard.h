// FLAMBEAU_GUARD: blocks on pages of their own between protected pages. An access just outside faults at once, and so
// does one to a block that was freed a short while ago.
#pragma once
#include <cstddef>

namespace fl {

// Whether the environment asked for it; fixed when the library is loaded.
extern const bool guard_mode;
void* guard_allocate(size_t bytes);  // nullptr where there is no memory
void guard_deallocate(void* p, size_t bytes) noexcept;
void guard_before_fork();
void guard_after_fork();

}  // namespace fl
