// The protocols of RMT and HMT against a plain computation of what their programs do: whole matrices of
// attention, one cell after the other, logits of everything.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "eval/hmt_recall.h"
#include "eval/perplexity.h"
#include "memory/model_folder.h"
#include "ops/rotary.h"

namespace mneme {
namespace {

constexpr int64_t kSegment = 6, kSensory = 2, kSummary = 3;
constexpr int32_t kPad = 1;

Model model_of(const std::string& method) {
  MemoryOptions memory;
  memory.method = method;
  memory.rmt = {kSegment, 2};
  memory.hmt.segment = kSegment;
  memory.hmt.sensory = kSensory;
  memory.hmt.recall_width = 8;
  memory.hmt.memories = 2;
  memory.hmt.recall = "lookahead";
  Model model = fresh_model("testdata/models/tiny-llama.json", memory, 3);
  uint64_t index = 0;
  for (const Parameter& p : model.parameters()) {  // the usual deviation of 0.02 would hide the memory's part
    if (p.name.find("norm") != std::string::npos) continue;
    Tensor t = p.value().clone();
    fill_normal({.seed = 5, .row = index++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()), 0, 0.3F);
    p.set(t);
  }
  model.decoder->to(at::kCPU, at::kDouble, at::kDouble);
  model.memory->to(at::kCPU, at::kDouble);
  return model;
}

Tensor parameter(const Model& model, const std::string& name) {
  for (const Parameter& p : model.parameters()) {
    if (p.name == name) return p.value();
  }
  throw std::runtime_error(name);
}

std::vector<EvalDocument> documents_of(const std::vector<int64_t>& lengths) {
  std::vector<EvalDocument> out;
  Random random({.seed = 9});
  for (const int64_t length : lengths) {
    out.push_back({"random", {}, 0});
    for (int64_t i = 0; i < length; ++i) out.back().ids.push_back(static_cast<int32_t>(random.below(29)));
  }
  return out;
}

// The backbone over vectors [B, T, E] with a mask [B, T] of keys.
Tensor backbone(const Decoder& decoder, const Tensor& x, const Tensor& seen) {
  const int64_t rows = x.size(0), n = x.size(1);
  const Tensor positions = at::arange(n, at::kLong).repeat({rows, 1});
  const Tensor allowed =
      at::ones({n, n}, at::kBool).tril().unsqueeze(0).logical_and(seen.unsqueeze(1)).unsqueeze(1);
  return decoder.run(x, positions, [&](int64_t, const Tensor& q, const Tensor& k, const Tensor& v) {
    const int64_t share = q.size(2) / k.size(2);
    const auto heads = [&](const Tensor& t, int64_t times) {
      return t.repeat_interleave(times, 2).transpose(1, 2);
    };
    const Tensor a = heads(rotate(q, positions, decoder.rotary()), 1),
                 b = heads(rotate(k, positions, decoder.rotary()), share);
    const Tensor scores = at::matmul(a, b.transpose(2, 3)) / std::sqrt(static_cast<double>(q.size(3)));
    return at::matmul(scores.masked_fill(allowed.logical_not(), -1e300).softmax(-1), heads(v, share))
        .transpose(1, 2);
  });
}

struct Cell {
  Tensor logits, memory;
};
Cell cell(const Decoder& decoder, const Tensor& ids, const Tensor& mask, const Tensor& memory,
          const Tensor& sensory) {
  const int64_t rows = ids.size(0), m = memory.size(1), k = sensory.defined() ? sensory.size(1) : 0;
  const Tensor text = k ? at::cat({sensory, ids}, 1) : ids;
  const Tensor x = at::cat({memory, decoder.embed(text), memory}, 1);
  Tensor seen = at::ones({rows, x.size(1)}, at::kBool);
  seen.narrow(1, m + k, ids.size(1)).copy_(mask);
  const Tensor hidden = backbone(decoder, x, seen);
  return {decoder.logits(hidden.narrow(1, m + k, ids.size(1))), hidden.narrow(1, hidden.size(1) - m, m)};
}

Tensor logits_of(const Model& model, const Tensor& ids, const Tensor& mask) {
  const Decoder& decoder = *model.decoder;
  const int64_t rows = ids.size(0);
  const auto repeated = [&](const std::string& name) {
    const Tensor t = parameter(model, name);
    return t.unsqueeze(0).expand({rows, t.size(0), t.size(1)});
  };
  const bool hmt = model.options.method == "hmt";
  Tensor memory = repeated("memory_cell.memory"), sensory, cache;
  std::vector<Tensor> all;
  for (int64_t at = 0; at < ids.size(1); at += kSegment) {
    const int64_t n = std::min(kSegment, ids.size(1) - at), j = std::min(kSummary, n);
    const Tensor x = ids.narrow(1, at, n), a = mask.narrow(1, at, n);
    if (hmt && cache.defined()) {
      const Tensor s = cell(decoder, x.narrow(1, 0, j), a.narrow(1, 0, j), repeated("mem"), {}).memory;
      const Tensor q = at::matmul(s, parameter(model, "cross_attn.wq.weight").t()),
                   k = at::matmul(cache, parameter(model, "cross_attn.wk.weight").t());
      memory = at::matmul((at::matmul(q, k.transpose(1, 2)) / std::sqrt(8.0)).softmax(-1), cache);
    }
    const Cell c = cell(decoder, x, a, memory, sensory);
    all.push_back(c.logits);
    if (hmt) {
      cache = cache.defined() ? at::cat({cache, c.memory}, 1) : c.memory;
      if (cache.size(1) > 2) cache = cache.narrow(1, cache.size(1) - 2, 2);
      sensory = x.narrow(1, std::max<int64_t>(0, n - kSensory), std::min(kSensory, n));
    } else {
      memory = c.memory;
    }
  }
  return at::cat(all, 1);
}

// A batch of windows by the originals' rules: padded left, and the mean of the labels that they select.
double loss_of(const Model& model, const std::vector<std::vector<int32_t>>& windows, bool hmt) {
  size_t longest = 0;
  for (const auto& w : windows) longest = std::max(longest, w.size());
  const auto rows = static_cast<int64_t>(windows.size()), length = static_cast<int64_t>(longest);
  Tensor ids = at::full({rows, length}, kPad, at::kLong), labels = at::full({rows, length}, -100, at::kLong),
         mask = at::zeros({rows, length}, at::kBool);
  for (int64_t r = 0; r < rows; ++r) {
    const auto& w = windows[static_cast<size_t>(r)];
    for (size_t i = 0; i < w.size(); ++i) {
      const auto at = length - static_cast<int64_t>(w.size()) + static_cast<int64_t>(i);
      ids[r][at] = labels[r][at] = static_cast<int64_t>(w[i]);
      mask[r][at] = true;
    }
  }
  const Tensor logits = logits_of(model, ids, mask).log_softmax(-1);
  double sum = 0, count = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t + 1 < length; ++t) {
      const bool selected = hmt ? t + 1 >= length - kSegment : length == kSegment || t >= length - kSegment;
      const auto label = labels[r][t + 1].item<int64_t>();
      if (!selected || label < 0) continue;
      sum -= logits[r][t][label].item<double>();
      ++count;
    }
  }
  return sum / count;
}

