#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "data/testing.h"
#include "memory/model_folder.h"
#include "memory/read.h"

namespace mneme {
namespace {

Model tiny(const std::string& method) {
  MemoryOptions memory;
  memory.method = method;
  memory.rmt = {6, 2};
  memory.segments.segment = 6;
  return fresh_model("testdata/models/tiny-llama.json", memory, 3);
}

std::vector<EvalDocument> documents_of(const std::vector<int64_t>& lengths) {
  std::vector<EvalDocument> out;
  Random random({.seed = 9});
  for (const int64_t length : lengths) {
    out.push_back({"random", {}, 2 * length});
    for (int64_t i = 0; i < length; ++i) out.back().ids.push_back(static_cast<int32_t>(random.below(29)));
  }
  return out;
}

// Nats of a whole document in one call, by the logits.
double reference(const Model& model, const std::vector<int32_t>& ids) {
  const at::NoGradGuard no_grad;
  const auto n = static_cast<int64_t>(ids.size());
  State state = model.initial(1);
  Batch batch;
  batch.ids = at::tensor(std::vector<int64_t>(ids.begin(), ids.end() - 1), at::kLong).unsqueeze(0);
  const Tensor scores =
      model.decoder->logits(read(model, batch, state).hidden)[0].to(at::kDouble).log_softmax(-1);
  double sum = 0;
  for (int64_t t = 0; t + 1 < n; ++t) sum -= scores[t][ids[static_cast<size_t>(t) + 1]].item<double>();
  return sum;
}

TEST(Perplexity, EachTokenButTheFirstCountsOnce) {
  const auto documents = documents_of({20, 7, 33, 2, 13});
  for (const char* method : {"rmt", "none"}) {
    const Model model = tiny(method);
    const Perplexity p = document_perplexity(model, documents, MemoryUse::on, 3);
    double nats = 0, tokens = 0, deep = 0;
    for (size_t d = 0; d < documents.size(); ++d) {
      EXPECT_EQ(p.documents[d].weight, static_cast<double>(documents[d].ids.size() - 1));
      EXPECT_NEAR(p.documents[d].sum, reference(model, documents[d].ids), 1e-3) << method << " " << d;
      nats += p.documents[d].sum;
      tokens += p.documents[d].weight;
    }
    for (const DepthLoss& depth : p.by_depth) deep += depth.nats.sum;
    EXPECT_NEAR(deep, nats, 1e-6);
    EXPECT_NEAR(p.value(), std::exp(nats / tokens), 1e-6);
    EXPECT_NEAR(*p.bits_per_byte(documents), nats / 150 / std::log(2), 1e-6);
  }
}

TEST(Perplexity, ForgottenMemoriesAreTheBaselineAndForeignOnesDiffer) {
  const auto documents = documents_of({20, 31, 33, 26});
  const Model model = tiny("rmt");
  const Perplexity on = document_perplexity(model, documents, MemoryUse::on, 4),
                   off = document_perplexity(model, documents, MemoryUse::off, 4),
                   shuffled = document_perplexity(model, documents, MemoryUse::shuffled, 4),
                   foreign = document_perplexity(model, documents, MemoryUse::foreign, 2);
  for (const Perplexity* p : {&off, &shuffled, &foreign}) {
    EXPECT_NEAR(p->by_depth[0].nats.sum, on.by_depth[0].nats.sum, 1e-4);  // nothing is remembered yet
    EXPECT_GT(std::abs(p->nats() - on.nats()), 1e-6);
  }
  double first = 0;  // without a memory every segment is a text of its own
  for (const EvalDocument& d : documents) {
    for (size_t at = 0; at + 1 < d.ids.size(); at += 6) {
      const auto end = d.ids.begin() + static_cast<std::ptrdiff_t>(std::min(at + 7, d.ids.size()));
      first += reference(model, {d.ids.begin() + static_cast<std::ptrdiff_t>(at), end});
    }
  }
  double sum = 0;
  for (const Part& p : off.documents) sum += p.sum;
  EXPECT_NEAR(sum, first, 1e-3);
  EXPECT_NEAR(ratio(costs(on, off)), off.nats() - on.nats(), 1e-9);
}

TEST(Perplexity, ForeignMemoriesAreThoseOfTheNeighbour) {
  // Two equal documents: the neighbour's memory is one's own.
  auto documents = documents_of({25});
  documents.push_back(documents[0]);
  const Model model = tiny("rmt");
  const double on = document_perplexity(model, documents, MemoryUse::on, 2).nats();
  EXPECT_NEAR(document_perplexity(model, documents, MemoryUse::foreign, 2).nats(), on, 1e-5);
  EXPECT_NEAR(document_perplexity(model, documents, MemoryUse::shuffled, 2).nats(), on, 1e-5);
  documents.pop_back();
  EXPECT_THROW(document_perplexity(model, documents, MemoryUse::foreign, 2), Error);
  EXPECT_THROW(document_perplexity(tiny("none"), documents, MemoryUse::off, 2), Error);
}

TEST(Perplexity, EqualsWhatAnIndependentProgramFound) {
  const std::string shared = shared_folder(), folder = shared + "/data/models/stories260K";
  if (!file_exists(folder + "/expected_perplexity.json")) GTEST_SKIP() << folder << " is not here";
  const auto tokenizer = load_tokenizer(folder);
  const Model model = load_model(folder, {});
  const std::string book = read_file(shared + "/data/books/alice_in_wonderland.txt");
  const nlohmann::json windows = read_json(folder + "/expected_perplexity.json").at("alice_in_wonderland");
  for (const auto& window : windows) {
    size_t begin = 0;  // offsets count characters, not bytes
    for (auto left = window["char_offset"].get<int64_t>(); left > 0; ++begin)
      left -= (static_cast<unsigned char>(book[begin + 1]) & 0xC0U) != 0x80U;
    EvalDocument document{"window", tokenizer->encode(book.substr(begin, 8000), true), 0};
    document.ids.resize(window["window_tokens"].get<size_t>());
    const Perplexity p = document_perplexity(model, {document}, MemoryUse::on, 1);
    EXPECT_NEAR(p.documents[0].sum, window["sum_nll"].get<double>(), 2e-3);
  }
}

}  // namespace
}  // namespace mneme
