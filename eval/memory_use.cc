#include "eval/memory_use.h"

#include "base/error.h"

namespace mneme {
namespace {

constexpr std::pair<MemoryUse, const char*> kNames[] = {{MemoryUse::on, "on"},
                                                        {MemoryUse::off, "off"},
                                                        {MemoryUse::shuffled, "shuffled"},
                                                        {MemoryUse::foreign, "foreign"}};

}  // namespace

std::string memory_use_name(MemoryUse use) {
  for (const auto& [known, name] : kNames) {
    if (known == use) return name;
  }
  MNEME_CHECK(false, "unknown use of memory");
}

MemoryUse parse_memory_use(const std::string& name) {
  for (const auto& [use, known] : kNames) {
    if (name == known) return use;
  }
  throw Error(Kind::usage, "unknown use of memory '" + name + "'", "use on, off, shuffled or foreign");
}

State rotated(const State& state) {
  std::vector<int64_t> next;
  for (int64_t r = 0; r < state.size(); ++r) next.push_back((r + 1) % state.size());
  return state.select(next);
}

std::optional<int64_t> segment_of(const Model& model) {
  const int64_t room = model.memory->room(model.initial(1).rows[0]);
  if (room >= kUnbounded) return std::nullopt;
  return room;
}

}  // namespace mneme
