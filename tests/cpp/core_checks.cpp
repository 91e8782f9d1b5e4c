// Checks of csrc/core and the pool without Python. Prints nothing and returns 0 when all hold.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/allocator.h"
#include "core/element.h"
#include "core/error.h"
#include "core/guard.h"
#include "core/tensor.h"
#include "runtime/pool.h"
#include "runtime/random.h"

using namespace fl;

static int failures = 0;
#define CHECK(...)                                                                \
  do {                                                                            \
    if (!(__VA_ARGS__)) {                                                         \
      std::printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #__VA_ARGS__); \
      ++failures;                                                                 \
    }                                                                             \
  } while (0)

template <class F>
static std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "";
}

static bool starts_with(const std::string& text, const char* head) { return text.rfind(head, 0) == 0; }

static void check_dtypes() {
  CHECK(promote(DType::U8, DType::I8) == DType::I16);
  CHECK(promote(DType::Bool, DType::U8) == DType::U8);
  CHECK(promote(DType::I64, DType::F16) == DType::F16);
  CHECK(promote(DType::F16, DType::BF16) == DType::F32);
  CHECK(promote(DType::F64, DType::C64) == DType::C128);
  CHECK(promote(DType::U64, DType::BF16) == DType::BF16);
  CHECK(message_of([] { promote(DType::C128, DType::U64); }) ==
        "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote ComplexDouble and UInt64");
  for (int a = 0; a < kDTypes; ++a) {
    for (int b = 0; b < kDTypes; ++b) {
      auto text = [](int x, int y) {
        try {
          return std::string(dtype_name(promote(static_cast<DType>(x), static_cast<DType>(y))));
        } catch (const Error&) { return std::string("raises"); }
      };
      CHECK(text(a, b) == text(b, a));
    }
  }
}

