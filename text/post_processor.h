// Post-processors of tokenizer.json, for single texts: which special tokens surround the ids. Pairs of texts,
// type ids and offsets are not produced.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct PostProcessor {
  static constexpr int32_t kSequence = -1;
  // Templates that are applied in turn: ids, and kSequence where the ids so far stand.
  std::vector<std::vector<int32_t>> templates;

  std::vector<int32_t> apply(std::vector<int32_t> ids) const;
};

PostProcessor surround(const std::vector<int32_t>& before, const std::vector<int32_t>& after);

// From the JSON object of the file; null adds nothing. An unknown type is an Error that names it.
PostProcessor make_post_processor(const nlohmann::json& config, const std::string& where);

}  // namespace mneme
