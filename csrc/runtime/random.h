// Random numbers. The default generator is MT19937 and yields, for a seed, the numbers that PyTorch's CPU generator
// yields; so do the ways from its bits to distributions below. Philox stands beside it where each element needs its own
// stream.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "core/dtype.h"
#include "core/ref.h"
#include "runtime/mersenne.h"

namespace fl {

class Value;

class Generator final : public RefCounted {
 public:
  static constexpr uint64_t kDefaultSeed = 67280421310721;
  static constexpr size_t kStateBytes = 5056;  // PyTorch's layout

  explicit Generator(uint64_t seed = kDefaultSeed);

  void manual_seed(uint64_t seed);
  uint64_t seed();  // takes a seed from the system and returns it
  uint64_t initial_seed() const;
  std::vector<uint8_t> state() const;
  void set_state(const uint8_t* bytes, size_t n);  // raises where the bytes are no state; nothing is changed then
  Ref<Generator> clone() const;

  // The calls below are for whoever holds the lock.
  std::mutex& mutex() const { return mutex_; }
  uint32_t random() { return engine_(); }
  uint64_t random64() {
    uint64_t high = engine_();
    return high << 32 | engine_();
  }
  void draw_raw(uint32_t* out, int64_t n) { engine_.draw_raw(out, n); }
  // Normal numbers come in pairs; the second waits here.
  std::optional<double> waiting_normal;

 private:
  ~Generator() override;

  mutable std::mutex mutex_;
  Mt19937 engine_;
  std::optional<float> waiting_float_normal_;  // part of PyTorch's state; nothing on the CPU draws it
};

Generator& default_generator();
// The one that an argument of an operator names; the default one for None.
Generator& generator(const Value& v);
// Around fork(): every generator is at rest while the process is copied. To be called before the allocator is locked,
// for a generator that is drawing may have to allocate first.
void random_before_fork();
void random_after_fork();

// Philox4x32-10: the block of four words that a key gives for a counter.
using PhiloxBlock = std::array<uint32_t, 4>;
PhiloxBlock philox(uint64_t key, PhiloxBlock counter);

// The words of one subsequence of a seed, from an offset (in words) on.
class PhiloxStream {
 public:
  PhiloxStream(uint64_t seed, uint64_t subsequence, uint64_t offset);
  uint32_t operator()();

 private:
  void load();

  uint64_t seed_, subsequence_, block_index_;
  uint32_t at_;
  PhiloxBlock block_;
};

// --- filling contiguous memory
// ---------------------------------------------------------------------------------------- Each call takes the
// generator's lock and, where it takes long, lets other Python threads run. Arguments are those of the Tensor methods;
// the caller has checked them.

void fill_uniform(Generator& g, void* p, int64_t n, DType dtype, double from, double to);
// PyTorch treats a contiguous tensor of 16 elements and more in blocks; one that is not draws as short ones do.
void fill_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std, bool was_contiguous = true);
void fill_log_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std);
void fill_exponential(Generator& g, void* p, int64_t n, DType dtype, double lambda);
void fill_geometric(Generator& g, void* p, int64_t n, DType dtype, double p_success);
void fill_cauchy(Generator& g, void* p, int64_t n, DType dtype, double median, double sigma);
void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, double probability);
// One probability (floating point) for each element.
void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, const void* probabilities, DType probability_dtype);
void fill_random(Generator& g, void* p, int64_t n, DType dtype);  // random_(): the whole range of the dtype
// random_(from, to): base + [0, range), range > 0.
void fill_random_from_to(Generator& g, void* p, int64_t n, DType dtype, uint64_t range, int64_t base);
void fill_random_64(Generator& g, void* p, int64_t n, DType dtype);  // random_(-2**63, None)
void fill_randperm(Generator& g, void* p, int64_t n, DType dtype);
// `samples` indices with replacement for each of `rows` rows of weights (floating point, contiguous).
void fill_multinomial(Generator& g, int64_t* p, int64_t rows, int64_t samples, const void* weights, int64_t categories,
                      DType weights_dtype);

}  // namespace fl
