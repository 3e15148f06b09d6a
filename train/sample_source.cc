#include "train/sample_source.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"

namespace mneme {
namespace {

class RecallSource : public SampleSource {
 public:
  RecallSource(const RecallTask& task, uint64_t seed) : task_(task), seed_(seed) { check_task(task); }
  Sample train(uint64_t step, int64_t rows, int64_t segments) override {
    return documents(task_, step * static_cast<uint64_t>(rows), rows, segments);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    RecallTask task = task_;
    task.rehearsals = task.rehearsals_least = 0;  // what needs no memory is not measured
    return documents(task, kHeldOut + index * static_cast<uint64_t>(rows), rows, segments);
  }
  int64_t vocabulary() const override { return task_.vocabulary(); }

 private:
  Sample documents(RecallTask task, uint64_t first, int64_t rows, int64_t segments) const {
    task.segments = segments;
    Sample s{at::empty({rows, segments * task.segment}, at::kLong),
             at::empty({rows, segments * task.segment}, at::kLong)};
    for (int64_t r = 0; r < rows; ++r) {
      const RecallDocument d = recall_document(task, seed_, first + static_cast<uint64_t>(r));
      std::copy(d.ids.begin(), d.ids.end(), s.ids.data_ptr<int64_t>() + r * s.ids.size(1));
      std::copy(d.labels.begin(), d.labels.end(), s.labels.data_ptr<int64_t>() + r * s.labels.size(1));
    }
    return s;
  }
  RecallTask task_;
  uint64_t seed_;
};

// Texts as bytes 0..255 with 256 between documents; samples are windows at random places.
class ByteSource : public SampleSource {
 public:
  ByteSource(const DataOptions& o, uint64_t seed)
      : segment_(o.segment),
        seed_(seed),
        train_(read_texts(o.train, "data.train")),
        valid_(read_texts(o.valid, "data.valid")) {}
  Sample train(uint64_t step, int64_t rows, int64_t segments) override {
    return windows(train_, step, rows, segments);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    return windows(valid_, kHeldOut + index, rows, segments);
  }
  int64_t vocabulary() const override { return 257; }

 private:
  static std::vector<uint16_t> read_texts(const std::string& path, const char* key) {
    if (path.empty())
      throw Error(Kind::usage, std::string(key) + " is not set", "name a text file or a list of files");
    std::vector<std::string> files = {path};
    if (path.size() > 5 && path.compare(path.size() - 5, 5, ".list") == 0) {
      files.clear();
      std::istringstream lines(read_file(path));
      const size_t slash = path.rfind('/');
      const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
      for (std::string line; std::getline(lines, line);) {
        if (!line.empty()) files.push_back(join_path(folder, line));
      }
    }
    std::vector<uint16_t> out;
    for (const std::string& f : files) {
      for (const char c : read_file(f)) out.push_back(static_cast<unsigned char>(c));
      out.push_back(256);
    }
    return out;
  }
  Sample windows(const std::vector<uint16_t>& text, uint64_t step, int64_t rows, int64_t segments) const {
    const int64_t length = segments * segment_;
    if (static_cast<int64_t>(text.size()) < length + 1) {
      throw Error(Kind::input,
                  "the texts have " + std::to_string(text.size()) + " bytes, fewer than a sample's " +
                      std::to_string(length + 1),
                  "use longer texts or fewer segments");
    }
    Sample s{at::empty({rows, length}, at::kLong), at::empty({rows, length}, at::kLong)};
    for (int64_t r = 0; r < rows; ++r) {
      Random random({.seed = seed_, .step = step, .row = static_cast<uint64_t>(r), .draw = Draw::shuffle});
      const auto at = static_cast<int64_t>(random.below(text.size() - static_cast<uint64_t>(length)));
      for (int64_t t = 0; t < length; ++t) {
        s.ids.data_ptr<int64_t>()[r * length + t] = text[static_cast<size_t>(at + t)];
        s.labels.data_ptr<int64_t>()[r * length + t] = text[static_cast<size_t>(at + t + 1)];
      }
    }
    return s;
  }
  int64_t segment_;
  uint64_t seed_;
  std::vector<uint16_t> train_, valid_;
};

}  // namespace

Sample Sample::rows(int64_t first, int64_t n) const {
  const auto part = [&](const Tensor& t) { return t.defined() ? t.narrow(0, first, n) : Tensor(); };
  return {part(ids), part(labels), part(reset), part(count)};
}

std::unique_ptr<SampleSource> make_source(const DataOptions& options, uint64_t seed) {
  if (options.kind == "recall") return std::make_unique<RecallSource>(options.recall, seed);
  if (options.kind == "passkey") return make_passkey_source(options, seed);
  if (options.kind == "tokens") return make_token_source(options, seed);
  return std::make_unique<ByteSource>(options, seed);
}

}  // namespace mneme
