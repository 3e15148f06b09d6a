// The weights of a model, whatever file they came in: one or several safetensors, pytorch_model.bin (one or
// several, or any file of torch.save), GGUF. Names, types and shapes at once, tensors one at a time, as
// aliases of the mapped files where the format allows. What the names should be is the model's business:
// `require_tensors` compares.
//
// A folder is searched in this order: model.safetensors, model.safetensors.index.json, pytorch_model.bin,
// pytorch_model.bin.index.json, the only *.safetensors, the only *.gguf.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/lazy_tensor.h"
#include "tensor/tensor.h"

namespace mneme {

// One file behind a WeightSource.
class TensorReader {
 public:
  struct Info {
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape;
  };
  virtual ~TensorReader() = default;
  virtual std::vector<std::string> names() const = 0;
  virtual Info info(const std::string& name) const = 0;
  virtual Tensor tensor(const std::string& name) const = 0;
  virtual const char* format() const = 0;  // "safetensors", "pytorch", "gguf"
};

struct WeightOptions {
  // Of a checkpoint {"model": ..., "optimizer": ...}: the key whose tensors are meant. Empty: the tensors at
  // the root; if there are none, the only one of state_dict, model_state_dict, model, module; else an error
  // that lists the keys.
  std::string section = {};
  at::ScalarType quantised_as = at::kFloat;  // what GGUF's quantised tensors become
};

class WeightSource {
 public:
  using Info = TensorReader::Info;

  static WeightSource open(const std::string& path, const WeightOptions& options = {});
  WeightSource(std::vector<std::shared_ptr<const TensorReader>> readers, std::string where);
  // Tensors made on the way (renamed, converted, merged); `format` is what format() will say.
  static WeightSource of(std::vector<LazyTensor> tensors, std::string where, std::string format);

  const std::vector<std::string>& names() const { return names_; }  // in the order of the files
  bool contains(const std::string& name) const { return entries_.count(name) != 0; }
  Info info(const std::string& name) const;  // throws Error{input} for a name that is not there
  Tensor tensor(const std::string& name) const;
  LazyTensor lazy(const std::string& name) const;  // keeps the file open
  const std::string& where() const { return where_; }
  const char* format() const;

  // The same tensors under other names; an empty name leaves a tensor out. Two under one name: Error{input}.
  WeightSource renamed(const std::function<std::string(const std::string&)>& rename) const;

 private:
  struct Entry {
    std::shared_ptr<const TensorReader> reader;
    std::string name;  // in the file
  };
  WeightSource() = default;
  void add(const std::string& name, Entry entry);
  const Entry& entry(const std::string& name) const;

  std::map<std::string, Entry> entries_;
  std::vector<std::string> names_;
  std::string where_;
};

using Shapes = std::map<std::string, std::vector<int64_t>>;

// Missing, unexpected and misshapen tensors, with shapes expected and found: Error{input} that lists them
// (the first 20 of each kind). `may_be_extra` says which unexpected ones are known to be of no use (stored
// buffers).
void require_tensors(const WeightSource& found, const Shapes& expected,
                     const std::function<bool(const std::string&)>& may_be_extra = {});
void require_tensors(const Shapes& found, const Shapes& expected, const std::string& where,
                     const std::function<bool(const std::string&)>& may_be_extra = {});
Shapes shapes_of(const WeightSource& source);

std::string format_shape(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace mneme