std::vector<int32_t> cut(const std::vector<int32_t>& stream, int64_t begin, int64_t end) {
  const auto size = static_cast<int64_t>(stream.size());
  return {stream.begin() + std::max<int64_t>(0, begin), stream.begin() + std::min(end, size)};
}

WindowProtocol protocol(bool hmt, int64_t history) {
  WindowProtocol p;
  p.hmt = hmt;
  p.block = kSegment;
  p.history = history;
  p.pad = kPad;
  return p;
}

class WindowProtocols : public ::testing::Test {
 protected:
  void SetUp() override {
    documents_ = documents_of({20, 18});
    for (const EvalDocument& d : documents_) stream_.insert(stream_.end(), d.ids.begin(), d.ids.end());
  }
  at::NoGradGuard no_grad_;
  std::vector<EvalDocument> documents_;
  std::vector<int32_t> stream_;  // 38 tokens: 7 windows
};

TEST_F(WindowProtocols, Rmt) {
  const Model model = model_of("rmt");
  const int64_t history = 15;  // a width of 21: segments of 6, 6, 6 and 3
  const WindowPerplexity found = window_perplexity(model, documents_, protocol(false, history), 3);
  // Row r of batch i is window 2 r + i; the seventh fills no batch. Windows 0 to 2 are short of history.
  ASSERT_EQ(found.windows, 6);
  ASSERT_EQ(found.batches.size(), 2U);
  double sum = 0;
  for (int64_t i = 0; i < 2; ++i) {
    std::vector<std::vector<int32_t>> windows;
    for (int64_t r = 0; r < 3; ++r) {
      const int64_t at = (2 * r + i) * kSegment;
      windows.push_back(cut(stream_, at - history, at + kSegment));
    }
    const double loss = loss_of(model, windows, false);
    EXPECT_NEAR(found.batches[static_cast<size_t>(i)].sum, loss, 1e-9) << i;
    sum += loss;
  }
  EXPECT_NEAR(found.nats, sum / 2, 1e-9);
}

