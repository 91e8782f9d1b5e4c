#include "runtime/random.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/platform.h"
#include "runtime/value.h"

namespace fl {

// --- Generator
// --------------------------------------------------------------------------------------------------------

namespace {

// What PyTorch's get_state returns, byte by byte.
struct State {
  uint64_t initial_seed;
  int32_t left;
  int32_t seeded;
  uint64_t next;
  uint64_t words[624];
  double normal_x;
  double normal_y;
  double normal_rho;
  int32_t normal_is_valid;
  int32_t padding;
  float float_normal;
  uint8_t float_normal_is_valid;
  uint8_t more_padding[3];
};
static_assert(sizeof(State) == Generator::kStateBytes);

// Every generator alive, so that a fork can wait until all are at rest.
struct Registry {
  std::mutex mutex;
  std::vector<Generator*> generators;
};

Registry& registry() {
  static auto* r = new Registry;
  return *r;
}

}  // namespace

Generator::Generator(uint64_t seed) : engine_(seed) {
  std::lock_guard lock(registry().mutex);
  registry().generators.push_back(this);
}

Generator::~Generator() {
  std::lock_guard lock(registry().mutex);
  std::erase(registry().generators, this);
}

void Generator::manual_seed(uint64_t seed) {
  std::lock_guard lock(mutex_);
  engine_ = Mt19937(seed);
  waiting_normal.reset();
  waiting_float_normal_.reset();
}

uint64_t Generator::seed() {
  uint64_t fresh = platform::entropy() & 0x1fffffffffffff;  // 53 bits: survives a trip through a double
  manual_seed(fresh);
  return fresh;
}

uint64_t Generator::initial_seed() const {
  std::lock_guard lock(mutex_);
  return engine_.seed_;
}

std::vector<uint8_t> Generator::state() const {
  std::lock_guard lock(mutex_);
  State s{};
  s.initial_seed = engine_.seed_;
  s.left = static_cast<int32_t>(engine_.left_);
  s.seeded = 1;
  s.next = engine_.next_;
  std::ranges::copy(engine_.words_, s.words);
  s.normal_y = waiting_normal.value_or(0);
  s.normal_is_valid = waiting_normal.has_value();
  s.float_normal = waiting_float_normal_.value_or(0);
  s.float_normal_is_valid = waiting_float_normal_.has_value();
  std::vector<uint8_t> bytes(sizeof s);
  std::memcpy(bytes.data(), &s, sizeof s);
  return bytes;
}

void Generator::set_state(const uint8_t* bytes, size_t n) {
  FL_CHECK(n == kStateBytes, ErrorKind::Runtime,
           "Expected a CPUGeneratorImplState of size %zu but found the input RNG state size to be %zu", kStateBytes, n);
  State s;
  std::memcpy(&s, bytes, sizeof s);
  bool valid =
      s.seeded == 1 && s.left > 0 && s.left <= static_cast<int32_t>(Mt19937::kWords) && s.next <= Mt19937::kWords;
  // The words left and the word next must agree, or drawing would leave the table.
  valid = valid && (s.left == 1 || s.next + static_cast<uint64_t>(s.left) <= Mt19937::kWords + 1);
  FL_CHECK(valid, ErrorKind::Runtime, "Invalid mt19937 state");
  std::lock_guard lock(mutex_);
  engine_.seed_ = s.initial_seed;
  engine_.left_ = static_cast<uint32_t>(s.left);
  engine_.next_ = static_cast<uint32_t>(s.next);
  for (uint32_t i = 0; i < Mt19937::kWords; ++i) engine_.words_[i] = static_cast<uint32_t>(s.words[i]);
  waiting_normal = s.normal_is_valid ? std::optional(s.normal_y) : std::nullopt;
  waiting_float_normal_ = s.float_normal_is_valid ? std::optional(s.float_normal) : std::nullopt;
}

Ref<Generator> Generator::clone() const {
  auto copy = make_ref<Generator>();
  std::lock_guard lock(mutex_);
  copy->engine_ = engine_;
  copy->waiting_normal = waiting_normal;
  copy->waiting_float_normal_ = waiting_float_normal_;
  return copy;
}

Generator& default_generator() {
  static auto* generator = new Ref<Generator>(make_ref<Generator>());
  return **generator;
}

Generator& generator(const Value& v) {
  return v.is_none() ? default_generator() : *static_cast<Generator*>(v.object());
}

void random_before_fork() {
  default_generator();  // a child that inherits it half made, by a thread it does not have, would wait for ever
  registry().mutex.lock();
  for (Generator* g : registry().generators) g->mutex().lock();
}

void random_after_fork() {
  for (Generator* g : registry().generators) g->mutex().unlock();
  registry().mutex.unlock();
}

// --- Philox
// -----------------------------------------------------------------------------------------------------------

PhiloxBlock philox(uint64_t key, PhiloxBlock c) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t{0xd2511f53} * c[0], b = uint64_t{0xcd9e8d57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  return c;
}

PhiloxStream::PhiloxStream(uint64_t seed, uint64_t subsequence, uint64_t offset)
    : seed_(seed), subsequence_(subsequence), block_index_(offset / 4), at_(static_cast<uint32_t>(offset % 4)) {
  load();
}

void PhiloxStream::load() {
  block_ = philox(seed_, {static_cast<uint32_t>(block_index_), static_cast<uint32_t>(block_index_ >> 32),
                          static_cast<uint32_t>(subsequence_), static_cast<uint32_t>(subsequence_ >> 32)});
}

uint32_t PhiloxStream::operator()() {
  if (at_ == 4) {
    at_ = 0;
    ++block_index_;
    load();
  }
  return block_[at_++];
}

}  // namespace fl
