// The reference cases of data: how the originals made samples, labels, prompts and learning rates.
#include <cstdio>

#include "base/error.h"
#include "base/json.h"
#include "data/recipes_hmt.h"
#include "data/recipes_landmark.h"
#include "tasks/passkey.h"
#include "train/schedule.h"
#include "verify/recurrent.h"
#include "verify/run.h"
#include "verify/sha256.h"

namespace mneme {
namespace {

using Json = nlohmann::json;

std::vector<Ids> rows_of(const Ids& flat, int64_t rows, int64_t length) {
  std::vector<Ids> made;
  for (int64_t r = 0; r < rows; ++r)
    made.emplace_back(flat.begin() + r * length, flat.begin() + (r + 1) * length);
  return made;
}

void put_batch(const std::string& name, const LeftPadded& batch, Results& results) {
  const auto rows = [&](const Ids& flat) { return rows_of(flat, batch.rows, batch.length); };
  results.values[name + "input_ids"] = rows(batch.input_ids);
  results.values[name + "labels"] = rows(batch.labels);
  results.values[name + "attention_mask"] = rows(batch.attention_mask);
  if (!batch.labels_mask.empty()) results.values[name + "labels_mask"] = rows(batch.labels_mask);
}

// The tokenizer of the case: 1, then a token of each character's code.
Ids characters(const std::string& text) {
  Ids ids = {1};
  for (const char c : text) ids.push_back(3 + static_cast<unsigned char>(c) % 90);
  return ids;
}

void pubmed(const Json& io, int32_t pad, int64_t block, Results& results) {
  std::vector<PubMedRow> table;
  const Json& columns = io.at("columns");
  for (size_t i = 0; i < io.at("rows").get<size_t>(); ++i) {
    table.push_back({columns.at("context").at(i).at("contexts").get<std::vector<std::string>>(),
                     columns.at("question").at(i).get<std::string>(),
                     columns.at("long_answer").at(i).get<std::string>()});
  }
  const auto texts = pubmed_texts(table, io.at("fuse_size").get<int64_t>(), /*squared_index=*/true);
  results.values["pubmedqa.texts"] = texts;
  put_batch("pubmedqa.first_batch_",
            hmt_collate({characters(texts.at(0)), characters(texts.at(1))}, pad, block), results);
}

// Learning rates of each named schedule at the steps that are asked for.
void rates(const Json& lr, Results& results) {
  for (const auto& [kind, steps] : lr.items()) {
    if (!steps.is_object()) continue;
    ScheduleOptions schedule;
    schedule.kind = kind;
    schedule.gamma = value_or(lr, "gamma", 1.0);
    for (const auto& [step, unused] : steps.items()) {
      results.values["lr." + kind + "." + step] =
          lr.at("base_lr").get<double>() * rate_factor(schedule, std::stoll(step), 1000);
    }
  }
}

// Whatever of the pipeline the case holds.
Results hmt_pipeline(const Json& io) {
  Results results;
  const auto documents = value_or(io, "docs", std::vector<Ids>());
  const auto block = value_or<int64_t>(io, "block_size", 0), depth = value_or<int64_t>(io, "bptt_depth", 2);
  const auto pad = value_or<int32_t>(io, "pad_id", 0);
  if (!documents.empty() && block > 0) {
    const auto train = hmt_samples(documents, block, (depth - 1) * block, /*swapped_grouping=*/true);
    results.values["train_samples"] = train;
    // Labels of a batch are its ids where there is no padding.
    const LeftPadded all = hmt_collate(train, pad, block);
    bool equal = true;
    for (size_t i = 0; i < all.labels.size(); ++i)
      equal = equal && (all.attention_mask[i] == 0 || all.labels[i] == all.input_ids[i]);
    results.values["train_labels_equal_ids"] = equal;
    std::vector<Ids> chosen;
    const Json collated = value_or(io, "collate_of_train_samples", Json::array());
    for (const Json& i : collated) chosen.push_back(train.at(i.get<size_t>()));
    if (!chosen.empty()) put_batch("collated.", hmt_collate(chosen, pad, block), results);
    if (io.contains("test_length"))
      results.values["test_samples"] =
          hmt_samples(documents, block, io.at("test_length").get<int64_t>(), true);
  }
  if (io.contains("interleave_len"))
    results.values["interleaved_docs"] = hmt_interleave(documents, io.at("interleave_len").get<int64_t>());
  if (io.contains("dilate_len"))
    results.values["dilated_docs"] =
        hmt_dilate(documents, io.at("dilate_len").get<int64_t>(), io.at("dilate_token").get<int32_t>());
  if (io.contains("pubmedqa")) pubmed(io.at("pubmedqa"), pad, block, results);
  rates(value_or(io, "lr", Json::object()), results);
  const Json halves = value_or(io, "round_half_even", Json::object());
  for (const auto& [key, unused] : halves.items()) {
    const size_t star = key.find('*');
    results.values["round_half_even." + key] = hmt_round(std::stoll(key), std::stod(key.substr(star + 1)));
  }
  return results;
}

Ids ids_of(const Tensor& t) {
  const Tensor wide = t.to(at::kLong).contiguous();
  return {wide.data_ptr<int64_t>(), wide.data_ptr<int64_t>() + wide.numel()};
}

Tensor tensor_of(const Ids& ids) {
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong);
}

Results landmark_data(const GoldenCase& golden) {
  Results results;
  const Json memory = golden.section("memory");
  const Json &lm = memory.at("lm"), &llama = memory.at("llama");
  const auto landmark = lm.at("landmark_id").get<int32_t>(), end = lm.at("eot_id").get<int32_t>();
  const auto length = lm.at("seq_length").get<int64_t>();
  const Ids stream = landmark_stream(ids_of(golden.input("raw")), lm.at("mem_freq").get<int64_t>(), landmark);
  results.put("lm.stream", tensor_of(stream));
  std::vector<Tensor> x, y;
  for (const int32_t start : ids_of(golden.input("lm.start"))) {
    x.push_back(tensor_of({stream.begin() + start, stream.begin() + start + length}));
    y.push_back(tensor_of(landmark_labels(stream, start, length, landmark, end)));
  }
  results.put("lm.x", at::stack(x));
  results.put("lm.y", at::stack(y));
  const Tensor rows = golden.input("llama.rows");
  for (const auto& [name, rule] : golden.expected()) {
    int row = 0, count = 0;
    if (std::sscanf(name.c_str(), "llama.row%d_len%d", &row, &count) != 2) continue;
    results.put(name, tensor_of(landmark_row(ids_of(rows[row].narrow(0, 0, count)),
                                             llama.at("mem_freq").get<int64_t>(),
                                             llama.at("landmark_id").get<int32_t>())));
  }
  const std::pair<const char*, const char*> schedules[] = {
      {"onecycle_cos", "onecycle"}, {"onecycle_linear", "onecycle_linear"}, {"llama_cosine", "cosine80"}};
  for (const auto& [name, kind] : schedules) {
    const Json& given = memory.at("schedules").at(name);
    ScheduleOptions schedule;
    schedule.kind = kind;
    schedule.warmup_ratio = given.at("warmup").get<double>();
    const auto steps = given.at("steps").get<int64_t>();
    std::vector<double> rates;
    for (int64_t s = 0; s < steps; ++s)
      rates.push_back(given.at("lr").get<double>() * rate_factor(schedule, s, steps));
    results.put(std::string("lr.") + name, at::tensor(rates, at::kDouble));
  }
  return results;
}

Results passkey_prompts(const Json& cases) {
  Results results;
  for (const char* name : {"characters", "sha256", "prompt"}) results.values[name] = Json::array();
  for (const Json& one : cases) {
    const std::string prompt =
        passkey_prompt(one.at("n_garbage").get<int64_t>(), one.at("prefix_chars").get<int64_t>(),
                       one.at("pass_key").get<int64_t>());
    results.values["characters"].push_back(prompt.size());
    results.values["sha256"].push_back(sha256(prompt));
    results.values["prompt"].push_back(one.contains("prompt") ? Json(prompt) : Json());
  }
  return results;
}

}  // namespace

Results run_data(const GoldenCase& golden) {
  const std::string part = golden.section("memory").value("part", std::string());
  try {
    if (golden.method() == "hmt" && golden.is_document()) return hmt_pipeline(golden.document());
    if (part == "data_and_schedules") return landmark_data(golden);
    if (part == "passkey_prompts") return passkey_prompts(golden.document());
  } catch (const Json::exception& e) {
    throw Error(Kind::input, golden.folder() + ": " + e.what());
  }
  throw Error(Kind::input, golden.folder() + ": data cases of this kind are not known");
}

}  // namespace mneme
