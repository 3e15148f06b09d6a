#include "io/pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/error.h"

namespace mneme {
namespace {

using Tag = PickleValue::Tag;

constexpr size_t kMaxValues = size_t{1} << 23;  // a state dict makes about 20 a tensor
constexpr uint64_t kMaxProgram = uint64_t{1} << 28;

class Machine {
 public:
  Machine(std::string_view bytes, const std::string& where, const std::vector<std::string_view>& globals)
      : bytes_(bytes.substr(0, kMaxProgram)), where_(where), globals_(globals) {}

  Pickle run() {
    while (step()) {
    }
    if (stack_.size() != 1 || !marks_.empty())
      refuse("it ends with " + std::to_string(stack_.size()) + " values");
    out_.root = stack_.back();
    out_.bytes = at_;
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(Kind::input, where_ + ": bad pickle at byte " + std::to_string(start_) + ": " + why,
                "download or write it again");
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse("it is cut short");
    const std::string_view piece = bytes_.substr(at_, count);
    at_ += count;
    return piece;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos || end - at_ > 1000) refuse("a line without end");
    const std::string_view text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  PickleValue& make(Tag tag) {
    if (out_.values.size() >= kMaxValues) refuse("more than " + std::to_string(kMaxValues) + " values");
    stack_.push_back(static_cast<uint32_t>(out_.values.size()));
    out_.values.emplace_back().tag = tag;
    return out_.values.back();
  }
  void integer(int64_t value) { make(Tag::integer).integer = value; }
  void boolean(bool value) { make(Tag::boolean).integer = value; }
  void text(Tag tag, std::string_view value) { make(tag).text = value; }

