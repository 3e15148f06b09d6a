#include "tasks/passkey.h"

#include <charconv>

#include "base/error.h"
#include "base/random.h"

namespace mneme {
namespace {

constexpr std::string_view kFilling =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
constexpr int64_t kMost = int64_t{1} << 31;

// The first characters of the filling repeated, with one blank between two copies.
std::string filling_of(int64_t characters) {
  const auto count = static_cast<size_t>(characters);
  std::string text;
  while (text.size() < count) {
    if (!text.empty()) text += ' ';
    text += kFilling;
  }
  text.resize(count);
  return text;
}

}  // namespace

const std::vector<int64_t>& passkey_lengths() {
  static const std::vector<int64_t> lengths = {0,     100,   500,   1000,  5000,  8000, 10000,
                                               12000, 14000, 18000, 20000, 25000, 38000};
  return lengths;
}

std::string passkey_prompt(int64_t filling, int64_t before, int64_t key) {
  if (filling < 0 || before < 0 || before > filling || filling > kMost) {
    throw Error(
        Kind::usage,
        "pass key: expected 0 to " + std::to_string(kMost) + " characters of filling, and a place in them",
        "found " + std::to_string(filling) + " and " + std::to_string(before));
  }
  const std::string number = std::to_string(key);
  return "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I "
         "will quiz you "
         "about the important information there.\n" +
         filling_of(before) + "\nThe pass key is " + number + ". Remember it. " + number +
         " is the pass key.\n" + filling_of(filling - before) + "\nWhat is the pass key? The pass key is";
}

PasskeyExample passkey_example(int64_t filling, uint64_t seed, uint64_t index) {
  Random random({.seed = seed, .row = index, .draw = Draw::task});
  PasskeyExample made;
  made.before = random.between(0, filling);
  made.key = random.between(1, 50000);
  made.prompt = passkey_prompt(filling, made.before, made.key);
  return made;
}

std::optional<int64_t> first_integer(std::string_view answer) {
  const size_t begin = answer.find_first_of("0123456789");
  if (begin == std::string_view::npos) return std::nullopt;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(answer.data() + begin, answer.data() + answer.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

bool passkey_right(const PasskeyExample& example, std::string_view answer) {
  return first_integer(answer) == example.key;
}

}  // namespace mneme
