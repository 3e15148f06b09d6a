// What a rendering may use: steps, bytes held at once, bytes of output, nesting. A template comes with a
// model from somewhere, so it is treated as hostile: it must end, with an error if need be, before it hurts
// the machine.
//
// Values charge the budget of the rendering that runs on their thread (a thread-local pointer: passing it to
// every place that makes a string would drown the code). Values made while no rendering runs, such as the
// constants of a parsed template, are free; their size is bounded by the template's own text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace mneme::jinja {

struct Limits {
  int64_t steps = 20'000'000;        // evaluated nodes, plus one for every 256 bytes handled
  size_t bytes = size_t{256} << 20;  // strings, lists and maps alive at once
  size_t output = size_t{64} << 20;  // rendered text, captured text included
  int depth = 800;                   // nested evaluations: bounds the C++ stack
};

// A template that cannot go on. The interpreter adds the line and rethrows it as mneme::Error.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] inline void fail(const std::string& message) { throw Failure(message); }

class Budget {
 public:
  explicit Budget(const Limits& limits);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  static Budget* current();
  const Limits& limits() const { return limits_; }
  void step(size_t bytes);
  void take(size_t bytes);
  void give(size_t bytes) { held_ -= bytes; }

 private:
  Limits limits_;
  int64_t steps_ = 0;
  size_t held_ = 0;
  Budget* outer_;
};

// Work done on so many bytes.
inline void spend(size_t bytes) {
  if (Budget* budget = Budget::current()) budget->step(bytes);
}

// Memory held for as long as this object lives.
class Held {
 public:
  explicit Held(size_t bytes) : budget_(Budget::current()), bytes_(bytes) {
    if (budget_) budget_->take(bytes_);
  }
  ~Held() {
    if (budget_) budget_->give(bytes_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  Budget* budget_;
  size_t bytes_;
};

}  // namespace mneme::jinja
