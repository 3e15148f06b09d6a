#include "memory/model.h"

namespace mneme {

State Model::initial(int64_t rows) const {
  State s;
  s.rows.resize(static_cast<size_t>(rows));
  for (Row& r : s.rows) memory->initial(r);
  return s;
}

std::vector<Parameter> Model::parameters() const {
  std::vector<Parameter> all = decoder->parameters();
  for (Parameter& p : memory->parameters()) all.push_back(std::move(p));
  return all;
}

}  // namespace mneme
