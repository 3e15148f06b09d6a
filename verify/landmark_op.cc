// Landmark's reference cases of one attention: what runs gives output and gradients, the reference the
// weights.
#include "ops/landmark_reference.h"
#include "verify/landmark.h"

namespace mneme {
namespace {

Tensor swap(const Tensor& t) { return t.transpose(1, 2).contiguous(); }  // heads and positions

struct Call {
  Tensor q, miss;  // miss [B, H, 1, K]
  LandmarkKeys keys;
  LandmarkOptions options;
};

Call call_of(const GoldenCase& golden) {
  const nlohmann::json memory = golden.section("memory");
  Call call;
  call.q = swap(golden.input("q"));
  call.keys.k = swap(golden.input("k"));
  call.keys.v = swap(golden.input("v"));
  if (golden.has_input("is_landmark")) {
    call.keys.is_landmark = golden.input("is_landmark");
  } else {
    const int64_t size = memory.at("block_size").get<int64_t>();
    call.keys.is_landmark =
        (at::arange(call.keys.k.size(1)).remainder(size) == size - 1).repeat({call.q.size(0), 1});
  }
  if (golden.has_input("keep")) call.keys.mask = golden.input("keep");
  call.options.parity_padded_blocks = memory.value("parity_padded_blocks", false);
  if (golden.has_input("gate_keep")) {
    call.options.gate_keep = golden.input("gate_keep");
    call.options.group_dropout = memory.at("group_dropout").get<double>();
  }
  if (golden.has_input("r")) {
    call.miss = golden.input("r").clone();
    call.options.controlled = golden.input("controlled");
  }
  return call;
}

void put_weights(const Call& call, const std::string& prefix, Results& results) {
  const at::NoGradGuard no_grad;
  const Tensor weights = landmark_weights_reference(call.q, call.keys, call.options);
  results.put(prefix + "weights", weights);
  results.put(prefix + "row_sum", weights.sum(-1));
}

}  // namespace

Results run_landmark_op(const GoldenCase& golden) {
  Results results;
  Call call = call_of(golden);
  for (Tensor* leaf : {&call.q, &call.keys.k, &call.keys.v, &call.miss}) {
    if (leaf->defined()) leaf->requires_grad_();
  }
  if (call.miss.defined()) call.options.miss_key = call.miss.squeeze(2);
  const LandmarkSets sets = landmark_sets(call.keys, call.q.size(1));
  results.put("masked", sets.masked.unsqueeze(1));
  results.put("cur", sets.cur.unsqueeze(1));
  results.put("gate", sets.gate.unsqueeze(1));
  put_weights(call, "", results);
  Tensor lse;
  const Tensor out = landmark_attention(call.q, call.keys, call.options, &lse);
  results.put("out", swap(out.detach()));
  results.put("lse", lse);
  (out * swap(golden.input("grad_out"))).sum().backward();
  results.put("grad.q", swap(call.q.grad()));
  results.put("grad.k", swap(call.keys.k.grad()));
  results.put("grad.v", swap(call.keys.v.grad()));
  if (call.miss.defined()) results.put("grad.r", call.miss.grad());
  const at::NoGradGuard no_grad;
  if (golden.expects("cutoff.out")) {
    call.options.miss_cutoff = golden.section("memory").at("rem_cutoff").get<double>();
    put_weights(call, "cutoff.", results);
    results.put("cutoff.out", swap(landmark_attention(call.q, call.keys, call.options)));
  }
  if (golden.expects("ragged.out")) {
    const int64_t T = golden.expected_shape("ragged.out").at(2);
    const int64_t S = call.keys.k.size(1) - (call.q.size(1) - T);
    const LandmarkKeys keys{
        call.keys.k.narrow(1, 0, S), call.keys.v.narrow(1, 0, S), call.keys.is_landmark.narrow(1, 0, S), {}};
    results.put("ragged.out", swap(landmark_attention(call.q.narrow(1, 0, T), keys, call.options)));
  }
  return results;
}

}  // namespace mneme
