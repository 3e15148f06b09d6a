#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>
#include <unordered_map>
#include <utility>

#include "ops/recompute.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

thread_local bool more_to_come = false;

// Open runs by their leaves.
class OpenRuns {
 public:
  void open(const void* leaves) {
    const std::lock_guard<std::mutex> hold(mutex_);
    ++runs_[leaves];
  }
  // The runs that remain open.
  int64_t close(const void* leaves) {
    const std::lock_guard<std::mutex> hold(mutex_);
    const auto found = runs_.find(leaves);
    if (--found->second > 0) return found->second;
    runs_.erase(found);
    return 0;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const void*, int64_t> runs_;
};

OpenRuns& open_runs() {
  static OpenRuns* const runs = new OpenRuns;  // graphs may outlive everything else
  return *runs;
}

struct HeldPart : torch::CustomClassHolder {
  HeldPart(RecomputedPart p, const void* l) : part(std::move(p)), leaves(l) { open_runs().open(leaves); }
  ~HeldPart() override { close(); }
  int64_t close() { return std::exchange(open, false) ? open_runs().close(leaves) : 0; }
  RecomputedPart part;
  const void* const leaves;
  bool open = true;
};

// A backward pass within the backward pass, on the same thread.
void go_back(const variable_list& roots, const variable_list& grads, bool others) {
  struct Restore {
    bool before = more_to_come;
    ~Restore() { more_to_come = before; }
  } restore;
  more_to_come = others;
  torch::autograd::backward(roots, grads);
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  // The last input is a mere sign that there is something to differentiate: what the part trains are leaves
  // that it captures.
  static variable_list forward(AutogradContext* ctx, const RecomputedPart& part, const void* leaves,
                               at::TensorList inputs) {
    ctx->saved_data["part"] = c10::IValue::make_capsule(c10::make_intrusive<HeldPart>(part, leaves));
    variable_list saved(inputs.begin(), inputs.end() - 1);
    c10::List<bool> wanted;
    for (const Tensor& t : saved) wanted.push_back(t.requires_grad());
    ctx->saved_data["wanted"] = wanted;
    ctx->set_materialize_grads(false);
    variable_list out = part(saved);
    ctx->save_for_backward(saved);
    // An output that is an input itself must be a tensor of its own.
    for (Tensor& t : out) {
      for (const Tensor& in : inputs) {
        if (t.is_same(in)) t = t.view_as(t);
      }
    }
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    const auto held = c10::static_intrusive_pointer_cast<HeldPart>(ctx->saved_data["part"].toCapsule());
    const c10::List<bool> wanted = ctx->saved_data["wanted"].toBoolList();
    variable_list inputs = ctx->get_saved_variables();
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[i].detach().set_requires_grad(wanted[i]);
    variable_list roots, grads;
    {
      const at::AutoGradMode with_graph(true);
      const variable_list outputs = held->part(inputs);
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!given[i].defined() || !outputs[i].requires_grad()) continue;
        roots.push_back(outputs[i]);
        grads.push_back(given[i]);
      }
    }
    const bool others = held->close() > 0;
    if (!roots.empty()) go_back(roots, grads, others);
    variable_list out(2);  // of the part and its leaves, which are no tensors
    for (size_t i = 0; i < inputs.size(); ++i) out.push_back(wanted[i] ? inputs[i].grad() : Tensor());
    out.emplace_back();  // of the sign
    return out;
  }
};

}  // namespace

bool last_gradient() { return !more_to_come; }

std::vector<Tensor> recomputed(const RecomputedPart& part, const std::vector<Tensor>& inputs,
                               const void* leaves) {
  variable_list in(inputs.begin(), inputs.end());
  in.push_back(at::zeros({0}, inputs.at(0).options().requires_grad(true)));
  return Recomputed::apply(part, leaves, at::TensorList(in));
}

}  // namespace mneme
