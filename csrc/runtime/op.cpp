#include "runtime/op.h"

#include <deque>

#include "core/error.h"
#include "runtime/schema.h"

namespace fl {
namespace {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
template <class T>
using ByName = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

// Natives register while static objects are made, in an order nobody knows: the maps are made at first use. They live
// as long as the process does.
ByName<ForwardFn>& natives() {
  static auto* map = new ByName<ForwardFn>;
  return *map;
}
ByName<Op*>& names() {
  static auto* map = new ByName<Op*>;
  return *map;
}
std::deque<Op>& ops() {
  static auto* all = new std::deque<Op>;
  return *all;
}

}  // namespace

Op& create_op(std::string name, BodyKind kind, const std::vector<std::string>& signatures) {
  FL_CHECK(!names().contains(name), ErrorKind::Value, "operator '%s' is registered already", name.c_str());
  FL_CHECK(!signatures.empty(), ErrorKind::Value, "operator '%s' has no signature", name.c_str());
  std::vector<std::unique_ptr<Overload>> overloads;
  for (const std::string& text : signatures) {
    auto overload = std::make_unique<Overload>();
    parse_signature(text, *overload);
    overload->index = static_cast<int>(overloads.size());
    overloads.push_back(std::move(overload));
  }
  Op& op = ops().emplace_back();  // from here on nothing fails
  op.id = static_cast<uint32_t>(ops().size() - 1);
  op.name = std::move(name);
  op.kind = kind;
  op.n_outputs = static_cast<int>(overloads[0]->returns.size());
  op.overloads = std::move(overloads);
  for (auto& overload : op.overloads) overload->op = &op;
  names().emplace(op.name, &op);
  return op;
}

Op* find_op(std::string_view name) {
  auto found = names().find(name);
  return found == names().end() ? nullptr : found->second;
}

Op& op_by_id(uint32_t id) { return ops().at(id); }

uint32_t op_count() { return static_cast<uint32_t>(ops().size()); }

RegisterNative::RegisterNative(const char* name, ForwardFn fn) { natives().emplace(name, fn); }

ForwardFn find_native(std::string_view name) {
  auto found = natives().find(name);
  return found == natives().end() ? nullptr : found->second;
}

}  // namespace fl