  uint32_t pop() {
    if (stack_.size() <= floor()) refuse("the stack is empty");
    const uint32_t top = stack_.back();
    stack_.pop_back();
    return top;
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  uint32_t top() {
    if (stack_.size() <= floor()) refuse("the stack is empty");
    return stack_.back();
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) refuse("no mark");
    std::vector<uint32_t> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void tuple(size_t count) {
    std::vector<uint32_t> items(count);
    for (size_t i = count; i > 0; --i) items[i - 1] = pop();
    make(Tag::list).items = std::move(items);
  }
  void append(const std::vector<uint32_t>& items) {
    PickleValue& list = out_.values[top()];
    if (list.tag != Tag::list && list.tag != Tag::object) refuse("appending to something that is not a list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<uint32_t>& items) {
    PickleValue& dict = out_.values[top()];
    if (dict.tag != Tag::dict && dict.tag != Tag::object)
      refuse("setting items of something that is not a dict");
    if (items.size() % 2 != 0) refuse("a key without a value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }
  void dict(std::vector<uint32_t> items) {
    if (items.size() % 2 != 0) refuse("a key without a value");
    make(Tag::dict).items = std::move(items);
  }

  void global(std::string_view module, std::string_view name) {
    const std::string whole = std::string(module) + " " + std::string(name);
    const auto found = std::find(globals_.begin(), globals_.end(), whole);
    if (found == globals_.end()) {
      throw Error(Kind::input,
                  where_ + " wants the Python object '" + std::string(module) + "." + std::string(name) +
                      "', which no file of tensors needs",
                  "mneme never executes a pickle; save the state dict alone, or as safetensors");
    }
    make(Tag::global).integer = found - globals_.begin();
  }
  std::string_view popped_text() {
    const PickleValue& value = out_.values[pop()];
    if (value.tag != Tag::text) refuse("a name that is not a text");
    return value.text;
  }
  void object() {
    const uint32_t arguments = pop(), callable = pop();
    if (out_.values[callable].tag != Tag::global)
      refuse("a call of something that is not a class or function");
    PickleValue& made = make(Tag::object);
    made.callable = callable;
    made.arguments = arguments;
  }
  void build() {
    const uint32_t state = pop();
    PickleValue& target = out_.values[top()];
    if (target.tag != Tag::object) refuse("a state for something that is not an object");
    target.state = state;
  }
  void put(uint32_t key) { memo_[key] = top(); }
  void get(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("memo " + std::to_string(key) + " is not set");
    stack_.push_back(found->second);
  }
  void long_integer(std::string_view digits) {
    if (digits.size() > 8) return text(Tag::bytes, digits);
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size(); ++i) value |= uint64_t{static_cast<uint8_t>(digits[i])} << (8 * i);
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    if (negative && digits.size() < 8) value |= ~uint64_t{0} << (8 * digits.size());
    integer(static_cast<int64_t>(value));
  }
  void real() {
    uint64_t bits = __builtin_bswap64(number<uint64_t>());
    std::memcpy(&make(Tag::real).real, &bits, sizeof bits);
  }

  bool step();
  bool constant(uint8_t op);
  bool container(uint8_t op);
  bool call(uint8_t op);

  std::string_view bytes_;
  const std::string& where_;
  const std::vector<std::string_view>& globals_;
  uint64_t at_ = 0, start_ = 0;
  Pickle out_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;  // heights of the stack; nothing below the last one may be popped
  std::unordered_map<uint32_t, uint32_t> memo_;
};

bool Machine::constant(uint8_t op) {
  switch (op) {
    case 'N':
      make(Tag::none);
      return true;
    case 0x88:
      boolean(true);
      return true;
    case 0x89:
      boolean(false);
      return true;
    case 'J':
      integer(number<int32_t>());
      return true;
    case 'K':
      integer(number<uint8_t>());
      return true;
    case 'M':
      integer(number<uint16_t>());
      return true;
    case 0x8a:
      long_integer(take(number<uint8_t>()));
      return true;
    case 0x8b:
      long_integer(take(number<uint32_t>()));
      return true;
    case 'G':
      real();
      return true;
    case 'X':
      text(Tag::text, take(number<uint32_t>()));
      return true;
    case 0x8c:
      text(Tag::text, take(number<uint8_t>()));
      return true;
    case 0x8d:
      text(Tag::text, take(number<uint64_t>()));
      return true;
    case 'T':
      text(Tag::text, take(number<uint32_t>()));
      return true;  // Python 2's str
    case 'U':
      text(Tag::text, take(number<uint8_t>()));
      return true;
    case 'B':
      text(Tag::bytes, take(number<uint32_t>()));
      return true;
    case 'C':
      text(Tag::bytes, take(number<uint8_t>()));
      return true;
    case 0x8e:
    case 0x96:
      text(Tag::bytes, take(number<uint64_t>()));
      return true;
    default:
      return false;
  }
}

bool Machine::container(uint8_t op) {
  switch (op) {
    case ']':
    case ')':
    case 0x8f:
      make(Tag::list);
      return true;
    case 'l':
    case 't':
    case 0x91: {
      std::vector<uint32_t> items = pop_to_mark();
      make(Tag::list).items = std::move(items);
      return true;
    }
    case 0x85:
      tuple(1);
      return true;
    case 0x86:
      tuple(2);
      return true;
    case 0x87:
      tuple(3);
      return true;
    case 'a': {
      const uint32_t item = pop();
      append({item});
      return true;
    }
    case 'e':
    case 0x90:
      append(pop_to_mark());
      return true;
    case '}':
      make(Tag::dict);
      return true;
    case 'd':
      dict(pop_to_mark());
      return true;
    case 's': {
      const uint32_t value = pop(), key = pop();
      set_items({key, value});
      return true;
    }
    case 'u':
      set_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

bool Machine::call(uint8_t op) {
  switch (op) {
    case 'c': {
      const std::string_view module = line();
      global(module, line());
      return true;
    }
    case 0x93: {
      const std::string_view name = popped_text();
      global(popped_text(), name);
      return true;
    }
    case 'R':
    case 0x81:
      object();
      return true;
    case 0x92:
      pop();  // keywords
      object();
      return true;
    case 'b':
      build();
      return true;
    case 'Q': {
      const uint32_t id = pop();
      make(Tag::persistent).callable = id;
      return true;
    }
    default:
      return false;
  }
}

bool Machine::step() {
  start_ = at_;
  const auto op = number<uint8_t>();
  if (constant(op) || container(op) || call(op)) return true;
  switch (op) {
    case '.':
      return false;
    case 0x80: {
      const auto protocol = number<uint8_t>();
      if (protocol < 2 || protocol > 5) refuse("protocol " + std::to_string(protocol) + " is not read");
      return true;
    }
    case 0x95:
      number<uint64_t>();
      return true;  // frames only help reading from a stream
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case '0':
      pop();
      return true;
    case '1':
      pop_to_mark();
      return true;
    case '2':
      stack_.push_back(top());
      return true;
    case 'q':
      put(number<uint8_t>());
      return true;
    case 'r':
      put(number<uint32_t>());
      return true;
    case 0x94:
      put(static_cast<uint32_t>(memo_.size()));
      return true;
    case 'h':
      get(number<uint8_t>());
      return true;
    case 'j':
      get(number<uint32_t>());
      return true;
    default:
      refuse("operation " + std::to_string(op) + " is not read");
  }
}

}  // namespace

Pickle read_pickle(std::string_view bytes, const std::string& where,
                   const std::vector<std::string_view>& globals) {
  return Machine(bytes, where, globals).run();
}

}  // namespace mneme
