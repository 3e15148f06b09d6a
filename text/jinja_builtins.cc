#include "text/jinja_builtins.h"

#include "text/jinja_operators.h"

namespace mneme::jinja {
namespace {

class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)), depth_(deeper(items_)) {}
  std::string type_name() const override { return "Cycler"; }
  int depth() const override { return depth_; }
  std::optional<Value> attribute(const std::string& name) override {
    if (name == "current") return items_[at_];
    if (name != "next" && name != "reset") return std::nullopt;
    return Value(std::shared_ptr<Object>(std::make_shared<Step>(shared_from_this(), name == "next")));
  }

 private:
  class Step : public Object {
   public:
    Step(std::shared_ptr<Cycler> cycler, bool forward) : cycler_(std::move(cycler)), forward_(forward) {}
    std::string type_name() const override { return "method"; }
    bool callable() const override { return true; }
    int depth() const override { return cycler_->depth() + 1; }
    Value call(Arguments arguments) override {
      Bound("cycler", arguments, {});
      Value now = cycler_->items_[cycler_->at_];
      cycler_->at_ = forward_ ? (cycler_->at_ + 1) % cycler_->items_.size() : 0;
      return forward_ ? now : Value();
    }

   private:
    std::shared_ptr<Cycler> cycler_;
    bool forward_;
  };
  std::vector<Value> items_;
  int depth_;
  size_t at_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string type_name() const override { return "Joiner"; }
  bool callable() const override { return true; }
  int depth() const override { return separator_.depth() + 1; }
  Value call(Arguments arguments) override {
    Bound("joiner", arguments, {});
    bool first = !std::exchange(used_, true);
    return first ? Value("") : separator_;
  }

 private:
  Value separator_;
  bool used_ = false;
};

Value cycler(const Value&, Arguments& given) {
  if (given.positional.empty() || !given.named.empty()) fail("at least one item has to be provided");
  return std::shared_ptr<Object>(std::make_shared<Cycler>(given.positional));
}

Value joiner(const Value&, Arguments& given) {
  Bound bound("joiner", given, {"sep"});
  return std::shared_ptr<Object>(std::make_shared<Joiner>(bound.given(0) ? *bound[0] : Value(", ")));
}

Value range(const Value&, Arguments& given) {
  Bound bound("range", given, {"start", "stop", "step"}, 1);
  if (!given.named.empty()) fail("range() takes no keyword arguments");
  int64_t start = bound.given(1) ? bound.integer(0, 0) : 0, stop = bound.integer(bound.given(1) ? 1 : 0, 0);
  int64_t step = bound.integer(2, 1);
  if (step == 0) fail("range() arg 3 must not be zero");
  std::string shown = "range(" + std::to_string(start) + ", " + std::to_string(stop) +
                      (step == 1 ? "" : ", " + std::to_string(step)) + ")";
  std::vector<Value> items;
  constexpr size_t kMost = 100000;  // the sandbox's
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (items.size() == kMost) fail("Range too big. The sandbox blocks ranges larger than 100000.");
    items.push_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return std::make_shared<const Sequence>(Sequence::Kind::range, std::move(items), std::move(shown));
}

}  // namespace

Value make_dict(const Arguments& given) {
  std::vector<Mapping::Entry> entries;
  if (given.positional.size() > 1) fail("dict expected at most 1 argument");
  if (!given.positional.empty()) {
    const Value& from = given.positional[0];
    if (from.is_undefined()) fail_undefined(from);
    if (from.mapping()) {
      entries = from.mapping()->entries();
    } else {
      for (const Value& pair : items_of(from)) {
        std::vector<Value> both = items_of(pair);
        if (both.size() != 2) fail("dictionary update sequence element has length other than 2");
        entries.emplace_back(both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : given.named) entries.emplace_back(Value(name), value);
  return std::make_shared<const Mapping>(std::move(entries));
}

const BuiltinTable& functions() {
  static const BuiltinTable table = {
      {"range", range},
      {"dict", [](const Value&, Arguments& given) { return make_dict(given); }},
      {"cycler", cycler},
      {"joiner", joiner}};
  return table;
}

bool has_filter(std::string_view name) {
  return text_filters().count(name) || sequence_filters().count(name);
}
bool has_test(std::string_view name) { return tests().count(name) != 0; }

Value call_filter(const std::string& name, const Value& subject, Arguments& arguments) {
  for (const BuiltinTable* table : {&text_filters(), &sequence_filters()}) {
    if (auto found = table->find(name); found != table->end()) return found->second(subject, arguments);
  }
  fail("No filter named '" + name + "'.");
}

bool call_test(const std::string& name, const Value& subject, Arguments& arguments) {
  auto found = tests().find(name);
  if (found == tests().end()) fail("No test named '" + name + "'.");
  return found->second(subject, arguments).truth();
}

}  // namespace mneme::jinja
