// The table of methods: one row each, and the options that choose among them. Adding a method is one row
// here, one section of MemoryOptions, and one file (docs/adding-a-method.md).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "memory/memory.h"
#include "memory/method_options.h"

namespace mneme {

struct MethodRow {
  const char* name;
  const char* summary;
  std::unique_ptr<Memory> (*make)(const Decoder& decoder, const MemoryOptions& options);
  // The law "off": with these options the method has no memory ...
  MemoryOptions (*off)(MemoryOptions options);
  // ... and equals this baseline.
  MemoryOptions (*baseline)(const MemoryOptions& options);
};

const std::vector<MethodRow>& method_table();
// Throws Error{usage} naming the known ones.
const MethodRow& find_method(const std::string& name);
std::unique_ptr<Memory> make_memory(const Decoder& decoder, const MemoryOptions& options);

}  // namespace mneme