static void check_allocator() {
  MemoryStats before = memory_stats();
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  for (size_t bytes : {1ul, 63ul, 64ul, 65ul, 255ul, 257ul, 1000ul, 40000ul, 70000ul, 1ul << 20, (5ul << 20) + 3}) {
    for (int i = 0; i < 3; ++i) {
      auto* p = static_cast<unsigned char*>(allocate(bytes));
      CHECK(guard_mode || reinterpret_cast<uintptr_t>(p) % 64 == 0);
      std::memset(p, i + 1, bytes);
      blocks.emplace_back(p, bytes);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    auto [p, bytes] = blocks[i];
    CHECK(p[0] == i % 3 + 1 && p[bytes - 1] == i % 3 + 1);
    deallocate(p, bytes);
  }
  CHECK(memory_stats().live_bytes == before.live_bytes);
  CHECK(memory_stats().peak_bytes >= 3 * (5 << 20));
  CHECK(allocate(0) == nullptr);
  CHECK(starts_with(
      message_of([] { allocate(4000000000000000); }),
      "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000000 bytes. Error code 12 "
      "(Cannot allocate memory)"));
  CHECK(!message_of([] { allocate(SIZE_MAX); }).empty());
  if (!guard_mode) {
    void* p = allocate(6 << 20);
    deallocate(p, 6 << 20);
    int64_t asked = memory_stats().allocations;
    CHECK(allocate(6 << 20) == p);
    CHECK(memory_stats().allocations == asked);
    deallocate(p, 6 << 20);
    empty_cache();
    CHECK(memory_stats().cached_bytes == 0);
    // A waiting mapping serves smaller requests, and is itself again afterwards, unless it would leave too much unused.
    deallocate(allocate(8 << 20), 8 << 20);
    asked = memory_stats().allocations;
    void* smaller = allocate(5 << 20);
    void* other = allocate(1 << 20);
    CHECK(memory_stats().allocations == asked + 1);
    deallocate(smaller, 5 << 20);
    deallocate(other, 1 << 20);
    CHECK(allocate(8 << 20) == smaller && memory_stats().allocations == asked + 1);
    deallocate(smaller, 8 << 20);
    // One that is too small is given back for a larger one.
    void* larger = allocate(16 << 20);
    CHECK(memory_stats().cached_bytes == 0);
    deallocate(larger, 16 << 20);
    empty_cache();
    deallocate(allocate(128 << 20), 128 << 20);
    asked = memory_stats().allocations;
    deallocate(allocate(1 << 20), 1 << 20);
    CHECK(memory_stats().allocations == asked + 1);
    empty_cache();
    // What a peak needed is held for a while, then given back.
    constexpr size_t large = size_t{1} << 30;
    deallocate(allocate(large), large);
    CHECK(memory_stats().cached_bytes >= static_cast<int64_t>(large));
    for (int i = 0; i < 2 * 4096 + 1; ++i) deallocate(allocate(1 << 20), 1 << 20);
    CHECK(memory_stats().cached_bytes < static_cast<int64_t>(large));
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::vector<char*> mine;
      for (int i = 0; i < 2000; ++i) {
        auto* p = static_cast<char*>(allocate(static_cast<size_t>(64 + i % 500)));
        *p = static_cast<char>(t);
        mine.push_back(p);
      }
      for (size_t i = 0; i < mine.size(); ++i) {
        CHECK(*mine[i] == t);
        deallocate(mine[i], 64 + i % 500);
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(memory_stats().live_bytes == before.live_bytes);
}

static void check_dims() {
  Dims d{1, 2, 3, 4, 5, 6};
  d.push_back(7);
  CHECK(d.size() == 7 && d[6] == 7);
  d.insert(0, 9);
  d.erase(1);
  CHECK(d == Dims({9, 2, 3, 4, 5, 6, 7}));
  Dims moved = std::move(d);
  CHECK(moved.size() == 7 && d.empty());
  d = moved;
  d.erase(0);
  CHECK(d == Dims({2, 3, 4, 5, 6, 7}));
  moved = d;
  CHECK(moved == d);
}

static void check_tensors() {
  auto t = Tensor::empty(Dims{2, 3, 4}, DType::F32);
  CHECK(t->numel() == 24 && t->is_contiguous() && t->strides == Dims({12, 4, 1}));
  auto column = Tensor::make(t->storage, 2, Dims{2, 3}, Dims{12, 4}, DType::F32);
  CHECK(!column->is_contiguous() && column->data<float>() == t->data<float>() + 2);
  column->bump_version();
  CHECK(t->version() == 1);
  auto message = message_of([&] { Tensor::make(t->storage, 0, Dims{2, 13}, Dims{12, 1}, DType::F32); });
  CHECK(message ==
        "setStorage: sizes [2, 13], strides [12, 1], storage offset 0, and itemsize 4 requiring a storage size of 100 "
        "are "
        "out of bounds for storage of size 96");
  CHECK(!message_of([&] { Tensor::make(t->storage, INT64_MAX, Dims{2}, Dims{INT64_MAX}, DType::F32); }).empty());
  CHECK(message_of([] { Tensor::empty(Dims{3, -2, 1}, DType::F32); }) ==
        "Trying to create tensor with negative dimension -2: [3, -2, 1]");
  CHECK(message_of([] { Tensor::empty(Dims{1l << 40, 1l << 40}, DType::U8); }) ==
        "Storage size calculation overflowed with sizes=[1099511627776, 1099511627776]");
  CHECK(message_of([] { broadcast_sizes(Dims{3, 4}, Dims{3, 5}); }) ==
        "The size of tensor a (4) must match the size of tensor b (5) at non-singleton dimension 1");
  CHECK(broadcast_sizes(Dims{3, 1}, Dims{0}) == Dims({3, 0}));
  CHECK(wrap_dim(-1, 3) == 2 && wrap_dim(-1, 0) == 0);
  CHECK(message_of([] { wrap_dim(4, 1); }) == "Dimension out of range (expected to be in range of [-1, 0], but got 4)");
  auto meta = Tensor::empty(Dims{1l << 40}, DType::F64, {DeviceType::Meta});
  CHECK(meta->numel() == 1l << 40 && meta->storage->data() == nullptr);
}

static void check_storage() {
  int freed = 0, filled = 0;
  int values[4] = {1, 2, 3, 4};
  {
    auto s = Storage::wrap(values, sizeof values, {}, [&] { ++freed; }, false);
  }
  CHECK(freed == 1);
  auto s = Storage::create(16);
  s->defer([&](Storage& self) {
    ++filled;
    std::memcpy(self.data(), values, 16);
  });
  CHECK(filled == 0);
  s->resize(32);
  CHECK(filled == 1 && std::memcmp(s->data(), values, 16) == 0 && s->bytes() == 32);
  CHECK(message_of([&] { Storage::wrap(values, 16, {}, nullptr)->resize(1); }) ==
        "Trying to resize storage that is not resizable");
}

static void check_pool() {
  for (int n : {1, 2, 3, 7}) {
    set_thread_count(n);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> seen(static_cast<size_t>(round % 37), 0);
      parallel_for(round % 37, [&](int64_t c) { ++seen[static_cast<size_t>(c)]; });
      for (int s : seen) CHECK(s == 1);
    }
    auto message = message_of([] {
      parallel_for(50,
                   [](int64_t c) { FL_CHECK(c < 11 && c != 7, ErrorKind::Runtime, "chunk %d", static_cast<int>(c)); });
    });
    CHECK(message == "chunk 7");
    std::atomic<int> inner{0};
    parallel_for(4, [&](int64_t) { parallel_for(5, [&](int64_t) { ++inner; }); });
    CHECK(inner == 20);
    std::vector<std::thread> callers;
    std::atomic<int> total{0};
    for (int t = 0; t < 4; ++t) {
      callers.emplace_back([&] {
        for (int i = 0; i < 200; ++i) parallel_for(8, [&](int64_t) { ++total; });
      });
    }
    for (auto& t : callers) t.join();
    CHECK(total == 4 * 200 * 8);
  }
}

static void check_generators() {
  auto g = make_ref<Generator>(5489);
  uint32_t last = 0;
  for (int i = 0; i < 10000; ++i) last = g->random();
  CHECK(last == 4123659995u);  // the number the C++ standard gives for std::mt19937

  double a[3], b[3];
  fill_normal(*g, a, 3, DType::F64, 0, 1);  // leaves one waiting
  std::vector<uint8_t> state = g->state();
  CHECK(state.size() == Generator::kStateBytes);
  fill_normal(*g, a, 3, DType::F64, 0, 1);
  auto other = make_ref<Generator>(1);
  other->set_state(state.data(), state.size());
  CHECK(other->initial_seed() == 5489);
  auto copy = other->clone();
  fill_normal(*other, b, 3, DType::F64, 0, 1);
  CHECK(std::memcmp(a, b, sizeof a) == 0);
  fill_normal(*copy, b, 3, DType::F64, 0, 1);
  CHECK(std::memcmp(a, b, sizeof a) == 0);

  CHECK(message_of([&] { g->set_state(state.data(), 10); }) ==
        "Expected a CPUGeneratorImplState of size 5056 but found the input RNG state size to be 10");
  state[8] = 0xff;
  state[9] = 0xff;
  CHECK(message_of([&] { g->set_state(state.data(), state.size()); }) == "Invalid mt19937 state");

  // The known answers of Random123.
  CHECK(philox(0, {0, 0, 0, 0}) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  PhiloxStream from_start(7, 9, 0), from_six(7, 9, 6);
  for (int i = 0; i < 6; ++i) from_start();
  for (int i = 0; i < 9; ++i) CHECK(from_start() == from_six());
}

static void check_normals_for_any_thread_count() {
  std::vector<float> one(100003), many(one.size());
  auto g = make_ref<Generator>(3);
  set_thread_count(1);
  fill_normal(*g, one.data(), static_cast<int64_t>(one.size()), DType::F32, 0, 1);
  set_thread_count(3);
  g->manual_seed(3);
  fill_normal(*g, many.data(), static_cast<int64_t>(many.size()), DType::F32, 0, 1);
  CHECK(one == many);
  double sum = 0, squares = 0;
  for (float x : one) sum += x, squares += x * x;
  CHECK(std::abs(sum / 100003) < 0.01 && std::abs(squares / 100003 - 1) < 0.02);
}

// Every finite bit pattern survives the trip, and values halfway between two round to even.
static void check_small_floats() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t h = static_cast<uint16_t>(bits);
    if ((h & 0x7c00) != 0x7c00) CHECK(float_to_half_bits(half_bits_to_float(h)) == h);
  }
  CHECK(float_to_half_bits(65519.996f) == 0x7bff && float_to_half_bits(65520.0f) == 0x7c00);
  CHECK(float_to_half_bits(1 + 0x1p-11f) == 0x3c00 && float_to_half_bits(1 + 0x3p-11f) == 0x3c02);
  CHECK(float_to_half_bits(0x1p-25f) == 0 && float_to_half_bits(0x1.8p-25f) == 1);
  CHECK(float_to_bfloat16_bits(1 + 0x1p-8f) == 0x3f80 && float_to_bfloat16_bits(1 + 0x3p-8f) == 0x3f82);
  CHECK(std::isnan(half_bits_to_float(float_to_half_bits(NAN))) && std::isnan(static_cast<float>(BFloat16(NAN))));
}

// A child of a process that is computing on all its threads computes as well.
static void check_fork() {
  set_thread_count(3);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      parallel_for(16, [](int64_t c) { Scratch s(static_cast<size_t>(100 * (c + 1))); });
      float x[20];
      fill_normal(default_generator(), x, 20, DType::F32, 0, 1);
    }
  });
  for (int i = 0; i < 50; ++i) {
    random_before_fork();
    allocator_before_fork();
    pid_t child = fork();
    allocator_after_fork();
    random_after_fork();
    if (child == 0) {
      pool_after_fork_child();
      float x[20];
      fill_normal(default_generator(), x, 20, DType::F32, 0, 1);
      std::atomic<int> sum{0};
      parallel_for(16, [&](int64_t c) {
        Scratch s(1000);
        sum += static_cast<int>(c);
      });
      _exit(sum == 120 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
}

int main() {
  check_dtypes();
  check_allocator();
  check_dims();
  check_tensors();
  check_storage();
  check_pool();
  check_generators();
  check_normals_for_any_thread_count();
  check_small_floats();
  check_fork();
  return failures ? 1 : 0;
}
