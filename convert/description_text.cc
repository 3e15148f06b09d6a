#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "base/format.h"
#include "convert/describe.h"
#include "io/weights.h"

namespace mneme {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string count_of(const Json& value) { return format_count(value.get<double>()); }

std::string pairs_of(const Json& object) {
  std::string out;
  for (const auto& [key, value] : object.items())
    out += (out.empty() ? "" : ", ") + key + " " + text_of(value);
  return out;
}

// A tensor's name cut at its first number: "model.layers.", 3, ".norm.weight".
struct CutName {
  std::string_view before, after;
  int64_t number = -1;  // -1: the name has none, and `before` is all of it
};

CutName cut_at_number(std::string_view name) {
  const std::string_view digits = "0123456789";
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (!part.empty() && part.size() < 10 && part.find_first_not_of(digits) == std::string_view::npos)
      return {name.substr(0, begin), name.substr(end), std::stoll(std::string(part))};
    begin = end + 1;
  }
  return {name, {}, -1};
}

struct Line {
  std::string before, after, rest;
  std::vector<int64_t> numbers;
};

std::string shown_name(const Line& line) {
  if (line.numbers.empty()) return line.before;
  const auto [low, high] = std::minmax_element(line.numbers.begin(), line.numbers.end());
  return line.numbers.size() == 1 ? fmt::format("{}{}{}", line.before, *low, line.after)
                                  : fmt::format("{}{{{}..{}}}{}", line.before, *low, *high, line.after);
}

std::string tensor_lines(const Json& tensors, bool every_tensor) {
  std::vector<Line> lines;
  std::map<std::string, size_t> place;
  for (const Json& t : tensors) {
    const std::string name = t.at("name");
    const std::string rest = t.at("dtype").get<std::string>() + " " + format_shape(t.at("shape"));
    const CutName cut = every_tensor ? CutName{name, {}, -1} : cut_at_number(name);
    const auto [at, fresh] = place.try_emplace(
        fmt::format("{}{}{} {}", cut.before, cut.number < 0 ? "" : "#", cut.after, rest), lines.size());
    if (fresh) lines.push_back({std::string(cut.before), std::string(cut.after), rest, {}});
    if (cut.number >= 0) lines[at->second].numbers.push_back(cut.number);
  }
  size_t width = 0;
  for (const Line& l : lines) width = std::max(width, shown_name(l).size());
  std::string out;
  for (const Line& l : lines) {
    out += fmt::format("  {:<{}}  {}", shown_name(l), width, l.rest);
    if (l.numbers.size() > 1) out += "  x " + std::to_string(l.numbers.size());
    out += "\n";
  }
  return out;
}

std::string architecture_line(const Json& a) {
  if (a.contains("error")) return text_of(a.at("error"));
  std::string out = text_of(a.at("name")) + ": " + text_of(a.at("layers")) + " layers of width " +
                    text_of(a.at("width")) + ", " + text_of(a.at("heads")) + " heads of " +
                    text_of(a.at("head_width"));
  if (a.at("kv_heads") != a.at("heads")) out += " (" + text_of(a.at("kv_heads")) + " for keys)";
  out += ", inner " + text_of(a.at("inner")) + ", vocabulary " + text_of(a.at("vocabulary")) + ", " +
         text_of(a.at("max_positions")) + " " + text_of(a.at("positions")) + " positions";
  if (a.at("window") != 0) out += ", window " + text_of(a.at("window"));
  return out + (a.at("tied_head") == true ? ", tied head" : "");
}

std::string memory_line(const Json& m) {
  if (m.contains("error")) return text_of(m.at("error"));
  std::string out = text_of(m.at("method")) + ": " + text_of(m.at("summary"));
  if (m.contains("options")) out += "; " + pairs_of(m.at("options"));
  if (m.contains("elements")) {
    out += "; " + count_of(m.at("elements")) + " parameters in " + std::to_string(m.at("tensors").size()) +
           " tensors of its own";
  }
  return out;
}

std::string tokenizer_line(const Json& t) {
  if (t.contains("error")) return text_of(t.at("error"));
  std::string out = text_of(t.at("source")) + ": " + text_of(t.at("vocabulary")) + " pieces, ";
  std::string special;
  for (const auto& [name, id] : t.at("special").items()) {
    if (id.get<int64_t>() >= 0) special += (special.empty() ? "" : ", ") + name + " " + id.dump();
  }
  out += special.empty() ? "no special tokens" : special;
  return out + (t.at("chat_template") == true ? ", a chat template" : "");
}

std::string adapter_line(const Json& a) {
  if (a.contains("error")) return text_of(a.at("error"));
  return "LoRA of rank " + text_of(a.at("rank")) + ", alpha " + text_of(a.at("alpha")) + ": " +
         text_of(a.at("pairs")) + " matrices, " + text_of(a.at("whole_tensors")) + " whole tensors, for '" +
         text_of(a.at("base_model")) + "'";
}

std::string row_lines(const Json& row, size_t index) {
  std::string out = "row " + std::to_string(index) + "         " + text_of(row.at("position")) +
                    " tokens read, " + text_of(row.at("segment")) + " segments closed, " +
                    text_of(row.at("phase")) + " tokens in the open one, " +
                    format_bytes(row.at("bytes").get<double>()) + ", " + text_of(row.at("working_slots")) +
                    " working slots\n";
  for (const char* part : {"tensors", "caches", "numbers"}) {
    if (row.contains(part))
      out += "              " + std::string(part) + ": " + pairs_of(row.at(part)) + "\n";
  }
  return out;
}

}  // namespace

std::string description_text(const Json& d, bool every_tensor) {
  const std::string kind = d.at("kind");
  std::string out = text_of(d.at("path")) + ": " +
                    (kind == "adapter"   ? "an "
                     : kind == "weights" ? ""
                                         : "a ") +
                    kind + " (" + (d.contains("format") ? text_of(d.at("format")) + ", " : "") +
                    format_bytes(d.at("bytes").get<double>()) + ")\n";
  const auto line = [&](const char* label, const std::string& text) {
    out += fmt::format("{:<14}{}\n", label, text);
  };
  if (d.contains("architecture")) line("architecture", architecture_line(d.at("architecture")));
  if (d.contains("architecture") && d.at("architecture").contains("parameters"))
    line("parameters", count_of(d.at("architecture").at("parameters")));
  if (d.contains("memory")) line("memory", memory_line(d.at("memory")));
  if (kind == "adapter") line("adapter", adapter_line(d));
  if (d.contains("adapter")) line("adapter", adapter_line(d.at("adapter")));
  if (d.contains("tokenizer")) line("tokenizer", tokenizer_line(d.at("tokenizer")));
  if (d.contains("fingerprint")) line("fingerprint", text_of(d.at("fingerprint")));
  if (d.contains("note")) line("note", pairs_of(d.at("note")));
  if (d.contains("rows")) {
    for (size_t r = 0; r < d.at("rows").size(); ++r) out += row_lines(d.at("rows")[r], r);
  }
  if (d.contains("weights")) line("weights", text_of(d.at("weights").at("error")));
  if (!d.contains("tensors")) return out;
  std::string dtypes;
  for (const auto& [name, n] : d.at("dtypes").items())
    dtypes += (dtypes.empty() ? "" : ", ") + count_of(n) + " " + name;
  line("tensors", std::to_string(d.at("tensors").size()) + " (" + dtypes + ")");
  out += tensor_lines(d.at("tensors"), every_tensor);
  if (d.contains("memory") && d.at("memory").contains("tensors"))
    out += tensor_lines(d.at("memory").at("tensors"), every_tensor);
  return out;
}

}  // namespace mneme
