#include "autograd/node.h"

namespace fl {

constinit thread_local bool GradMode::enabled = true;
constinit thread_local bool GradMode::inference = false;

bool AnomalyMode::enabled = false;
bool AnomalyMode::check_nan = true;
std::shared_ptr<void> (*AnomalyMode::capture)() = nullptr;
void (*AnomalyMode::report)(const Node&) = nullptr;

namespace {
uint64_t made = 0;  // under the GIL, as everything here
// Dead nodes that wait to be deleted, linked through their sequence numbers.
constinit thread_local Node* dead = nullptr;
constinit thread_local bool deleting = false;
}  // namespace

Node::Node() : sequence(++made) {}

void Node::destroy() {
  static_assert(sizeof(Node*) <= sizeof sequence);
  sequence = reinterpret_cast<uint64_t>(dead);
  dead = this;
  if (deleting) return;
  deleting = true;
  while (Node* node = dead) {
    dead = reinterpret_cast<Node*>(node->sequence);
    delete node;
  }
  deleting = false;
}

}  // namespace fl
