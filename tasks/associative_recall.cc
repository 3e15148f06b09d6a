#include "tasks/associative_recall.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace mneme {
namespace {

constexpr int64_t kQuestion = 1, kFirstKey = 2, kAsked = 3;  // a question takes three tokens

[[noreturn]] void wrong(const std::string& what) { throw Error(Kind::usage, "associative recall: " + what); }

// A document in the making, with the keys and values drawn for it.
class Maker {
 public:
  Maker(const RecallTask& task, uint64_t seed, uint64_t index)
      : t_(task), random_({.seed = seed, .row = index, .draw = Draw::task}) {
    keys_.resize(static_cast<size_t>(t_.keys));
    std::iota(keys_.begin(), keys_.end(), kFirstKey);
    random_.shuffle(keys_);
    for (int64_t i = 0; i < t_.pairs; ++i) {
      values_.push_back(kFirstKey + t_.keys +
                        static_cast<int64_t>(random_.below(static_cast<uint64_t>(t_.values))));
    }
    const int64_t total = t_.segment * t_.segments;
    for (int64_t i = 0; i < total; ++i) d_.ids.push_back(filler());
    d_.labels.assign(static_cast<size_t>(total), -100);
    d_.distance.assign(static_cast<size_t>(total), -1);
  }

  RecallDocument first() {
    put_all_first();
    const int64_t range = t_.rehearsals - t_.rehearsals_least;
    question(0, 2 * t_.pairs,
             t_.rehearsals_least +
                 (range > 0 ? static_cast<int64_t>(random_.below(static_cast<uint64_t>(range) + 1)) : 0));
    for (int64_t s = 1; s < t_.segments; ++s) question(s, 0, t_.queries);
    return std::move(d_);
  }

  RecallDocument spread() {
    std::vector<std::vector<int64_t>> free(static_cast<size_t>(t_.segments));  // slots of kAsked tokens
    for (auto& slots : free) {
      slots.resize(static_cast<size_t>(t_.segment / kAsked));
      std::iota(slots.begin(), slots.end(), int64_t{0});
      random_.shuffle(slots);
    }
    const auto room = [&](int64_t s) { return free[static_cast<size_t>(s)].size(); };
    const auto take = [&](int64_t s) {
      const int64_t slot = free[static_cast<size_t>(s)].back();
      free[static_cast<size_t>(s)].pop_back();
      return slot;
    };
    for (size_t i = 0; i < values_.size(); ++i) {
      std::vector<std::pair<int64_t, int64_t>> places;  // segments that still have room, all as likely
      for (int64_t from = 0; from < t_.segments; ++from) {
        for (int64_t to = from + t_.nearest; to <= std::min(from + t_.farthest, t_.segments - 1); ++to) {
          if (from == to ? room(from) >= 2 : room(from) >= 1 && room(to) >= 1) places.emplace_back(from, to);
        }
      }
      if (places.empty()) wrong("the pairs and their questions do not fit the segments");
      const auto [from, to] = places[static_cast<size_t>(random_.below(places.size()))];
      int64_t told = take(from), asked = take(to);
      if (from == to && asked < told) std::swap(told, asked);
      put_pair(i, from * t_.segment + told * kAsked + 1);
      const int64_t at = to * t_.segment + asked * kAsked;
      d_.ids[static_cast<size_t>(at)] = kQuestion;
      ask(i, at + 1, to - from);
    }
    return std::move(d_);
  }