TEST_F(WindowProtocols, RmtWithoutHistoryCountsAllButTheFirst) {
  const Model model = model_of("rmt");
  const WindowPerplexity found = window_perplexity(model, documents_, protocol(false, 0), 1);
  ASSERT_EQ(found.batches.size(), 7U);
  EXPECT_NEAR(found.batches[2].sum, loss_of(model, {cut(stream_, 12, 18)}, false), 1e-9);
  EXPECT_NEAR(found.batches[6].sum, loss_of(model, {cut(stream_, 36, 38)}, true), 1e-9);  // two tokens
}

TEST_F(WindowProtocols, Hmt) {
  Model model = model_of("hmt");
  const int64_t history = 9;  // windows of 6 + 9 tokens, the first of 9, the last ones shorter
  const WindowPerplexity found = window_perplexity(model, documents_, protocol(true, history), 2);
  ASSERT_EQ(found.windows, 6);
  ASSERT_EQ(found.batches.size(), 3U);
  double sum = 0, of_exp = 0;
  for (int64_t i = 0; i < 3; ++i) {
    std::vector<std::vector<int32_t>> windows;
    for (int64_t r = 0; r < 2; ++r) {
      const int64_t at = (2 * i + r) * kSegment;
      windows.push_back(cut(stream_, at - kSegment, at + history));
    }
    const double loss = loss_of(model, windows, true);
    EXPECT_NEAR(found.batches[static_cast<size_t>(i)].sum, loss, 1e-9) << i;
    sum += loss;
    of_exp += std::exp(loss);
  }
  EXPECT_NEAR(found.nats, sum / 3, 1e-9);
  EXPECT_NEAR(found.mean_of_exp, of_exp / 3, 1e-6);
  // The causal recall reads the same windows otherwise.
  set_recall(model, "causal");
  EXPECT_GT(std::abs(window_perplexity(model, documents_, protocol(true, history), 2).nats - found.nats),
            1e-6);
}

TEST_F(WindowProtocols, PaddingMattersAndNeedsAToken) {
  const Model model = model_of("hmt");
  WindowProtocol p = protocol(true, 9);
  p.most = 2;
  // In batches of one nothing is padded, and other segments are read.
  EXPECT_GT(std::abs(window_perplexity(model, documents_, p, 2).nats -
                     window_perplexity(model, documents_, p, 1).nats),
            1e-6);
  p.pad = -1;
  EXPECT_NO_THROW(window_perplexity(model, documents_, p, 1));
  EXPECT_THROW(window_perplexity(model, documents_, p, 2), Error);
}

TEST(HmtRecall, BothWaysShareTheParameters) {
  Model model = model_of("hmt");
  EXPECT_EQ(recalls_of(model, "both"), (std::vector<std::string>{"causal", "lookahead"}));
  EXPECT_EQ(recalls_of(model, "own"), std::vector<std::string>{"lookahead"});
  EXPECT_EQ(model.memory->breaches().size(), 2U);
  const Tensor before = parameter(model, "cross_attn.wq.weight").clone();
  set_recall(model, "causal");
  EXPECT_EQ(recall_of(model), "causal");
  EXPECT_TRUE(model.memory->breaches().empty());
  EXPECT_TRUE(at::equal(parameter(model, "cross_attn.wq.weight"), before));
  const Model rmt = model_of("rmt");
  EXPECT_EQ(recalls_of(rmt, "both"), std::vector<std::string>{""});
}

}  // namespace
}  // namespace mneme
