#include "runtime/kernel_table.h"

#include <deque>
#include <mutex>

#include "core/error.h"

namespace fl {

void* (*kernel_resolver)(const std::string& key) = nullptr;

namespace {

struct Entry {
  KernelKey key;
  std::atomic<void*> kernel = nullptr;  // set last: a reader that sees it sees the key
};

struct Table {
  explicit Table(size_t n) : mask(n - 1), entries(new Entry[n]) {}
  size_t mask;
  Entry* entries;
};

size_t hash_of(const KernelKey& k) {
  uint64_t operands = k.operands[0] + (k.operands[1] + k.operands[2] * 0x9fb21c651e98df25u) * 0xc2b2ae3d27d4eb4fu;
  uint64_t h = (k.op ^ (operands * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
  return static_cast<size_t>(h ^ (h >> 32));
}

// Tables that were outgrown stay: a reader may still be in them, and together they are no larger than the last one.
struct State {
  std::mutex lock;  // held for the few instructions of an insertion only, and around fork()
  std::atomic<Table*> table = new Table(1024);
  int64_t count = 0;
  std::unordered_map<std::string, uint32_t> attribute_ids;
  std::deque<std::string> attribute_texts = {""};
};

State& state() {
  static auto* s = new State;
  return *s;
}

void* probe(const Table& table, const KernelKey& key) {
  for (size_t i = hash_of(key) & table.mask;; i = (i + 1) & table.mask) {
    void* kernel = table.entries[i].kernel.load(std::memory_order_acquire);
    if (!kernel) return nullptr;
    if (table.entries[i].key == key) return kernel;
  }
}

void place(const Table& table, const KernelKey& key, void* kernel) {
  size_t i = hash_of(key) & table.mask;
  while (table.entries[i].kernel.load(std::memory_order_relaxed)) i = (i + 1) & table.mask;
  table.entries[i].key = key;
  table.entries[i].kernel.store(kernel, std::memory_order_release);
}

void insert(const KernelKey& key, void* kernel) {
  State& s = state();
  std::lock_guard guard(s.lock);
  Table* table = s.table.load(std::memory_order_relaxed);
  if (probe(*table, key)) return;
  if (static_cast<size_t>(s.count + 1) * 2 > table->mask) {
    auto* wider = new Table((table->mask + 1) * 2);
    for (size_t i = 0; i <= table->mask; ++i)
      if (void* k = table->entries[i].kernel.load(std::memory_order_relaxed)) place(*wider, table->entries[i].key, k);
    s.table.store(wider, std::memory_order_release);
    table = wider;
  }
  place(*table, key, kernel);
  ++s.count;
}

}  // namespace

std::string key_text(const KernelRequest& request) {
  static constexpr char kLetters[] = {'c', 'b', 's', 'n', 't', 'r'};
  std::string text = request.overload.op->name + "|f|" + request.attributes + "|";
  for (size_t i = 0; i < request.dtypes.size(); ++i)
    text += (i ? "," : "") + std::string(dtype_code(request.dtypes[i]));
  text += "|";
  for (StrideClass c : request.classes) text += kLetters[static_cast<int>(c)];
  return text;
}

void* find_kernel(const KernelKey& key) { return probe(*state().table.load(std::memory_order_acquire), key); }

// No lock is held while the resolver runs: it takes the GIL, and a thread that has the GIL may come here. The resolver
// itself makes threads that ask for one key wait for one another.
void* resolve_kernel(const KernelKey& key, const KernelRequest& request) {
  FL_CHECK(kernel_resolver, ErrorKind::Runtime, "no code generator is attached: %s", key_text(request).c_str());
  void* kernel = kernel_resolver(key_text(request));
  insert(key, kernel);
  return kernel;
}

uint32_t intern_attributes(const std::string& text) {
  if (text.empty()) return 0;
  State& s = state();
  std::lock_guard guard(s.lock);
  auto [at, fresh] = s.attribute_ids.try_emplace(text, static_cast<uint32_t>(s.attribute_texts.size()));
  if (fresh) s.attribute_texts.push_back(text);
  FL_CHECK(at->second < 1u << 24, ErrorKind::Runtime, "too many different static attributes");
  return at->second;
}

std::string attributes_text(uint32_t id) {
  State& s = state();
  std::lock_guard guard(s.lock);
  return s.attribute_texts.at(id);
}

int64_t kernel_count() {
  State& s = state();
  std::lock_guard guard(s.lock);
  return s.count;
}

void kernel_table_before_fork() { state().lock.lock(); }
void kernel_table_after_fork() { state().lock.unlock(); }

}  // namespace fl
