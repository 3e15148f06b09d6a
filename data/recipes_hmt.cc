#include "data/recipes_hmt.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mneme {
namespace {

void append(Ids& out, const Ids& from, int64_t begin, int64_t count) {
  const auto size = static_cast<int64_t>(from.size());
  begin = std::min(begin, size);
  out.insert(out.end(), from.begin() + begin, from.begin() + std::min(begin + count, size));
}

void positive(int64_t value, const char* what) {
  if (value < 1)
    throw Error(Kind::usage, std::string(what) + " must be positive, found " + std::to_string(value));
}

}  // namespace

std::vector<Ids> hmt_samples(const std::vector<Ids>& documents, int64_t block, int64_t history,
                             bool swapped_grouping) {
  positive(block, "block");
  if (history < 0) throw Error(Kind::usage, "history must not be negative");
  Ids all;
  for (const Ids& document : documents) all.insert(all.end(), document.begin(), document.end());
  const int64_t before = swapped_grouping ? block : history, after = swapped_grouping ? history : block;
  std::vector<Ids> samples;
  for (int64_t i = 0; i < static_cast<int64_t>(all.size()); i += block) {
    const int64_t begin = std::max<int64_t>(0, i - before);
    samples.emplace_back();
    append(samples.back(), all, begin, i + after - begin);
  }
  return samples;
}

std::vector<Ids> hmt_interleave(const std::vector<Ids>& documents, int64_t length) {
  positive(length, "interleave length");
  std::vector<Ids> out;
  for (size_t d = 0; d < documents.size(); d += 2) {
    if (d + 1 == documents.size()) {
      out.push_back(documents[d]);
      break;
    }
    const Ids &a = documents[d], &b = documents[d + 1];
    const auto shorter = static_cast<int64_t>(std::min(a.size(), b.size()));
    const auto longer = static_cast<int64_t>(std::max(a.size(), b.size()));
    Ids mixed;
    int64_t at = 0;
    for (; at < shorter; at += length) {
      append(mixed, a, at, length);
      append(mixed, b, at, length);
    }
    append(mixed, a, at, longer);
    append(mixed, b, at, longer);
    out.push_back(std::move(mixed));
  }
  return out;
}

std::vector<Ids> hmt_dilate(const std::vector<Ids>& documents, int64_t length, int32_t filler) {
  positive(length, "dilation length");
  std::vector<Ids> out;
  for (const Ids& document : documents) {
    Ids dilated;
    for (int64_t at = 0; at < static_cast<int64_t>(document.size()); at += length) {
      append(dilated, document, at, length);
      dilated.insert(dilated.end(), static_cast<size_t>(length), filler);
    }
    out.push_back(std::move(dilated));
  }
  return out;
}

LeftPadded hmt_collate(const std::vector<Ids>& samples, int32_t pad, int64_t block) {
  LeftPadded made;
  made.rows = static_cast<int64_t>(samples.size());
  for (const Ids& sample : samples) made.length = std::max(made.length, static_cast<int64_t>(sample.size()));
  for (const Ids& sample : samples) {
    const auto missing = static_cast<size_t>(made.length) - sample.size();
    made.input_ids.insert(made.input_ids.end(), missing, pad);
    made.labels.insert(made.labels.end(), missing, -100);
    made.attention_mask.insert(made.attention_mask.end(), missing, 0);
    made.input_ids.insert(made.input_ids.end(), sample.begin(), sample.end());
    made.labels.insert(made.labels.end(), sample.begin(), sample.end());
    made.attention_mask.insert(made.attention_mask.end(), sample.size(), 1);
  }
  if (made.length != block) {
    for (int64_t row = 0; row < made.rows; ++row) {
      for (int64_t t = 0; t < made.length; ++t) made.labels_mask.push_back(t >= made.length - block);
    }
  }
  return made;
}

std::vector<std::string> pubmed_texts(const std::vector<PubMedRow>& rows, int64_t fuse, bool squared_index) {
  positive(fuse, "fuse size");
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<std::string> texts;
  for (int64_t i = 0; i < count; i += fuse) {
    const int64_t first = squared_index ? i * fuse : i, last = std::min(first + fuse, count);
    std::string background;
    for (int64_t row = first; row < last; ++row) {
      background += " ";
      const auto& contexts = rows[static_cast<size_t>(row)].contexts;
      for (size_t c = 0; c < contexts.size(); ++c) background += (c ? " " : "") + contexts[c];
    }
    for (int64_t row = first; row < last; ++row) {
      const PubMedRow& asked = rows[static_cast<size_t>(row)];
      texts.push_back(background + " " + asked.question + " " + asked.long_answer);
    }
  }
  return texts;
}

int64_t hmt_round(int64_t length, double fraction) {
  const double product = static_cast<double>(length) * fraction, below = std::floor(product),
               rest = product - below;
  const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2.0) != 0);
  return static_cast<int64_t>(below) + (up ? 1 : 0);
}

}  // namespace mneme
