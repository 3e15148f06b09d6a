#include "tasks/needle.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/random.h"

namespace mneme {
namespace {

constexpr std::string_view kHay[] = {"The grass is green.", "The sky is blue.", "The sun is yellow.",
                                     "Here we go.", "There and back again."};

// Words that are no words, so that no model knows anything of them: two or three syllables.
std::string word(Random& random) {
  static constexpr std::string_view kFirst = "bdfgklmnprstvz", kSecond = "aeiou";
  std::string made;
  for (int64_t left = random.between(2, 3); left > 0; --left) {
    made += kFirst[static_cast<size_t>(random.below(kFirst.size()))];
    made += kSecond[static_cast<size_t>(random.below(kSecond.size()))];
  }
  return made;
}

std::string list_of(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i)
    text += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

struct Fact {
  size_t key;
  std::string value;
};

std::string statement(const std::string& key, const std::string& value) {
  return "One of the special magic numbers for " + key + " is: " + value + ".";
}

}  // namespace

NeedleExample needle_example(const NeedleTask& t, uint64_t seed, uint64_t index) {
  const auto wrong = [](const std::string& what) { throw Error(Kind::usage, "needle: " + what); };
  if (t.keys < 1 || t.values < 1 || t.asked < 1 || t.updates < 0 || t.characters < 0)
    wrong("sizes must be positive");
  if (t.asked > t.keys) wrong("more keys are asked for than there are");
  if (t.keys > 100000 || t.values > 100 || t.updates > 100 || t.characters > (int64_t{1} << 31))
    wrong("sizes too large");
  if (t.depth > 1) wrong("depth must be at most 1");
  Random random({.seed = seed, .row = index, .draw = Draw::task});

  std::vector<std::string> keys;
  for (std::set<std::string> seen; static_cast<int64_t>(keys.size()) < t.keys;) {
    std::string key = word(random) + "-" + word(random);
    if (seen.insert(key).second) keys.push_back(std::move(key));
  }
  std::set<std::string> used;
  const auto number = [&] {
    for (;;) {
      std::string made = std::to_string(random.between(1000000, 9999999));
      if (used.insert(made).second) return made;
    }
  };
  // Statements in rounds, so that a later one is an update of an earlier one. The asked keys are the first
  // ones.
  std::vector<std::vector<Fact>> rounds(static_cast<size_t>(t.updates) + 1);
  for (auto& round : rounds) {
    for (size_t key = 0; key < keys.size(); ++key) {
      for (int64_t v = 0; v < t.values; ++v) round.push_back({key, number()});
    }
    random.shuffle(round);
  }

  const auto hay =
      static_cast<size_t>(t.characters) / 18;  // sentences; 18 characters is their mean with a blank
  // Each round has its share of the text, in order; within it statements stand anywhere.
  std::vector<std::pair<size_t, std::string>> placed;
  for (size_t r = 0; r < rounds.size(); ++r) {
    const size_t begin = hay * r / rounds.size(), end = hay * (r + 1) / rounds.size();
    bool first_asked = true;
    for (const Fact& fact : rounds[r]) {
      size_t at = begin + static_cast<size_t>(random.below(end - begin + 1));
      if (t.depth >= 0 && rounds.size() == 1 && fact.key == 0 && first_asked) {
        at = static_cast<size_t>(std::lround(t.depth * static_cast<double>(hay)));
        first_asked = false;
      }
      placed.emplace_back(at, statement(keys[fact.key], fact.value));
    }
  }
  std::stable_sort(placed.begin(), placed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });

  NeedleExample made;
  made.prompt =
      "Special magic numbers are hidden in the text that follows. Remember them, you will be asked for "
      "them.\n";
  size_t next = 0;
  for (size_t i = 0; i <= hay; ++i) {
    for (; next < placed.size() && placed[next].first == i; ++next) made.prompt += placed[next].second + " ";
    if (i < hay) made.prompt += std::string(kHay[i % std::size(kHay)]) + " ";
  }
  made.prompt.back() = '\n';
  const std::vector<std::string> asked(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(t.asked));
  made.prompt += t.updates > 0 ? "What are the last special magic numbers given for "
                               : "What are the special magic numbers for ";
  made.prompt += list_of(asked) + "? They are";
  for (size_t key = 0; key < asked.size(); ++key) {
    for (const Fact& fact : rounds.back()) {
      if (fact.key == key) made.answers.push_back(fact.value);
    }
  }
  made.completion = " " + list_of(made.answers) + ".";
  return made;
}

double answers_found(const std::vector<std::string>& answers, std::string_view text) {
  if (answers.empty()) return 0;
  const std::string haystack = lower(text);
  const auto found = std::count_if(answers.begin(), answers.end(), [&](const std::string& answer) {
    return haystack.find(lower(answer)) != std::string::npos;
  });
  return static_cast<double>(found) / static_cast<double>(answers.size());
}

}  // namespace mneme
