// Python pickles as inert data: a stack machine that builds a graph of values and executes nothing. A class
// or function that the program names must be in the caller's list, else it is an error that names it; calling
// one only records callable and arguments, for io/torch_file.cc to interpret. Protocols 2 to 5, which
// torch.save writes.
//
// Values live in one array and refer to each other by index, so sharing and cycles cost nothing; texts are
// views of the program's bytes, which must outlive the Pickle. Whoever walks the graph bounds depth and
// visits (a DAG of n values has up to 2^n paths).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct PickleValue {
  enum class Tag : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    list,
    dict,
    global,
    object,
    persistent
  };
  static constexpr uint32_t kNothing = UINT32_MAX;

  Tag tag = Tag::none;
  int64_t integer = 0;  // integer, boolean; global: its index in the caller's list
  double real = 0;
  std::string_view text;          // text, bytes (also integers of more than 64 bits)
  std::vector<uint32_t> items;    // list, tuple, set: elements; dict and object: keys and values in turn
  uint32_t callable = kNothing;   // object: what was called; persistent: its id
  uint32_t arguments = kNothing;  // object
  uint32_t state = kNothing;      // object: what BUILD gave it
};

struct Pickle {
  std::vector<PickleValue> values;
  uint32_t root = 0;
  uint64_t bytes = 0;  // length of the program
};

// Runs the program at the start of `bytes`. `globals` are the names it may use, as "module name". Throws
// Error{input} naming `where`.
Pickle read_pickle(std::string_view bytes, const std::string& where,
                   const std::vector<std::string_view>& globals);

}  // namespace mneme
