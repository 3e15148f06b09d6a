#include <toml++/toml.h>

#include <algorithm>
#include <charconv>

#include "base/options_internal.h"

namespace mneme {
namespace options_internal {
namespace {

nlohmann::json json_of_toml(const toml::node& node, const std::string& where) {
  if (const auto* v = node.as_boolean()) return v->get();
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_floating_point()) return v->get();
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* list = node.as_array()) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& item : *list) out.push_back(json_of_toml(item, where));
    return out;
  }
  throw Error(Kind::usage, where + ": expected a string, a number, true, false or a list of them",
              "dates and tables inside lists are no option's value");
}

std::string place(const std::string& name, const toml::source_region& source) {
  return name + ":" + std::to_string(source.begin.line) + ":" + std::to_string(source.begin.column);
}

void walk(const toml::table& table, const std::string& prefix, const std::string& name,
          const OptionTable& options, std::vector<Leaf>& out) {
  for (const auto& [k, node] : table) {
    const std::string key = prefix + std::string(k.str());
    const std::string where = place(name, k.source());
    const bool section = std::any_of(options.sections.begin(), options.sections.end(),
                                     [&, &key = key](const auto& s) { return s.key == key; });
    if (section && !node.is_table()) {
      throw Error(Kind::usage, where + ": expected a table, '" + key + "' is a section of options",
                  "write [" + key + "] and its keys below");
    }
    if (const auto* inner = node.as_table(); inner && section) {
      walk(*inner, key + ".", name, options, out);
    } else if (inner || !options.find(key)) {
      unknown_key(options, key, where + ": unknown " + (inner ? "section" : "key") + " '" + key + "'",
                  Kind::usage, "", "");
    } else {
      out.push_back({key, json_of_toml(node, where), where});
    }
  }
}

void walk(const nlohmann::json& json, const std::string& prefix, const std::string& name,
          const OptionTable& options, std::vector<Leaf>& out) {
  for (const auto& [k, value] : json.items()) {
    const std::string key = prefix + k;
    const bool section = std::any_of(options.sections.begin(), options.sections.end(),
                                     [&, &key = key](const auto& s) { return s.key == key; });
    if (section && value.is_object()) {
      walk(value, key + ".", name, options, out);
    } else {
      out.push_back({key, value, name});
    }
  }
}

std::string toml_string(const std::string& text) {
  std::string out = "\"";
  constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20 || u == 0x7f) {
      out += "\\u00";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_of(const nlohmann::json& json) {
  if (json.is_null()) return "\"none\"";
  if (json.is_string()) return toml_string(json.get<std::string>());
  if (json.is_number_float()) {
    char buffer[40];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, json.get<double>()).ptr;
    std::string out(buffer, end);
    return out.find_first_of(".en") == std::string::npos ? out + ".0" : out;
  }
  if (!json.is_array()) return json.dump();
  std::string out = "[";
  for (const auto& item : json) out += (out.size() > 1 ? ", " : "") + toml_of(item);
  return out + "]";
}

std::string parent(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

std::string tail(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? key : key.substr(dot + 1);
}

std::string flag_usage(const Option& option) {
  if (option.positional) return "<" + option.key + ">" + (is_list(option) ? "..." : "");
  std::string out = flag_of(option.key);
  if (is_bool(option)) return out;
  struct Name {
    const char* operator()(int64_t*) const { return " N"; }
    const char* operator()(double*) const { return " X"; }
    const char* operator()(std::string*) const { return " TEXT"; }
    const char* operator()(std::vector<int64_t>*) const { return " N,..."; }
    const char* operator()(std::vector<double>*) const { return " X,..."; }
    const char* operator()(std::vector<std::string>*) const { return " TEXT,..."; }
    const char* operator()(std::optional<int64_t>*) const { return " N"; }
    const char* operator()(std::optional<double>*) const { return " X"; }
    const char* operator()(bool*) const { return ""; }
  };
  return out + (option.allowed.empty() ? std::visit(Name{}, option.target) : " NAME");
}

// The remark after the help: allowed values and the default.
std::string remark(const Option& option) {
  std::string out;
  for (const std::string& a : option.allowed) out += (out.empty() ? "one of " : ", ") + a;
  if (option.required) {
    out += (out.empty() ? "" : "; ") + std::string("required");
  } else if (const std::string now = text_of(value_now(option));
             !now.empty() && !(is_bool(option) && now == "false")) {
    out += (out.empty() ? "" : "; ") + std::string("default ") + now;
  }
  return out;
}

// Words filled into lines of at most 110 columns, the following ones indented.
void append_wrapped(std::string& out, const std::string& text, size_t indent) {
  size_t column = indent;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    if (column > indent && column + 1 + (end - at) > 110) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out.append(text, at, end - at);
    column += end - at;
    at = end + 1;
  }
  out += '\n';
}

