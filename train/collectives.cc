#include "train/collectives.h"

#include <ATen/core/ivalue.h>
// The order matters to c10d's headers.
#include <chrono>
#include <cstdlib>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "base/error.h"

namespace mneme {
namespace {

constexpr const char* kFailure = "mneme/failure";
constexpr auto kPatience = std::chrono::minutes(30);  // saving and measuring on one rank may take long

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int64_t number(const char* name, int64_t low, int64_t high) {
  const std::string text = variable(name);
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < low || value > high) {
    throw Error(
        Kind::usage,
        std::string("the environment's ") + name + " is '" + text + "', expected a number between " +
            std::to_string(low) + " and " + std::to_string(high),
        "torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; mneme train --nproc N does it here");
  }
  return value;
}

}  // namespace

struct Collectives::Impl {
  int64_t rank = 0, size = 1;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;

  // What another rank has left as its reason, if the store still stands.
  std::string reason() const {
    try {
      for (int i = 0; i < 20; ++i) {
        if (store->check({kFailure})) {
          const std::vector<uint8_t> text = store->get(kFailure);
          return {text.begin(), text.end()};
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    } catch (const std::exception&) {  // rank 0 holds the store, and it is gone
      return "rank 0 is gone";
    }
    return {};
  }

  [[noreturn]] void lost(const std::string& what) const {
    const std::string why = reason();
    throw Error(Kind::failure,
                "rank " + std::to_string(rank) + ": another rank ended: " + (why.empty() ? what : why),
                "the reason stands in that rank's own output; the run goes on from its last checkpoint");
  }

  template <class F>
  auto guarded(const F& f) const {
    try {
      return f();
    } catch (const std::exception& e) {
      lost(e.what());
    }
  }

  Wait waiting(c10::intrusive_ptr<c10d::Work> work) const {
    return [this, work = std::move(work)] { guarded([&] { return work->wait(); }); };
  }
};

Collectives::Collectives(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Collectives::~Collectives() = default;
int64_t Collectives::rank() const { return impl_->rank; }
int64_t Collectives::size() const { return impl_->size; }

std::unique_ptr<Collectives> Collectives::from_environment() {
  if (variable("WORLD_SIZE").empty()) return nullptr;
  auto impl = std::make_unique<Impl>();
  impl->size = number("WORLD_SIZE", 1, 1 << 16);
  if (impl->size == 1) return nullptr;
  impl->rank = number("RANK", 0, impl->size - 1);
  const std::string host = variable("MASTER_ADDR").empty() ? "127.0.0.1" : variable("MASTER_ADDR");
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(number("MASTER_PORT", 1, 65535));
    options.isServer = impl->rank == 0 && variable("TORCHELASTIC_USE_AGENT_STORE") != "True";
    options.numWorkers = static_cast<std::size_t>(impl->size);
    options.waitWorkers = false;
    options.timeout = std::chrono::minutes(5);
    impl->store = c10::make_intrusive<c10d::TCPStore>(host, options);
    const auto gloo = c10d::ProcessGroupGloo::Options::create(kPatience);
    const bool local = host == "127.0.0.1" || host == "localhost";
    gloo->devices = {local ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                           : c10d::ProcessGroupGloo::createDefaultDevice()};
    gloo->threads = 2;
    impl->group = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("mneme", impl->store), static_cast<int>(impl->rank),
        static_cast<int>(impl->size), gloo);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(
        Kind::resource,
        "rank " + std::to_string(impl->rank) + " cannot reach the others at " + host + ": " + e.what(),
        "all " + std::to_string(impl->size) + " ranks must run, with one MASTER_ADDR and MASTER_PORT");
  }
  return std::unique_ptr<Collectives>(new Collectives(std::move(impl)));
}

Collectives::Wait Collectives::reduce(const Tensor& t, int64_t owner) {
  MNEME_CHECK(t.is_contiguous() && (t.scalar_type() == at::kFloat || t.scalar_type() == at::kDouble),
              describe(t));
  std::vector<Tensor> tensors{t};
  c10d::ReduceOptions options;
  options.rootRank = static_cast<int>(owner);
  return impl_->waiting(impl_->guarded([&] { return impl_->group->reduce(tensors, options); }));
}

Collectives::Wait Collectives::broadcast(const Tensor& t, int64_t owner) {
  MNEME_CHECK(t.is_contiguous(), describe(t));
  std::vector<Tensor> tensors{t};
  c10d::BroadcastOptions options;
  options.rootRank = static_cast<int>(owner);
  return impl_->waiting(impl_->guarded([&] { return impl_->group->broadcast(tensors, options); }));
}

std::vector<double> Collectives::sum(const std::vector<double>& values) {
  std::vector<Tensor> tensors{at::tensor(values, at::kDouble)};
  impl_->waiting(impl_->guarded([&] { return impl_->group->allreduce(tensors); }))();
  const double* first = tensors[0].data_ptr<double>();
  return {first, first + values.size()};
}

void Collectives::tell_failure(const std::string& reason) {
  try {
    const std::string text = "rank " + std::to_string(impl_->rank) + ": " + reason;
    impl_->store->set(kFailure, std::vector<uint8_t>(text.begin(), text.end()));
    // Rank 0 holds the store: it lets the others read before it takes the store away.
    if (impl_->rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  } catch (const std::exception&) {  // it ends because of `reason`, whoever hears it
  }
}

}  // namespace mneme
