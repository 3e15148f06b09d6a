#include "memory/registry.h"

#include "base/error.h"
#include "memory/baselines.h"
#include "memory/hmt.h"
#include "memory/landmark.h"
#include "memory/memorizing.h"
#include "memory/rmt.h"

namespace mneme {
namespace {

MemoryOptions same(MemoryOptions o) { return o; }

MemoryOptions as_none(const MemoryOptions&) { return {}; }

MemoryOptions as_segments(int64_t segment) {
  MemoryOptions o;
  o.method = "segments";
  o.segments.segment = segment;
  return o;
}

const std::vector<MethodRow> kRows = {
    {"none", "the plain decoder, every key and value kept",
     [](const Decoder& d, const MemoryOptions&) -> std::unique_ptr<Memory> {
       return std::make_unique<None>(d);
     },
     same, as_none},
    {"segments", "independent segments",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Segments>(d, o.segments);
     },
     [](MemoryOptions o) {
       o.segments.segment = kUnbounded;
       return o;
     },
     as_none},
    {"window", "a sliding window",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Window>(d, o.window);
     },
     [](MemoryOptions o) {
       o.window.window = kUnbounded;
       return o;
     },
     as_none},
    {"sink", "attention sinks and a sliding window",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Sink>(d, o.sink);
     },
     [](MemoryOptions o) {
       o.sink.sinks = 0;
       return o;
     },
     [](const MemoryOptions& o) {
       MemoryOptions window;
       window.method = "window";
       window.window.window = o.sink.window;
       return window;
     }},
    {"xl", "recurrence over cached keys and values",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Xl>(d, o.xl);
     },
     [](MemoryOptions o) {
       o.xl.cache = 0;
       return o;
     },
     [](const MemoryOptions& o) { return as_segments(o.xl.segment); }},
    {"memorizing", "nearest neighbours among past keys and values",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Memorizing>(d, o.memorizing);
     },
     [](MemoryOptions o) {
       o.memorizing.bank = 0;
       return o;
     },
     [](const MemoryOptions& o) { return as_segments(o.memorizing.segment); }},
    {"rmt", "recurrent memory tokens",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Rmt>(d, o.rmt);
     },
     [](MemoryOptions o) {
       o.rmt.memory_tokens = 0;
       return o;
     },
     [](const MemoryOptions& o) { return as_segments(o.rmt.segment); }},
    {"hmt", "sensory tokens, segment memories and their recall",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Hmt>(d, o.hmt);
     },
     [](MemoryOptions o) {
       o.hmt.mode = "baseline";
       return o;
     },
     [](const MemoryOptions& o) { return as_segments(o.hmt.segment); }},
    {"landmark", "blocks of text behind landmarks, retrieved by each query",
     [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
       return std::make_unique<Landmark>(d, o.landmark);
     },
     [](MemoryOptions o) {
       o.landmark.block = 0;
       return o;
     },
     [](const MemoryOptions& o) { return as_segments(o.landmark.segment); }},
};

}  // namespace

const std::vector<MethodRow>& method_table() { return kRows; }

const MethodRow& find_method(const std::string& name) {
  std::string known;
  for (const MethodRow& r : kRows) {
    if (name == r.name) return r;
    known += (known.empty() ? "" : ", ") + std::string(r.name);
  }
  throw Error(Kind::usage, "unknown memory method '" + name + "'", "known are " + known);
}

std::unique_ptr<Memory> make_memory(const Decoder& decoder, const MemoryOptions& options) {
  return find_method(options.method).make(decoder, options);
}

}  // namespace mneme
