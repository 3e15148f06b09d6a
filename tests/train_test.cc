// `mneme train` as a process: killed, stopped, diverging.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "base/random.h"
#include "tests/binary.h"

namespace mneme {
namespace {

constexpr const char* kTinyModel = R"({"model_type": "llama", "vocab_size": 32, "hidden_size": 16,
  "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
  "max_position_embeddings": 64, "tie_word_embeddings": false})";

std::vector<std::string> training(const std::string& folder, const std::vector<std::string>& more = {}) {
  const std::string config = join_path(folder, "config.json");
  if (!file_exists(config)) write_file(config, kTinyModel);
  std::vector<std::string> words = {"train",
                                    "--architecture",
                                    config,
                                    "--out",
                                    join_path(folder, "run"),
                                    "--dtype",
                                    "fp32",
                                    "--threads",
                                    "1",
                                    "--seed",
                                    "5",
                                    "--quiet",
                                    "--memory.method",
                                    "rmt",
                                    "--memory.rmt.segment",
                                    "12",
                                    "--memory.rmt.memory-tokens",
                                    "2",
                                    "--data.recall.segment",
                                    "12",
                                    "--data.recall.pairs",
                                    "2",
                                    "--data.recall.keys",
                                    "6",
                                    "--data.recall.values",
                                    "6",
                                    "--train.batch",
                                    "2",
                                    "--train.segments",
                                    "2,3",
                                    "--train.log-every",
                                    "1",
                                    "--train.save-every",
                                    "3",
                                    "--train.held-out",
                                    "1",
                                    "--train.dropout.residual",
                                    "0.1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// What each step computed, without what a clock says.
std::vector<nlohmann::json> metrics(const std::string& folder) {
  std::vector<nlohmann::json> out;
  const std::string path = join_path(folder, "run/metrics.jsonl");
  if (!file_exists(path)) return out;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
    if (j.is_discarded()) break;  // being written
    j.erase("tokens_per_second");
    j.erase("share_of_gemm");
    out.push_back(j);
  }
  return out;
}

int64_t lines_of(const std::string& folder) {
  const std::string path = join_path(folder, "run/metrics.jsonl");
  if (!file_exists(path)) return 0;
  const std::string text = read_file(path);
  return std::count(text.begin(), text.end(), '\n');
}

TEST(Train, KilledTwentyTimesItEndsAsIfNothingHadHappened) {
  const std::string whole = fresh_test_folder("whole"), killed = fresh_test_folder("killed");
  const std::vector<std::string> steps = {"--train.steps", "60"};
  ASSERT_EQ(run_binary(training(whole, steps), join_path(whole, "log")), 0)
      << read_file(join_path(whole, "log"));
  Random random({.seed = 20, .draw = Draw::other});
  for (int i = 0; i < 20; ++i) {
    Process process(training(killed, steps), join_path(killed, "log"));
    // After some lines of its own, and then anywhere within a step, a save or the clearing of old
    // checkpoints.
    const int64_t before = lines_of(killed), more = random.between(0, 5);
    process.wait_until([&] { return lines_of(killed) >= before + more; });
    std::this_thread::sleep_for(std::chrono::microseconds(random.between(0, 20000)));
    process.signal(SIGKILL);
    process.wait();
  }
  ASSERT_EQ(run_binary(training(killed, steps), join_path(killed, "log")), 0)
      << read_file(join_path(killed, "log"));
  const std::vector<nlohmann::json> expected = metrics(whole), found = metrics(killed);
  ASSERT_EQ(expected.size(), 60U);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(found[i], expected[i]);
  for (const char* name : {"model.safetensors", "memory.safetensors"}) {
    EXPECT_EQ(read_file(join_path(whole, std::string("run/model/") + name)),
              read_file(join_path(killed, std::string("run/model/") + name)))
        << name;
  }
  for (const std::string& name : list_folder(join_path(killed, "run/checkpoints")))
    EXPECT_EQ(name.find(".tmp-"), std::string::npos) << name;
}

TEST(Train, SignalsSaveAndLeaveWithTheirCodes) {
  for (const auto& [number, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const std::string folder = fresh_test_folder("signal");
    Process process(training(folder, {"--train.steps", "100000", "--train.save-every", "100000"}),
                    join_path(folder, "log"));
    ASSERT_TRUE(process.wait_until([&] { return lines_of(folder) >= 3; }))
        << read_file(join_path(folder, "log"));
    process.signal(number);
    EXPECT_EQ(process.wait(), code);
    EXPECT_EQ(list_folder(join_path(folder, "run/checkpoints")).size(), 1U);
  }
}

TEST(Train, DivergenceEndsWithFiveAndAdvice) {
  const std::string folder = fresh_test_folder("diverges"), log = join_path(folder, "log");
  EXPECT_EQ(run_binary(training(folder, {"--train.steps", "50", "--train.save-every", "1",
                                         "--train.optimizer.lr", "1e30", "--train.optimizer.clip-norm", "0"}),
                       log),
            5);
  EXPECT_NE(read_file(log).find("--train.optimizer.lr"), std::string::npos) << read_file(log);
  EXPECT_FALSE(is_folder(join_path(folder, "run/model")));
}

TEST(Train, RanksTogetherComputeWhatOneProcessComputes) {
  const std::string one = fresh_test_folder("one");
  const std::vector<std::string> steps = {"--train.steps",      "12", "--train.batch", "8",
                                          "--train.save-every", "6"};
  ASSERT_EQ(run_binary(training(one, steps), join_path(one, "log")), 0);
  const std::vector<nlohmann::json> expected = metrics(one);
  for (const std::string& count : {std::string("2"), std::string("4")}) {
    const std::string folder = fresh_test_folder("ranks" + count);
    std::vector<std::string> words = training(folder, steps);
    words.insert(words.end(), {"--nproc", count});
    ASSERT_EQ(run_binary(words, join_path(folder, "log")), 0) << read_file(join_path(folder, "log"));
    const std::vector<nlohmann::json> found = metrics(folder);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      for (const char* name : {"loss", "held_out_loss", "gradient_norm"})
        EXPECT_NEAR(found[i].at(name).get<double>(), expected[i].at(name).get<double>(), 1e-5)
            << name << " " << i;
    }
    EXPECT_EQ(file_size(join_path(folder, "run/checkpoints/step-000000012/optimizer.safetensors")),
              file_size(join_path(one, "run/checkpoints/step-000000012/optimizer.safetensors")));
  }
}

// Gradients that come in several passes leave in the last of them, and not before they are complete.
TEST(Train, GradientsLeaveInTheLastPassHoweverTheyAreFound) {
  for (const std::vector<std::string>& how : std::vector<std::vector<std::string>>{
           {"--train.backward", "replay"},
           {"--train.recompute"},
           {"--train.backward", "replay", "--train.recompute", "--train.micro-batch", "2"}}) {
    const std::string one = fresh_test_folder("one-way"), folder = fresh_test_folder("ranks-way");
    std::vector<std::string> steps = {"--train.steps", "6", "--train.batch", "8"};
    steps.insert(steps.end(), how.begin(), how.end());
    ASSERT_EQ(run_binary(training(one, steps), join_path(one, "log")), 0) << read_file(join_path(one, "log"));
    steps.insert(steps.end(), {"--nproc", "2"});
    const std::string log = join_path(folder, "log");
    ASSERT_EQ(run_binary(training(folder, steps), log), 0) << read_file(log);
    const std::vector<nlohmann::json> expected = metrics(one), found = metrics(folder);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].at("loss").get<double>(), expected[i].at("loss").get<double>(), 1e-5)
          << how.back();
    }
    // A replay ends with the first segment, which has no label here: the head's gradients, first in the
    // order of messages, wait for its end.
    if (how.size() == 1) {
      EXPECT_EQ(found.back().at("gradients_sent_early").get<double>(), 1);
    }
  }
}

