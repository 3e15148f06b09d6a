// Landmark's reference cases of reading: chunks on one state, softmax functions, a cache without gates.
#include <algorithm>
#include <cmath>

#include "memory/landmark_slots.h"
#include "memory/original_config.h"
#include "memory/pass.h"
#include "verify/landmark.h"

namespace mneme {
namespace {

// What is kept after a chunk, as the original holds it.
void put_memory(const Model& model, const State& state, const std::string& prefix, Results& results) {
  const LandmarkMemoryOptions& options = model.options.landmark;
  State after = state;  // blocks leave the window when the next one opens
  int64_t seen = 0;
  for (Row& row : after.rows) {
    keep_closed_blocks(*model.decoder, options, row);
    seen = LandmarkSlots(options, row).closed();
  }
  results.put(prefix + ".blocks_seen", at::scalar_tensor(seen, at::kLong));
  for (int64_t l = 0; l < model.decoder->config().layers; ++l) {
    std::vector<Tensor> parts[4];
    for (const Row& row : after.rows) {
      if (seen > 0) {
        const auto [k, v] = kept_slots(model, row, l);
        parts[0].push_back(k);
        parts[1].push_back(v);
      }
      if (row.working.empty()) continue;
      const auto [k, v] = window_slots(model, row, l);
      parts[2].push_back(k.transpose(0, 1));
      parts[3].push_back(v.transpose(0, 1));
    }
    const std::string at = prefix + ".layer" + std::to_string(l);
    const char* names[] = {".mem_k", ".mem_v", ".tail_k", ".tail_v"};
    const ModelConfig& c = model.decoder->config();
    for (size_t i = 0; i < 4; ++i) {
      const int64_t rows = state.size();
      if (parts[i].empty() && i < 2) continue;
      results.put(at + names[i],
                  parts[i].empty() ? at::empty({rows, c.kv_heads, 0, c.head_width}) : at::stack(parts[i]));
    }
  }
}

}  // namespace

Results run_landmark_chunks(const GoldenCase& golden) {
  CaseModel c = landmark_model(golden);
  Results results;
  const Tensor ids = golden.input("input_ids"), labels = golden.input("labels");
  const Tensor lengths = golden.input("chunk_lengths");
  const bool blocks = c.model.options.method == "landmark", trains = golden.expects_count("grad.*") > 0;
  const at::AutoGradMode graph(trains);
  if (trains) {
    for (const Parameter& p : c.all) p.value().set_requires_grad(true);
  }
  State state = c.model.initial(ids.size(0));
  double sum = 0;
  for (int64_t i = 0, at = 0; i < lengths.numel(); ++i) {
    const int64_t length = lengths[i].item<int64_t>();
    const std::string prefix = "chunk" + std::to_string(i);
    const Batch batch = segment_batch(ids, {}, at, at + length, true);
    Tensor hidden;
    if (blocks) {
      const LandmarkCall call = landmark_call(c.model, batch, state);
      hidden = call.hidden;
      results.put(prefix + ".augmented_ids", call.ids);
      results.put(prefix + ".start_position", call.start);
      put_selections(c.model, call, prefix, false, results);
      put_memory(c.model, state, prefix, results);
    } else {
      hidden = read(c.model, batch, state).hidden;
    }
    const Tensor logits = c.model.decoder->logits(hidden);
    const Tensor loss = label_loss(logits, labels.narrow(1, at, length), -1);
    results.put(prefix + ".logits", logits.detach());
    results.put(prefix + ".loss", loss.detach());
    sum += loss.item<double>() * static_cast<double>(length) / static_cast<double>(ids.size(1));
    if (trains) loss.backward();
    at += length;
  }
  results.put("mean_loss", at::scalar_tensor(sum, at::kFloat));
  for (const Parameter& p : c.all) {
    if (!p.value().grad().defined()) continue;
    const FileName name = c.naming(p);
    results.put("grad." + name.name, to_file_layout(name, p.value().grad()));
  }
  return results;
}

Results run_landmark_softmaxes(const GoldenCase& golden) {
  const at::NoGradGuard no_grad;
  Results results;
  const Tensor ids = golden.input("input_ids");
  nlohmann::json memory = golden.section("memory");
  const nlohmann::json names = memory.at("softmax_funcs");
  for (const auto& name : names) {
    memory["softmax_func"] = name;
    const CaseModel c = load_case_model(golden, from_original_config(memory), "");
    const LandmarkMemoryOptions& options = c.model.options.landmark;
    State state = c.model.initial(ids.size(0));
    const Batch batch = without_landmarks(ids, options.id, options.block, state);
    const Tensor logits = landmark_call(c.model, batch, state).logits.narrow(1, 0, ids.size(1));
    results.put(name.get<std::string>() + ".logits", logits);
    results.put(name.get<std::string>() + ".loss", label_loss(logits, golden.input("labels"), -1));
  }
  return results;
}

Results run_landmark_ungated(const GoldenCase& golden) {
  const at::NoGradGuard no_grad;
  const CaseModel c = landmark_model(golden);
  const LandmarkMemoryOptions& options = c.model.options.landmark;
  const Tensor ids = golden.input("input_ids");
  const int64_t split = golden.input("split").item<int64_t>(), rest = ids.size(1) - split;
  Results results;
  State state = c.model.initial(1);
  const Batch batch = without_landmarks(ids.narrow(1, 0, split), options.id, options.block, state);
  results.put("part0.logits", landmark_call(c.model, batch, state).logits);
  // The cached slots as ordinary keys: the plain pass behind them.
  const Tensor line = ids[0].narrow(0, split, rest).contiguous();
  RowSlots slots;
  slots.pieces = {{{}, {line.data_ptr<int64_t>(), line.data_ptr<int64_t>() + rest}}};
  slots.cache = &state.rows[0].working;
  slots.position = split;
  std::vector<RowSlots> rows;
  rows.push_back(std::move(slots));
  results.put("part1.logits", c.model.decoder->logits(Pass(*c.model.decoder, std::move(rows)).run()));
  return results;
}

Results run_landmark_evaluation(const GoldenCase& golden) {
  const at::NoGradGuard no_grad;
  const CaseModel c = landmark_model(golden);
  const nlohmann::json memory = golden.section("memory");
  const auto number = [&](const char* key) { return memory.at(key).get<int64_t>(); };
  const Tensor stream = golden.input("stream");
  const int64_t length = number("eval_seq_length"), chunk = number("mid_length");
  std::vector<int64_t> starts;  // the last start below the stream's length is dropped
  for (int64_t at = 0; at + length < stream.numel(); at += length) starts.push_back(at);
  const auto rows = static_cast<size_t>(number("eval_batch_size"));
  double loss = 0, hits = 0, batches = 0;
  std::vector<double> of_chunk(static_cast<size_t>((length + chunk - 1) / chunk), 0);
  for (size_t first = 0; first < starts.size(); first += rows, ++batches) {
    std::vector<Tensor> x, y;
    for (size_t i = first; i < std::min(first + rows, starts.size()); ++i) {
      x.push_back(stream.narrow(0, starts[i], length));
      y.push_back(stream.narrow(0, starts[i] + 1, length));
    }
    const Tensor ids = at::stack(x), labels = at::stack(y);
    State state = c.model.initial(ids.size(0));
    for (int64_t at = 0; at < length; at += chunk) {
      const int64_t n = std::min(chunk, length - at);
      const Tensor hidden = read(c.model, segment_batch(ids, {}, at, at + n, true), state).hidden;
      const Tensor logits = c.model.decoder->logits(hidden), wanted = labels.narrow(1, at, n);
      const double mean = label_loss(logits, wanted, -1).item<double>();
      loss += mean * static_cast<double>(n) / static_cast<double>(length);
      of_chunk[static_cast<size_t>(at / chunk)] += mean;
      hits += logits.argmax(-1).eq(wanted).sum().item<double>() / static_cast<double>(length);
    }
  }
  Results results;
  constexpr double kBase = 2.71828;  // the original's e
  results.put("val_loss", at::scalar_tensor(loss / batches, at::kDouble));
  results.put("val_acc", at::scalar_tensor(hits / batches, at::kDouble));
  results.put("val_perplexity", at::scalar_tensor(std::pow(kBase, loss / batches), at::kDouble));
  results.put("val_perplexity_per_chunk", (at::tensor(of_chunk, at::kDouble) / batches).exp().to(at::kFloat));
  return results;
}

}  // namespace mneme
