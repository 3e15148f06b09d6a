// The pass-key test of landmark attention: a number hidden at a random place in a text that repeats itself,
// asked for at its end. Prompts are the published ones, character by character.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct PasskeyExample {
  std::string prompt;  // ends with "The pass key is"
  int64_t key = 0, before = 0;
};

// Characters of filling text that the published test went through, with 50 prompts each.
const std::vector<int64_t>& passkey_lengths();

// `before` of the `filling` characters stand before the line with the key. The published text ends after
// 179999 characters of filling; here it goes on.
std::string passkey_prompt(int64_t filling, int64_t before, int64_t key);
// Place and key (1 to 50000) drawn; the same for the same seed and index.
PasskeyExample passkey_example(int64_t filling, uint64_t seed, uint64_t index);

// The first run of digits in an answer, as the test reads it. Nothing if there is none (or it is no int64).
std::optional<int64_t> first_integer(std::string_view answer);
bool passkey_right(const PasskeyExample& example, std::string_view answer);

}  // namespace mneme
