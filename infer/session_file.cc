#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "infer/session.h"

namespace mneme {
namespace {

constexpr int64_t kMostKept = 1 << 16;
constexpr const char* kKind = "session-1";

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(Kind::input, path + ": this session cannot be used: " + why,
              "expected a file that mneme generate --session or mneme chat --session wrote");
}

}  // namespace

SessionFile SessionFile::read(const std::string& path, const std::string& fingerprint) {
  StateFile file = read_state_file(path, fingerprint);
  SessionFile out;
  out.rows = std::move(file.state.rows);
  out.fingerprint = std::move(file.fingerprint);
  if (file.note.empty()) refuse(path, "it is a state without its text");
  const nlohmann::json note = parse_json(file.note, path + ": note");
  const JsonReader in(note, path + ": note");
  if (in.string("kind", "") != kKind) refuse(path, "its note is not of a session");
  out.text = in.integers("text");
  out.keep = in.integer_in("keep", 0, kMostKept, 0);
  // Parsed again: an object whose keys keep their order.
  if (in.has("extra")) out.extra = nlohmann::ordered_json::parse(file.note).at("extra");
  if (out.rows.empty()) refuse(path, "it has no rows");
  int64_t before = 0;
  for (size_t r = 1; r < out.rows.size(); ++r) {
    if (out.rows[r].position <= before) refuse(path, "its segment ends do not ascend");
    before = out.rows[r].position;
  }
  if (before > out.rows[0].position || out.rows[0].position > static_cast<int64_t>(out.text.size()))
    refuse(path, "its state has read more than its text");
  if (std::any_of(out.text.begin(), out.text.end(), [](int64_t id) { return id < 0; }))
    refuse(path, "its text has negative ids");
  return out;
}

void SessionFile::write(const std::string& path) const {
  const nlohmann::ordered_json note = {{"kind", kKind}, {"keep", keep}, {"text", text}, {"extra", extra}};
  State state;
  state.rows = rows;
  save_state(state, fingerprint, path, note.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void SessionFile::go_back(int64_t count) {
  const auto kept = static_cast<int64_t>(rows.size()) - 1;
  if (count < 0 || count > kept) {
    throw Error(
        Kind::usage,
        "cannot go back " + std::to_string(count) + " segment ends: " + std::to_string(kept) + " are kept",
        "sessions keep as many as --session.keep says");
  }
  if (count == 0) return;
  if (!extra.is_null()) {
    throw Error(Kind::usage, "a conversation goes back by its turns, not by segments",
                "use /undo in mneme chat");
  }
  const size_t to = rows.size() - static_cast<size_t>(count);
  rows[0] = rows[to];
  rows.resize(to + 1);
  text.resize(static_cast<size_t>(rows[0].position));
}

void SessionFile::trim(int64_t most) {
  if (most < 0) throw Error(Kind::usage, "cannot keep " + std::to_string(most) + " segment ends");
  keep = most;
  const auto kept = static_cast<int64_t>(rows.size()) - 1;
  if (kept > most) rows.erase(rows.begin() + 1, rows.begin() + 1 + (kept - most));
}

namespace {

class Differences {
 public:
  void text(const std::string& what) { out.push_back(what); }
  template <class T>
  void value(const std::string& what, const T& a, const T& b) {
    if (a != b) out.push_back(what + ": " + std::to_string(a) + " and " + std::to_string(b));
  }
  void tensor(const std::string& what, const Tensor& a, const Tensor& b) {
    if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) {
      out.push_back(what + ": " + describe(a) + " and " + describe(b));
    } else if (a.numel() > 0 && !a.equal(b)) {
      const double d = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
      out.push_back(what + ": differ by up to " + std::to_string(d));
    }
  }
  void cache(const std::string& what, const KvCache& a, const KvCache& b) {
    if (a.size() != b.size() || a.layers() != b.layers()) {
      out.push_back(what + ": " + std::to_string(a.size()) + " and " + std::to_string(b.size()) + " slots");
      return;
    }
    for (int64_t l = 0; l < a.layers() && !a.empty(); ++l) {
      const auto [ka, va] = a.dense(l);
      const auto [kb, vb] = b.dense(l);
      tensor(what + ", keys of layer " + std::to_string(l), ka, kb);
      tensor(what + ", values of layer " + std::to_string(l), va, vb);
    }
  }
  // Names that one map has and the other lacks; `both` is called for the others.
  template <class Map, class Both>
  void maps(const std::string& what, const Map& a, const Map& b, const Both& both) {
    for (const auto& [name, x] : a) {
      const auto found = b.find(name);
      if (found == b.end()) {
        out.push_back(what + " '" + name + "' is in the first only");
      } else {
        both(what + " '" + name + "'", x, found->second);
      }
    }
    for (const auto& [name, y] : b) {
      if (a.find(name) == a.end()) out.push_back(what + " '" + name + "' is in the second only");
    }
  }
  std::vector<std::string> out;
};

}  // namespace

std::vector<std::string> session_differences(const SessionFile& a, const SessionFile& b) {
  Differences d;
  if (a.fingerprint != b.fingerprint) d.text("another model: " + a.fingerprint + " and " + b.fingerprint);
  const auto common = static_cast<size_t>(
      std::mismatch(a.text.begin(), a.text.end(), b.text.begin(), b.text.end()).first - a.text.begin());
  if (a.text != b.text) {
    d.text("texts of " + std::to_string(a.text.size()) + " and " + std::to_string(b.text.size()) +
           " tokens, the same up to " + std::to_string(common));
  }
  d.value("kept segment ends", a.rows.size() - 1, b.rows.size() - 1);
  const Row &x = a.rows[0], &y = b.rows[0];
  d.value("tokens read", x.position, y.position);
  d.value("segments closed", x.segment, y.segment);
  d.value("tokens of the open segment", x.phase, y.phase);
  d.cache("working slots", x.working, y.working);
  d.maps("number", x.numbers, y.numbers,
         [&](const std::string& what, int64_t p, int64_t q) { d.value(what, p, q); });
  d.maps("tensor", x.tensors, y.tensors,
         [&](const std::string& what, const Tensor& p, const Tensor& q) { d.tensor(what, p, q); });
  d.maps("cache", x.caches, y.caches,
         [&](const std::string& what, const KvCache& p, const KvCache& q) { d.cache(what, p, q); });
  return d.out;
}

}  // namespace mneme