  RecallDocument gaps() {
    for (int64_t& id : d_.ids) {
      id = static_cast<int64_t>(random_.below(static_cast<uint64_t>(t_.vocabulary())));
    }
    put_all_first();
    const int64_t begin = 2 * t_.pairs;
    // Places without replacement, each next one by its weight among those left.
    std::vector<double> weight(static_cast<size_t>((t_.segment * t_.segments - begin) / 2));
    for (size_t g = 0; g < weight.size(); ++g) weight[g] = std::pow(static_cast<double>(g + 1), t_.power - 1);
    for (size_t i = 0; i < values_.size(); ++i) {
      double left = random_.uniform() * std::accumulate(weight.begin(), weight.end(), 0.0);
      size_t g = 0;
      while (g + 1 < weight.size() && (weight[g] == 0 || left >= weight[g])) left -= weight[g++];
      while (weight[g] == 0) --g;  // rounding may run past the last one left
      weight[g] = 0;
      const int64_t at = begin + 2 * static_cast<int64_t>(g);
      ask(i, at, at / t_.segment - 2 * static_cast<int64_t>(i) / t_.segment);
    }
    return std::move(d_);
  }

 private:
  // `count` questions behind the first `taken` tokens of a segment, each somewhere in a cell of equal width.
  void question(int64_t segment, int64_t taken, int64_t count) {
    if (count == 0) return;
    const int64_t cell = (t_.segment - taken) / count;
    for (int64_t q = 0; q < count; ++q) {
      const int64_t at = segment * t_.segment + taken + q * cell + random_.between(0, cell - kAsked);
      const size_t which = random_.below(static_cast<uint64_t>(t_.pairs));
      d_.ids[static_cast<size_t>(at)] = kQuestion;
      ask(which, at + 1, segment);
    }
  }
  int64_t filler() {
    const auto pick = static_cast<int64_t>(random_.below(static_cast<uint64_t>(RecallTask::kFillers) + 1));
    return pick == 0 ? int64_t{0} : kFirstKey + t_.keys + t_.values + pick - 1;
  }
  void put_pair(size_t which, int64_t at) {
    d_.ids[static_cast<size_t>(at)] = keys_[which];
    d_.ids[static_cast<size_t>(at + 1)] = values_[which];
  }
  void put_all_first() {
    for (int64_t i = 0; i < t_.pairs; ++i) put_pair(static_cast<size_t>(i), 2 * i);
  }
  void ask(size_t which, int64_t at, int64_t distance) {
    put_pair(which, at);
    d_.labels[static_cast<size_t>(at)] = values_[which];
    d_.distance[static_cast<size_t>(at)] = distance;
  }

  const RecallTask& t_;
  Random random_;
  std::vector<int64_t> keys_, values_;  // the first `pairs` keys are used
  RecallDocument d_;
};

}  // namespace

void check_task(const RecallTask& t) {
  if (t.segment < 4 || t.segments < 2)
    wrong("expected segments of at least 4 tokens, and at least 2 of them");
  if (t.pairs < 1 || t.pairs > t.keys) wrong("pairs must be between 1 and the number of keys");
  if (t.values < 2) wrong("expected at least 2 values");
  if (t.layout == "spread") {
    if (t.nearest < 0 || t.nearest > t.farthest || t.nearest >= t.segments) {
      wrong("the distance must lie within the document, and nearest be at most farthest");
    }
    return;
  }
  if (t.layout == "gaps") {
    if (4 * t.pairs > t.segment * t.segments) wrong("pairs and questions do not fit the document");
    return;
  }
  if (2 * t.pairs > t.segment) wrong("the pairs do not fit the first segment");
  if (t.queries < 1 || kAsked * t.queries > t.segment) wrong("the questions do not fit a segment");
  if (t.rehearsals_least < 0 || t.rehearsals_least > t.rehearsals)
    wrong("rehearsals_least must be between 0 and rehearsals");
  if (2 * t.pairs + kAsked * t.rehearsals > t.segment)
    wrong("the pairs and rehearsals do not fit the first segment");
}

RecallDocument recall_document(const RecallTask& t, uint64_t seed, uint64_t index) {
  check_task(t);
  Maker maker(t, seed, index);
  if (t.layout == "spread") return maker.spread();
  return t.layout == "gaps" ? maker.gaps() : maker.first();
}

}  // namespace mneme