void append_line(std::string& out, const std::string& left, const std::string& help) {
  constexpr size_t kColumn = 34;
  out += "  " + left;
  const size_t used = 2 + left.size();
  out += used + 2 > kColumn ? "\n" + std::string(kColumn, ' ') : std::string(kColumn - used, ' ');
  append_wrapped(out, help, kColumn);
}

std::string help_of(const Option& option) {
  const std::string more = remark(option);
  return option.help + (more.empty() ? "" : " (" + more + ")");
}

std::string markdown_cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::vector<Leaf> leaves_of_toml(std::string_view text, const std::string& name, const OptionTable& table) {
  std::vector<Leaf> out;
  try {
    const toml::table parsed = toml::parse(text, name);
    walk(parsed, "", name, table, out);
  } catch (const toml::parse_error& e) {
    throw Error(Kind::usage, place(name, e.source()) + ": expected TOML: " + std::string(e.description()));
  }
  return out;
}

}  // namespace options_internal

using namespace options_internal;

void options_from_toml(std::string_view text, const std::string& name, const OptionTable& table,
                       std::set<std::string>* given) {
  Assignments all;
  collect(table, leaves_of_toml(text, name, table), Kind::usage, all);
  if (given) all.keys(*given);
  all.commit();
}

void options_from_json(const nlohmann::json& json, const std::string& name, const OptionTable& table) {
  if (!json.is_object())
    throw Error(Kind::input, name + ": expected a JSON object of options, found " + json.type_name());
  std::vector<Leaf> leaves;
  walk(json, "", name, table, leaves);
  Assignments all;
  collect(table, leaves, Kind::input, all);
  all.commit();
}

std::string options_to_toml(const OptionTable& table) {
  std::string out;
  const auto lines = [&](const std::string& section) {
    for (const Option& o : table.options) {
      if (parent(o.key) != section) continue;
      out += "# " + o.help + "\n" + tail(o.key) + " = " + toml_of(json_of(value_now(o))) + "\n";
    }
  };
  lines("");  // keys of the top must stand before the first table
  for (const OptionTable::Section& s : table.sections) {
    out += "\n# " + s.help + "\n[" + s.key + "]\n";
    lines(s.key);
  }
  return out;
}

void options_to_json(const OptionTable& table, nlohmann::json& json) {
  json = nlohmann::json::object();
  for (const Option& o : table.options) {
    nlohmann::json* at = &json;
    const std::string section = parent(o.key);
    for (size_t begin = 0; begin < section.size();) {
      const size_t end = std::min(section.find('.', begin), section.size());
      at = &(*at)[section.substr(begin, end - begin)];
      begin = end + 1;
    }
    (*at)[tail(o.key)] = json_of(value_now(o));
  }
}

nlohmann::json options_to_json(const OptionTable& table) {
  nlohmann::json json;
  options_to_json(table, json);
  return json;
}

std::string options_help(const OptionTable& table) {
  std::string out;
  const auto lines = [&](const std::string& section) {
    for (const bool positional : {true, false}) {
      for (const Option& o : table.options) {
        if (o.positional == positional && parent(o.key) == section)
          append_line(out, flag_usage(o), help_of(o));
      }
    }
  };
  lines("");
  append_line(out, "--config FILE", "options from a TOML file; flags override it (may be repeated)");
  append_line(out, "--dump-config", "print all options as TOML and stop");
  append_line(out, "--help", "this text");
  for (const OptionTable::Section& s : table.sections) {
    out += "\n" + s.key + ": " + s.help + "\n";
    lines(s.key);
  }
  return out;
}

std::string options_markdown(const OptionTable& table) {
  std::string out = "| flag | key | meaning | default |\n|---|---|---|---|\n";
  for (const Option& o : table.options) {
    const std::string now = text_of(value_now(o));
    std::string meaning = o.help;
    for (size_t i = 0; i < o.allowed.size(); ++i) meaning += (i ? ", `" : ": `") + o.allowed[i] + "`";
    out += "| `" + flag_usage(o) + "` | `" + o.key + "` | " + markdown_cell(meaning) + " | " +
           (o.required    ? "required"
            : now.empty() ? ""
                          : "`" + markdown_cell(now) + "`") +
           " |\n";
  }
  return out;
}

}  // namespace mneme
