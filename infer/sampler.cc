#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace mneme {
namespace {

struct Candidate {
  int64_t id;
  double p;
};

void penalise(std::vector<float>& logits, const std::vector<int64_t>& history, const SamplerOptions& o) {
  if (o.repetition_penalty == 1 && o.presence_penalty == 0 && o.frequency_penalty == 0) return;
  std::map<int64_t, int64_t> times;
  for (int64_t id : history) ++times[id];
  for (const auto& [id, n] : times) {
    float& z = logits[static_cast<size_t>(id)];
    z = static_cast<float>(z > 0 ? z / o.repetition_penalty : z * o.repetition_penalty);
    z -= static_cast<float>(o.presence_penalty + o.frequency_penalty * static_cast<double>(n));
  }
}

void normalise(std::vector<Candidate>& c) {
  double sum = 0;
  for (const Candidate& x : c) sum += x.p;
  for (Candidate& x : c) x.p /= sum;
}

// Keeps the front of the list up to the given share, at least one.
void keep_share(std::vector<Candidate>& c, double share) {
  double sum = 0;
  size_t n = 0;
  while (n < c.size() && sum < share) sum += c[n++].p;
  c.resize(std::max<size_t>(1, n));
  normalise(c);
}

void keep_typical(std::vector<Candidate>& c, double share) {
  double entropy = 0;
  for (const Candidate& x : c) entropy -= x.p > 0 ? x.p * std::log(x.p) : 0;
  std::stable_sort(c.begin(), c.end(), [&](const Candidate& a, const Candidate& b) {
    return std::abs(-std::log(a.p) - entropy) < std::abs(-std::log(b.p) - entropy);
  });
  keep_share(c, share);
}

}  // namespace

void check_sampler(const SamplerOptions& o) {
  const auto require = [](bool ok, const char* what) {
    if (!ok) throw Error(Kind::usage, std::string("sampling: ") + what);
  };
  require(o.temperature >= 0 && std::isfinite(o.temperature), "temperature must be at least 0");
  require(o.top_k >= 0, "top_k must be at least 0");
  require(o.top_p > 0 && o.top_p <= 1, "top_p must be above 0 and at most 1");
  require(o.min_p >= 0 && o.min_p <= 1, "min_p must be between 0 and 1");
  require(o.typical > 0 && o.typical <= 1, "typical must be above 0 and at most 1");
  require(o.repetition_penalty > 0, "repetition_penalty must be above 0");
}

Drawn draw_token(std::vector<float>& logits, const std::vector<int64_t>& history, const SamplerOptions& o,
                 const Site& site) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<double>(z - top));
  const double lse = top + std::log(sum);
  const std::vector<float> model = logits;  // log-probabilities are the model's own
  penalise(logits, history, o);
  for (int64_t id : o.suppress) {
    if (id >= 0 && id < static_cast<int64_t>(logits.size())) logits[static_cast<size_t>(id)] = -INFINITY;
  }
  const auto result = [&](int64_t id) { return Drawn{id, model[static_cast<size_t>(id)] - lse}; };
  const auto best = std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(*best))
    throw Error(Kind::numeric, "no token can be drawn: every logit is suppressed or not finite");
  if (o.temperature == 0) return result(best - logits.begin());
  std::vector<Candidate> c;
  c.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double p = std::exp((static_cast<double>(logits[i]) - *best) / o.temperature);
    if (p > 0) c.push_back({static_cast<int64_t>(i), p});
  }
  // Equal probabilities stand in the order of ids, so that a draw is a function of the site alone.
  std::stable_sort(c.begin(), c.end(), [](const Candidate& a, const Candidate& b) { return a.p > b.p; });
  if (o.top_k > 0 && c.size() > static_cast<size_t>(o.top_k)) c.resize(static_cast<size_t>(o.top_k));
  normalise(c);
  if (o.min_p > 0) {
    const double least = o.min_p * c[0].p;
    c.erase(std::find_if(c.begin() + 1, c.end(), [&](const Candidate& x) { return x.p < least; }), c.end());
    normalise(c);
  }
  if (o.typical < 1) keep_typical(c, o.typical);
  if (o.top_p < 1) {
    std::stable_sort(c.begin(), c.end(), [](const Candidate& a, const Candidate& b) { return a.p > b.p; });
    keep_share(c, o.top_p);
  }
  double u = Random(site).uniform();
  for (const Candidate& x : c) {
    u -= x.p;
    if (u < 0) return result(x.id);
  }
  return result(c.back().id);
}

}  // namespace mneme
