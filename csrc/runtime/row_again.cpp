#include "runtime/row_again.h"

#include <unordered_map>

#include "runtime/call_key.h"
#include "runtime/promotion.h"
#include "runtime/row_step.h"

namespace fl {
namespace {

constexpr size_t kMost = 4096;

std::unordered_map<std::string, RowAgainPtr>& known() {
  static auto* map = new std::unordered_map<std::string, RowAgainPtr>;
  return *map;
}

TensorRef made(const RowAgain::Made& m) { return Tensor::empty_strided(m.sizes, m.strides, m.dtype); }

}  // namespace

const std::string* row_key(const Call& call, const RowInfo& info) {
  static thread_local std::string key;
  key.clear();
  key += static_cast<char>(default_dtype());
  return append_call(call, key, false, info.param) ? &key : nullptr;
}

RowAgainPtr find_again(const std::string& key) {
  auto it = known().find(key);
  return it == known().end() ? nullptr : it->second;
}

void keep_again(const std::string& key, RowAgainPtr again) {
  if (known().size() >= kMost) known().clear();
  known().emplace(key, std::move(again));
}

void RowAgain::run(const Call& call, Outputs& outputs, const Slot* params) const {
  std::vector<TensorRef> held;
  for (const Made& m : temps) held.push_back(made(m));
  char* data[kMaxRowTensors];
  size_t n = 0;
  for (const Made& m : results) {
    outputs.emplace_back(made(m));
    data[n++] = outputs.back().tensor()->data();
  }
  for (const TensorRef& t : held) data[n++] = t->data();
  for (int i : arguments) data[n++] = call[i].is_tensor() ? call[i].tensor()->data() : nullptr;
  for (const Step& s : steps) {
    char* ptr[kMaxRowTensors];
    if (s.longer) {
      for (size_t k = 0; k < s.tensors.size(); ++k) ptr[k] = data[s.tensors[k]];
      StepRun(*s.longer, ptr, params).run();
      continue;
    }
    for (size_t at = 0; at < s.offsets.size(); at += s.tensors.size()) {
      for (size_t k = 0; k < s.tensors.size(); ++k) ptr[k] = data[s.tensors[k]] + s.offsets[at + k];
      s.kernel(ptr, s.strides.data(), s.shape, params);
    }
  }
}

}  // namespace fl
