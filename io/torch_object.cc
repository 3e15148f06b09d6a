#include "io/torch_object.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "io/blob.h"

namespace mneme {
namespace {

using Tag = PickleValue::Tag;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxVisits = size_t{1} << 22, kMaxNameBytes = size_t{1} << 28;
constexpr size_t kMaxTensorRank = 64;
constexpr int64_t kMaxElements = int64_t{1} << 56;  // so that bytes fit an int64
// A view may repeat elements (stride 0). Making such a tensor dense must stay possible.
constexpr int64_t kMaxRepeated = int64_t{1} << 28;

enum class Role { mapping, sequence, storage, tensor_v1, tensor_v2, tensor_v3, parameter, from_type, other };

struct Global {
  std::string_view name;
  Role role;
  at::ScalarType dtype = at::kByte;
};
constexpr auto kGlobals = std::to_array<Global>({
    {"collections OrderedDict", Role::mapping},
    {"collections defaultdict", Role::mapping},
    {"argparse Namespace", Role::mapping},
    {"builtins dict", Role::mapping},
    {"__builtin__ dict", Role::mapping},
    {"builtins set", Role::sequence},
    {"__builtin__ set", Role::sequence},
    {"builtins list", Role::sequence},
    {"__builtin__ list", Role::sequence},
    {"torch Size", Role::sequence},
    {"builtins int", Role::other},
    {"__builtin__ int", Role::other},
    {"__builtin__ long", Role::other},
    {"builtins float", Role::other},
    {"__builtin__ float", Role::other},
    {"torch device", Role::other},
    {"torch Tensor", Role::other},
    {"torch.nn.parameter Parameter", Role::other},
    {"torch DoubleStorage", Role::storage, at::kDouble},
    {"torch FloatStorage", Role::storage, at::kFloat},
    {"torch HalfStorage", Role::storage, at::kHalf},
    {"torch BFloat16Storage", Role::storage, at::kBFloat16},
    {"torch LongStorage", Role::storage, at::kLong},
    {"torch IntStorage", Role::storage, at::kInt},
    {"torch ShortStorage", Role::storage, at::kShort},
    {"torch CharStorage", Role::storage, at::kChar},
    {"torch ByteStorage", Role::storage, at::kByte},
    {"torch BoolStorage", Role::storage, at::kBool},
    {"torch UntypedStorage", Role::storage, at::kByte},
    {"torch.storage UntypedStorage", Role::storage, at::kByte},
    {"torch._utils _rebuild_tensor", Role::tensor_v1},
    {"torch._utils _rebuild_tensor_v2", Role::tensor_v2},
    {"torch._utils _rebuild_tensor_v3", Role::tensor_v3},
    {"torch._utils _rebuild_parameter", Role::parameter},
    {"torch._utils _rebuild_parameter_with_state", Role::parameter},
    {"torch._tensor _rebuild_from_type_v2", Role::from_type},
    {"torch float64", Role::other, at::kDouble},
    {"torch float32", Role::other, at::kFloat},
    {"torch float16", Role::other, at::kHalf},
    {"torch bfloat16", Role::other, at::kBFloat16},
    {"torch int64", Role::other, at::kLong},
    {"torch int32", Role::other, at::kInt},
    {"torch int16", Role::other, at::kShort},
    {"torch int8", Role::other, at::kChar},
    {"torch uint8", Role::other, at::kByte},
    {"torch bool", Role::other, at::kBool},
});

class Walker {
 public:
  Walker(const Pickle& pickle, const std::string& where) : pickle_(pickle), where_(where) {}

  TorchObject run() {
    visit(pickle_.root, "", "", 0);
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& path, const std::string& why) const {
    throw Error(Kind::input,
                where_ + ": " + (path.empty() ? "the saved object" : "'" + path + "'") + " " + why,
                "download or write it again");
  }

  const PickleValue& at(uint32_t index) const { return pickle_.values.at(index); }
  const Global& global_of(const PickleValue& v) const { return kGlobals.at(static_cast<size_t>(v.integer)); }
  Role role(const PickleValue& v) const {
    return v.tag == Tag::object ? global_of(at(v.callable)).role : Role::other;
  }
  const PickleValue& argument(const std::string& path, const PickleValue& call, size_t index, Tag tag) const {
    const PickleValue& list = at(call.arguments);
    if (list.tag != Tag::list || index >= list.items.size()) refuse(path, "is a call with too few arguments");
    const PickleValue& value = at(list.items[index]);
    if (value.tag != tag) refuse(path, "has a wrong argument " + std::to_string(index));
    return value;
  }

