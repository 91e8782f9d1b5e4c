// Memory of the small objects that every call makes and drops: a thread keeps the last few of a kind to itself.
#pragma once
#include <new>

namespace fl {

template <class T>
class ObjectCache {
 public:
  static void* take() {
    Slots& s = slots;
    return s.count > 0 ? s.items[--s.count] : ::operator new(sizeof(T));
  }

  static void give(void* p) noexcept {
    Slots& s = slots;
    if (s.count < s.capacity) [[likely]] {
      s.items[s.count++] = p;
    } else {
      give_slowly(p);
    }
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int kKeep = 0;  // AddressSanitizer watches freed objects itself
#else
  static constexpr int kKeep = 64;
#endif

  // Trivially destructible, so that objects which die after it, while the thread ends, still find a valid state.
  struct Slots {
    int count = 0;
    int capacity = 0;
    bool opened = false;
    void* items[kKeep + 1] = {};
  };

  struct Closer {
    ~Closer() {
      slots.capacity = 0;
      while (slots.count > 0) ::operator delete(slots.items[--slots.count]);
    }
  };

  static void give_slowly(void* p) noexcept {
    if (!slots.opened) {
      static thread_local Closer closer;
      (void)closer;
      slots.opened = true;
      slots.capacity = kKeep;
    }
    if (slots.count < slots.capacity) {
      slots.items[slots.count++] = p;
    } else {
      ::operator delete(p);
    }
  }

  static inline constinit thread_local Slots slots{};
};

}  // namespace fl
