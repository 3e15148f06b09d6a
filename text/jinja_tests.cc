// `x is ...`.
#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"

namespace mneme::jinja {
namespace {

template <bool (*holds)(const Value&)>
Value plain(const Value& x, Arguments& given) {
  Bound("test", given, {});
  return holds(x);
}

template <bool (*holds)(const Value&, const Value&)>
Value with_other(const Value& x, Arguments& given) {
  return holds(x, *Bound("test", given, {"other"}, 1)[0]);
}

bool is_boolean(const Value& x) { return x.boolean() != nullptr; }
bool is_true(const Value& x) { return x.boolean() && *x.boolean(); }
bool is_false(const Value& x) { return x.boolean() && !*x.boolean(); }
bool is_integer(const Value& x) { return x.integer() != nullptr; }
bool is_float(const Value& x) { return x.real() != nullptr; }
bool is_number(const Value& x) { return x.is_number(); }
bool is_string(const Value& x) { return x.text() != nullptr; }
bool is_mapping(const Value& x) { return x.mapping() != nullptr; }
bool is_none(const Value& x) { return x.is_none(); }
bool is_defined(const Value& x) { return !x.is_undefined(); }
bool is_undefined(const Value& x) { return x.is_undefined(); }
// An undefined value counts: calling it is what fails.
bool is_callable(const Value& x) { return x.is_undefined() || (x.object() && x.object()->callable()); }
bool is_escaped(const Value& x) { return x.text() && x.text()->markup; }
bool is_sequence(const Value& x) {
  return x.text() || x.mapping() || x.is_undefined() ||
         (x.sequence() && x.sequence()->kind <= Sequence::Kind::range);
}
bool is_odd(const Value& x) { return equal(modulo(x, 2), 1); }
bool is_even(const Value& x) { return equal(modulo(x, 2), 0); }

bool text_says(const Value& x, const char* name) {
  Value answer = *method(Value(x.str()), name);
  return answer.object()->call({}).truth();
}
bool is_lower(const Value& x) { return text_says(x, "islower"); }
bool is_upper(const Value& x) { return text_says(x, "isupper"); }

bool divisible(const Value& x, const Value& by) { return equal(modulo(x, by), 0); }
bool same(const Value& x, const Value& y) { return x.identical(y); }
bool inside(const Value& x, const Value& y) { return contains(y, x); }
bool differs(const Value& x, const Value& y) { return !equal(x, y); }
bool less(const Value& x, const Value& y) { return ordered(x, y, "<"); }
bool at_most(const Value& x, const Value& y) { return ordered(x, y, "<="); }
bool greater(const Value& x, const Value& y) { return ordered(x, y, ">"); }
bool at_least(const Value& x, const Value& y) { return ordered(x, y, ">="); }
bool names_filter(const Value& x) { return x.text() && has_filter(x.text()->bytes); }
bool names_test(const Value& x) { return x.text() && has_test(x.text()->bytes); }

}  // namespace

const BuiltinTable& tests() {
  static const BuiltinTable table = {{"!=", with_other<differs>},
                                     {"<", with_other<less>},
                                     {"<=", with_other<at_most>},
                                     {"==", with_other<equal>},
                                     {">", with_other<greater>},
                                     {">=", with_other<at_least>},
                                     {"boolean", plain<is_boolean>},
                                     {"callable", plain<is_callable>},
                                     {"defined", plain<is_defined>},
                                     {"divisibleby", with_other<divisible>},
                                     {"eq", with_other<equal>},
                                     {"equalto", with_other<equal>},
                                     {"escaped", plain<is_escaped>},
                                     {"even", plain<is_even>},
                                     {"false", plain<is_false>},
                                     {"filter", plain<names_filter>},
                                     {"float", plain<is_float>},
                                     {"ge", with_other<at_least>},
                                     {"greaterthan", with_other<greater>},
                                     {"gt", with_other<greater>},
                                     {"in", with_other<inside>},
                                     {"integer", plain<is_integer>},
                                     {"iterable", plain<Iterator::possible>},
                                     {"le", with_other<at_most>},
                                     {"lessthan", with_other<less>},
                                     {"lower", plain<is_lower>},
                                     {"lt", with_other<less>},
                                     {"mapping", plain<is_mapping>},
                                     {"ne", with_other<differs>},
                                     {"none", plain<is_none>},
                                     {"number", plain<is_number>},
                                     {"odd", plain<is_odd>},
                                     {"sameas", with_other<same>},
                                     {"sequence", plain<is_sequence>},
                                     {"string", plain<is_string>},
                                     {"test", plain<names_test>},
                                     {"true", plain<is_true>},
                                     {"undefined", plain<is_undefined>},
                                     {"upper", plain<is_upper>}};
  return table;
}

}  // namespace mneme::jinja
