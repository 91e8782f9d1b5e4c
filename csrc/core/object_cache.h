// Memory of the small objects that every call makes and drops: a thread keeps the last few of a kind to itself.
#pragma once
#include <cstdint>
#include <new>

namespace fl {

template <class T>
class ObjectCache {
 public:
  static void* take() {
    Slots& s = slots;
    if (!s.head) return ::operator new(sizeof(T));
    Link* first = s.head;
    s.head = first->next;
    --s.count;
    return first;
  }

  static void give(void* p) noexcept {
    Slots& s = slots;
    if (s.count < s.capacity) [[likely]] {
      s.head = new (p) Link{s.head};
      ++s.count;
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

  struct Link {
    Link* next;
  };

  // Trivially destructible, so that objects which die after it, while the thread ends, still find a valid state. Small:
  // thread-local memory of a library that is loaded late is scarce.
  struct Slots {
    Link* head = nullptr;
    int16_t count = 0;
    int16_t capacity = 0;
    bool opened = false;
  };

  struct Closer {
    ~Closer() {
      slots.capacity = 0;
      while (Link* first = slots.head) {
        slots.head = first->next;
        ::operator delete(first);
      }
      slots.count = 0;
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
      give(p);
    } else {
      ::operator delete(p);
    }
  }

  static inline constinit thread_local Slots slots{};
};

}  // namespace fl
