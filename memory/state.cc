#include "memory/state.h"

#include "base/error.h"

namespace mneme {

int64_t Row::bytes() const {
  int64_t total = working.bytes() +
                  static_cast<int64_t>((previous.size() + open.size()) * sizeof(int64_t) + hidden.size());
  for (const auto& [name, t] : tensors) total += static_cast<int64_t>(t.nbytes());
  for (const auto& [name, c] : caches) total += c.bytes();
  return total + static_cast<int64_t>((numbers.size() + 3) * sizeof(int64_t));
}

Row Row::detached() const {
  Row out = *this;
  out.working = working.detached();
  for (auto& [name, t] : out.tensors) t = t.detach();
  for (auto& [name, c] : out.caches) c = c.detached();
  return out;
}

Row Row::compact() const {
  Row out = *this;
  out.working = working.compact();
  for (auto& [name, t] : out.tensors) t = t.detach().contiguous().clone();
  for (auto& [name, c] : out.caches) c = c.compact();
  return out;
}

State State::select(const std::vector<int64_t>& which) const {
  State out;
  out.rows.reserve(which.size());
  for (int64_t r : which) {
    MNEME_CHECK(r >= 0 && r < size(), "row " + std::to_string(r) + " of " + std::to_string(size()));
    out.rows.push_back(rows[static_cast<size_t>(r)]);
  }
  return out;
}

State State::stack(const std::vector<State>& states) {
  State out;
  for (const State& s : states) out.rows.insert(out.rows.end(), s.rows.begin(), s.rows.end());
  return out;
}

State State::detached() const {
  State out;
  out.rows.reserve(rows.size());
  for (const Row& r : rows) out.rows.push_back(r.detached());
  return out;
}

State State::compact() const {
  State out;
  out.rows.reserve(rows.size());
  for (const Row& r : rows) out.rows.push_back(r.compact());
  return out;
}

int64_t State::bytes() const {
  int64_t total = 0;
  for (const Row& r : rows) total += r.bytes();
  return total;
}

}  // namespace mneme
