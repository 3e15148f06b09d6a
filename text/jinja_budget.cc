#include "text/jinja_budget.h"

namespace mneme::jinja {
namespace {
thread_local Budget* running = nullptr;
}

Budget::Budget(const Limits& limits) : limits_(limits), outer_(running) { running = this; }
Budget::~Budget() { running = outer_; }
Budget* Budget::current() { return running; }

void Budget::step(size_t bytes) {
  steps_ += 1 + static_cast<int64_t>(bytes / 256);
  if (steps_ > limits_.steps)
    fail("the template takes more than " + std::to_string(limits_.steps) + " steps");
}

void Budget::take(size_t bytes) {
  step(bytes);
  // Tested before the memory is asked for: one multiplication can ask for everything.
  if (bytes > limits_.bytes || held_ > limits_.bytes - bytes) {
    fail("the template holds more than " + std::to_string(limits_.bytes) + " bytes");
  }
  held_ += bytes;
}

}  // namespace mneme::jinja
