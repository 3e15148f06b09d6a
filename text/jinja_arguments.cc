#include "text/jinja_arguments.h"

#include <algorithm>

namespace mneme::jinja {

Bound::Bound(std::string_view function, Arguments& given, std::initializer_list<std::string_view> names,
             size_t required)
    : function_(function), values_(names.size()) {
  if (given.positional.size() > names.size()) {
    fail(function_ + "() takes at most " + std::to_string(names.size()) + " arguments (" +
         std::to_string(given.positional.size()) + " given)");
  }
  for (size_t i = 0; i < given.positional.size(); ++i) values_[i] = given.positional[i];
  for (const auto& [name, value] : given.named) {
    auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) fail(function_ + "() got an unexpected keyword argument '" + name + "'");
    auto i = static_cast<size_t>(found - names.begin());
    if (values_[i]) fail(function_ + "() got multiple values for argument '" + name + "'");
    values_[i] = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i]) fail(function_ + "() missing argument '" + std::string(names.begin()[i]) + "'");
  }
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  if (!values_[i]) return otherwise;
  if (values_[i]->is_undefined()) fail_undefined(*values_[i]);
  auto integer = values_[i]->as_integer();
  if (!integer)
    fail(function_ + "(): '" + values_[i]->type_name() + "' object cannot be interpreted as an integer");
  return *integer;
}

std::string Bound::text(size_t i, std::string_view otherwise) const {
  if (!values_[i]) return std::string(otherwise);
  if (values_[i]->is_undefined()) fail_undefined(*values_[i]);
  if (!values_[i]->text()) fail(function_ + "(): must be str, not " + values_[i]->type_name());
  return values_[i]->text()->bytes;
}

}  // namespace mneme::jinja