  void visit(uint32_t index, const std::string& path, const std::string& section, int depth);
  void visit_mapping(const std::vector<uint32_t>& items, const std::string& path, int depth);
  void visit_object(const PickleValue& v, const std::string& path, const std::string& section, int depth);
  void add_tensor(const PickleValue& call, Role kind, const std::string& path, const std::string& section);
  std::string add_storage(const std::string& path, const PickleValue& persistent, TorchStorage& storage);
  std::vector<int64_t> numbers(const std::string& path, const PickleValue& call, size_t index) const;
  std::string name_of(const std::string& path, uint32_t key) const;

  const Pickle& pickle_;
  const std::string& where_;
  TorchObject out_;
  std::set<std::string> names_;
  size_t visits_ = 0, name_bytes_ = 0;
};

std::string Walker::name_of(const std::string& path, uint32_t key) const {
  const PickleValue& k = at(key);
  if (k.tag == Tag::text) return path.empty() ? std::string(k.text) : path + "." + std::string(k.text);
  const std::string text = k.tag == Tag::integer || k.tag == Tag::boolean ? std::to_string(k.integer) : "?";
  return path.empty() ? text : path + "." + text;
}

void Walker::visit(uint32_t index, const std::string& path, const std::string& section, int depth) {
  const PickleValue& v = at(index);
  if (depth > kMaxDepth) refuse("", "contains itself, or is nested deeper than " + std::to_string(kMaxDepth));
  name_bytes_ += path.size();
  if (++visits_ > kMaxVisits || name_bytes_ > kMaxNameBytes)
    refuse("", "is too large to be a set of tensors");
  if (v.tag == Tag::dict) {
    visit_mapping(v.items, path, depth);
  } else if (v.tag == Tag::list) {
    for (size_t i = 0; i < v.items.size(); ++i) {
      const Tag tag = at(v.items[i]).tag;
      if (tag != Tag::dict && tag != Tag::list && tag != Tag::object) continue;
      visit(v.items[i], path.empty() ? std::to_string(i) : path + "." + std::to_string(i), path, depth + 1);
    }
  } else if (v.tag == Tag::object) {
    visit_object(v, path, section, depth);
  }
}

void Walker::visit_mapping(const std::vector<uint32_t>& items, const std::string& path, int depth) {
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const Tag tag = at(items[i + 1]).tag;
    if (tag == Tag::dict || tag == Tag::list || tag == Tag::object) {
      visit(items[i + 1], name_of(path, items[i]), path, depth + 1);
    }
  }
}

void Walker::visit_object(const PickleValue& v, const std::string& path, const std::string& section,
                          int depth) {
  const Role kind = role(v);
  if (depth > kMaxDepth) refuse("", "contains itself, or is nested deeper than " + std::to_string(kMaxDepth));
  switch (kind) {
    case Role::tensor_v1:
    case Role::tensor_v2:
    case Role::tensor_v3:
      return add_tensor(v, kind, path, section);
    case Role::parameter:
      return visit_object(argument(path, v, 0, Tag::object), path, section, depth + 1);
    case Role::from_type: {  // (function, type, its arguments, state): a tensor with attributes of its own
      PickleValue call;
      const PickleValue& function = argument(path, v, 0, Tag::global);
      call.tag = Tag::object;
      call.callable = static_cast<uint32_t>(&function - pickle_.values.data());
      call.arguments = static_cast<uint32_t>(&argument(path, v, 2, Tag::list) - pickle_.values.data());
      return visit_object(call, path, section, depth + 1);
    }
    case Role::mapping: {
      visit_mapping(v.items, path, depth);
      if (v.state != PickleValue::kNothing && v.items.empty())
        visit(v.state, path, section, depth + 1);      // a Namespace
      const PickleValue& arguments = at(v.arguments);  // OrderedDict([[key, value], ...]) of Python 2
      if (arguments.tag != Tag::list || arguments.items.size() != 1) return;
      const PickleValue& pairs = at(arguments.items[0]);
      if (pairs.tag != Tag::list) return;
      for (const uint32_t pair : pairs.items) {
        if (at(pair).tag != Tag::list || at(pair).items.size() != 2) refuse(path, "is a dict of no pairs");
        visit_mapping(at(pair).items, path, depth);
      }
      return;
    }
    case Role::sequence:
      return visit(v.arguments, path, section, depth + 1);
    case Role::storage:
    case Role::other:
      return;
  }
}

std::vector<int64_t> Walker::numbers(const std::string& path, const PickleValue& call, size_t index) const {
  const PickleValue& all = at(call.arguments);
  if (all.tag != Tag::list || index >= all.items.size()) refuse(path, "is a call with too few arguments");
  const PickleValue* list = &at(all.items[index]);
  if (role(*list) == Role::sequence) list = &argument(path, *list, 0, Tag::list);  // torch.Size((2, 3))
  if (list->tag != Tag::list || list->items.size() > kMaxTensorRank) refuse(path, "has a bad shape");
  std::vector<int64_t> out;
  for (const uint32_t item : list->items) {
    if (at(item).tag != Tag::integer || at(item).integer < 0) refuse(path, "has a bad shape");
    out.push_back(at(item).integer);
  }
  return out;
}

// ('storage', type, key, device, count) and, in old files, None or (view key, offset, count)
std::string Walker::add_storage(const std::string& path, const PickleValue& persistent,
                                TorchStorage& storage) {
  const PickleValue& id = at(persistent.callable);
  const auto field = [&](size_t i, Tag tag) -> const PickleValue& {
    if (id.tag != Tag::list || i >= id.items.size() || at(id.items[i]).tag != tag)
      refuse(path, "has a bad storage");
    return at(id.items[i]);
  };
  const Global& type = global_of(field(1, Tag::global));
  if (field(0, Tag::text).text != "storage" || type.role != Role::storage) refuse(path, "has a bad storage");
  const std::string key(field(2, Tag::text).text);
  storage.dtype = type.dtype;
  storage.count = field(4, Tag::integer).integer;
  if (storage.count < 0 || storage.count > kMaxElements) refuse(path, "has a storage of impossible size");
  if (id.items.size() > 5 && at(id.items[5]).tag == Tag::list) {
    const PickleValue& view = at(id.items[5]);
    if (view.items.size() != 3 || at(view.items[1]).tag != Tag::integer ||
        at(view.items[2]).tag != Tag::integer) {
      refuse(path, "has a bad view");
    }
    const int64_t offset = at(view.items[1]).integer, count = at(view.items[2]).integer;
    if (offset < 0 || count < 0 || count > storage.count || offset > storage.count - count) {
      refuse(path, "has a view outside of its storage");
    }
    storage.view_offset = offset;
    storage.count = offset + count;
  }
  const auto [found, added] = out_.storages.emplace(key, storage);
  if (!added && found->second.dtype != storage.dtype)
    refuse(path, "shares a storage with a tensor of another type");
  found->second.count = std::max(found->second.count, storage.count);
  return key;
}

void Walker::add_tensor(const PickleValue& call, Role kind, const std::string& path,
                        const std::string& section) {
  TorchTensor t;
  t.section = section;
  TorchStorage storage;
  t.storage = add_storage(path, argument(path, call, 0, Tag::persistent), storage);
  t.dtype = storage.dtype;
  int64_t count = storage.count;
  if (kind == Role::tensor_v3) {  // (..., backward hooks, dtype, metadata) over untyped bytes
    const Global& type = global_of(argument(path, call, 6, Tag::global));
    if (type.name.rfind("torch ", 0) != 0 || type.role != Role::other) refuse(path, "has no dtype");
    t.dtype = type.dtype;
    count = count * static_cast<int64_t>(c10::elementSize(storage.dtype)) /
            static_cast<int64_t>(c10::elementSize(t.dtype));
  }
  t.offset = argument(path, call, 1, Tag::integer).integer;
  t.shape = numbers(path, call, 2);
  t.strides = numbers(path, call, 3);
  const int64_t elements = checked_numel(t.shape);
  if (t.shape.size() != t.strides.size() || elements < 0) refuse(path, "has a bad shape");
  t.extent = elements == 0 ? 0 : 1;
  for (size_t i = 0; i < t.shape.size() && elements > 0; ++i) {
    int64_t last = 0;
    if (__builtin_mul_overflow(t.shape[i] - 1, t.strides[i], &last) ||
        __builtin_add_overflow(t.extent, last, &t.extent)) {
      refuse(path, "has impossible strides");
    }
  }
  int64_t end = 0;
  if (t.offset < 0 || __builtin_add_overflow(t.offset, storage.view_offset, &t.offset) ||
      __builtin_add_overflow(t.offset, t.extent, &end) || end > count) {
    refuse(path, "lies outside of its storage of " + std::to_string(count) + " elements");
  }
  if (elements > std::max(count, kMaxRepeated)) refuse(path, "repeats the elements of its storage too often");
  if (!names_.insert(path).second) refuse(path, "occurs twice");
  out_.tensors.emplace_back(path, std::move(t));
}

}  // namespace

const std::vector<std::string_view>& torch_globals() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (const Global& g : kGlobals) out.push_back(g.name);
    return out;
  }();
  return names;
}

TorchObject read_torch_object(const Pickle& pickle, const std::string& where) {
  return Walker(pickle, where).run();
}

}  // namespace mneme
