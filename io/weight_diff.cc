#include "io/weight_diff.h"

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/hf_folder.h"

namespace mneme {
namespace {

constexpr const char* kSumFile = "checksum_psum.txt";
constexpr double kFirstPublishedSum = 49798.7656;

Tensor frequencies(int64_t count, double theta) {
  const Tensor n = at::arange(count, at::kDouble) / static_cast<double>(count);
  return at::pow(at::scalar_tensor(theta, at::kDouble), -n).to(at::kFloat);
}

// `name` of the raw model in the shape that the tuned one has.
Tensor raw_like(const WeightSource& raw, const std::string& name, const std::vector<int64_t>& shape,
                double theta) {
  if (!raw.contains(name)) return frequencies(shape[0], theta);
  const Tensor t = raw.tensor(name).to(at::kFloat);
  if (t.sizes() == at::IntArrayRef(shape)) return t;
  return at::cat({t, t.mean(0, true).expand({shape[0] - t.size(0), t.size(1)})});
}

void check_fits(const WeightSource& raw, const WeightSource& other) {
  for (const std::string& name : other.names()) {
    const std::vector<int64_t> shape = other.info(name).shape;
    if (!raw.contains(name)) {
      if (name.ends_with("rotary_emb.inv_freq") && shape.size() == 1 && shape[0] > 0) continue;
      throw Error(Kind::input, raw.where() + ": '" + name + "' is missing, which " + other.where() + " has",
                  "use the model that was fine-tuned");
    }
    const std::vector<int64_t> own = raw.info(name).shape;
    const bool vocabulary = name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight");
    const bool grows = vocabulary && own.size() == 2 && shape.size() == 2 && own[1] == shape[1] &&
                       own[0] > 0 && own[0] < shape[0];
    if (own != shape && !grows) {
      throw Error(Kind::input,
                  raw.where() + ": '" + name + "' has the shape " + format_shape(own) + ", " + other.where() +
                      " has " + format_shape(shape),
                  "use the model that was fine-tuned");
    }
  }
}

std::vector<LazyTensor> combined(const WeightSource& raw, const WeightSource& other, double theta, bool add) {
  check_fits(raw, other);
  std::vector<LazyTensor> out;
  for (const std::string& name : other.names()) {
    const std::vector<int64_t> shape = other.info(name).shape;
    out.push_back({name, at::kFloat, shape, [&raw, &other, name, shape, theta, add] {
                     const Tensor base = raw_like(raw, name, shape, theta);
                     const Tensor t = other.tensor(name).to(at::kFloat);
                     return add ? t + base : t - base;
                   }});
  }
  return out;
}

double sum_of(const Tensor& t) { return t.to(at::kDouble).sum().item<double>(); }

double theta_of(const HfFolder& folder) {
  if (!folder.has("config.json")) return 10000;
  const nlohmann::json config = folder.config();
  const auto found = config.find("rope_theta");
  return found != config.end() && found->is_number() && found->get<double>() > 0 ? found->get<double>()
                                                                                 : 10000;
}

double published_sum(const HfFolder& difference) {
  if (!difference.has(kSumFile)) return kFirstPublishedSum;
  const std::string text = read_file(difference.file(kSumFile));
  char* end = nullptr;
  const double sum = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(sum)) {
    throw Error(Kind::input,
                difference.file(kSumFile) + ": expected a number, found '" + text.substr(0, 40) + "'",
                "the file comes with the difference; get it again");
  }
  return sum;
}

void copy_description(const HfFolder& from, const FolderWriter& to) {
  to.json("config.json", from.config());
  for (const std::string& name : from.tokenizer_files()) to.copy(from, name);
}

// Writes the tensors and returns the sum of what `counted` takes from each.
double write_summed(const FolderWriter& out, std::vector<LazyTensor> tensors,
                    const std::function<Tensor(const std::string&, const Tensor&)>& counted) {
  auto sums = std::make_shared<std::map<std::string, double>>();  // by name: a writer may ask twice
  for (LazyTensor& t : tensors) {
    t.load = [load = t.load, name = t.name, sums, counted] {
      const Tensor value = load();
      (*sums)[name] = sum_of(counted(name, value));
      return value;
    };
  }
  write_weights(out, tensors);
  double total = 0;
  for (const auto& [name, sum] : *sums) total += sum;
  return total;
}

}  // namespace

std::vector<LazyTensor> weight_difference(const WeightSource& raw, const WeightSource& tuned, double theta) {
  return combined(raw, tuned, theta, false);
}

std::vector<LazyTensor> add_weight_difference(const WeightSource& raw, const WeightSource& difference,
                                              double theta) {
  return combined(raw, difference, theta, true);
}

double weight_sum(const WeightSource& weights) {
  double total = 0;
  for (const std::string& name : weights.names()) total += sum_of(weights.tensor(name).to(at::kFloat));
  return total;
}

void make_weight_difference(const std::string& raw, const std::string& tuned, const std::string& out) {
  const HfFolder from = HfFolder::open(tuned), base = HfFolder::open(raw);
  const WeightSource raw_weights = WeightSource::open(raw), tuned_weights = WeightSource::open(tuned);
  FolderWriter folder(out);
  copy_description(from, folder);
  const double sum = write_summed(
      folder, weight_difference(raw_weights, tuned_weights, theta_of(base)),
      [&](const std::string& name, const Tensor&) { return tuned_weights.tensor(name).to(at::kFloat); });
  write_file(folder.file(kSumFile), dump_json(sum));
  folder.commit();
}

void recover_weights(const std::string& raw, const std::string& difference, const std::string& out,
                     bool check_sum) {
  const HfFolder from = HfFolder::open(difference), base = HfFolder::open(raw);
  const double expected = check_sum ? published_sum(from) : 0;
  const WeightSource raw_weights = WeightSource::open(raw), changes = WeightSource::open(difference);
  FolderWriter folder(out);
  copy_description(from, folder);
  const double sum = write_summed(folder, add_weight_difference(raw_weights, changes, theta_of(base)),
                                  [](const std::string&, const Tensor& t) { return t; });
  if (check_sum && !(std::abs(sum - expected) <= kWeightSumTolerance)) {
    throw Error(Kind::input,
                difference + ": the recovered weights add up to " + std::to_string(sum) + ", expected " +
                    std::to_string(expected),
                "the raw model is another one, or a file is damaged");
  }
  folder.commit();
}

}  // namespace mneme
