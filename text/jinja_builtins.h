// The filters, tests and functions that every template has. Of the original's filters, those that only make
// web pages or random choices are left out: urlize, pprint, random.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "text/jinja_arguments.h"
#include "text/jinja_value.h"

namespace mneme::jinja {

using BuiltinTable = std::map<std::string_view, Builtin>;
const BuiltinTable& text_filters();
const BuiltinTable& sequence_filters();
const BuiltinTable& tests();
const BuiltinTable& functions();  // range, dict, cycler, joiner; the subject is unused

Value make_dict(const Arguments& arguments);  // dict(mapping or pairs, name=value)

bool has_filter(std::string_view name);
bool has_test(std::string_view name);
Value call_filter(const std::string& name, const Value& subject, Arguments& arguments);
bool call_test(const std::string& name, const Value& subject, Arguments& arguments);

}  // namespace mneme::jinja