TEST(Train, ACheckpointOfRanksGoesOnInOneProcess) {
  const std::string one = fresh_test_folder("from-one"), folder = fresh_test_folder("from-ranks");
  const std::vector<std::string> steps = {"--train.steps", "40", "--train.batch", "4"};
  ASSERT_EQ(run_binary(training(one, steps), join_path(one, "log")), 0);
  std::vector<std::string> words = training(folder, steps);
  words.insert(words.end(), {"--nproc", "2"});
  Process ranks(words, join_path(folder, "log"));
  ASSERT_TRUE(ranks.wait_until([&] { return lines_of(folder) >= 7; })) << read_file(join_path(folder, "log"));
  ranks.signal(SIGTERM);
  EXPECT_EQ(ranks.wait(), 143) << read_file(join_path(folder, "log"));
  ASSERT_EQ(run_binary(training(folder, steps), join_path(folder, "log")), 0)
      << read_file(join_path(folder, "log"));
  const std::vector<nlohmann::json> expected = metrics(one), found = metrics(folder);
  EXPECT_NEAR(found.back().at("loss").get<double>(), expected.back().at("loss").get<double>(), 1e-4);
}

// The processes that a process has started.
std::vector<int> children_of(int pid) {
  std::istringstream text(
      read_file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children"));
  std::vector<int> out;
  for (int child = 0; text >> child;) out.push_back(child);
  return out;
}

TEST(Train, AFailingRankEndsAllWithTheReason) {
  const std::string folder = fresh_test_folder("rank-dies"), log = join_path(folder, "log");
  Process ranks(training(folder, {"--train.steps", "100000", "--nproc", "2"}), log);
  ASSERT_TRUE(ranks.wait_until([&] { return lines_of(folder) >= 3; })) << read_file(log);
  const std::vector<int> children = children_of(ranks.pid());
  ASSERT_EQ(children.size(), 2U);
  ::kill(children[1], SIGKILL);
  EXPECT_EQ(ranks.wait(), 137) << read_file(log);
  EXPECT_NE(read_file(log).find("rank 1 ended with code 137"), std::string::npos) << read_file(log);
  for (const int child : children) EXPECT_NE(::kill(child, 0), 0);
}

TEST(Train, ABadOptionOfARankIsToldOnce) {
  const std::string folder = fresh_test_folder("rank-refuses"), log = join_path(folder, "log");
  EXPECT_EQ(run_binary(training(folder, {"--train.steps", "4", "--train.batch", "1", "--nproc", "2"}), log),
            2);
  EXPECT_NE(read_file(log).find("fewer texts than the 2 ranks"), std::string::npos) << read_file(log);
}

TEST(Train, EveryRecipeCanBeCounted) {
  int recipes = 0;
  for (const std::string& name : list_folder("configs", ".toml")) {
    const std::string log = join_path(fresh_test_folder("recipe"), "log");
    const std::string path = join_path("configs", name);
    std::vector<std::string> words = {"train", "--config", path, "--dry-run", "--quiet"};
    if (name.ends_with("-long.toml")) {  // goes on with the model of an earlier recipe
      words.insert(words.end(), {"--architecture", "configs/models/recall-llama.json"});
    }
    EXPECT_EQ(run_binary(words, log), 0) << name << ": " << read_file(log);
    EXPECT_NE(read_file(log).find("parameters"), std::string::npos) << name;
    ++recipes;
  }
  EXPECT_GE(recipes, 6);
}

TEST(Train, CountsWhatDoesNotFitHere) {
  const std::string log = join_path(fresh_test_folder("counts"), "log");
  ASSERT_EQ(run_binary({"train", "--config", "configs/landmark-llama-7b.toml", "--dry-run", "--json"}, log),
            0);
  const std::string text = read_file(log);
  const nlohmann::json found = nlohmann::json::parse(text.substr(text.find("\n{") + 1));
  EXPECT_GT(found.at("trained").get<int64_t>(), int64_t{6738000000});
  EXPECT_GT(found.at("bytes").at("all").get<double>(), 1e11);
  EXPECT_EQ(found.at("tokens").get<double>(), 15000.0 * 128 * 512);
}

}  // namespace
}  // namespace mneme
