#include <algorithm>

#include "base/files.h"
#include "base/options_internal.h"

namespace mneme {
namespace options_internal {

void unknown_key(const OptionTable& table, const std::string& key, const std::string& what, Kind kind,
                 const std::string& prefix, const std::string& more) {
  std::vector<std::string> keys, same_tail;
  for (const Option& o : table.options) {
    keys.push_back(o.key);
    const size_t dot = o.key.rfind('.');
    if (dot != std::string::npos && o.key.substr(dot + 1) == key) same_tail.push_back(o.key);
  }
  std::string near = nearest(key, same_tail.empty() ? keys : same_tail);
  if (prefix == "--") near = flag_of(near).substr(2);
  throw Error(kind, what,
              (near.empty() ? "there are no options here" : "the nearest is " + prefix + near) + more);
}

void collect(const OptionTable& table, const std::vector<Leaf>& leaves, Kind kind, Assignments& into) {
  for (const Leaf& leaf : leaves) {
    const Option* option = table.find(leaf.key);
    if (!option) unknown_key(table, leaf.key, leaf.where + ": unknown key '" + leaf.key + "'", kind, "", "");
    into.set(*option, value_of_json(*option, leaf.value, leaf.where + ": " + leaf.key, kind));
  }
}

}  // namespace options_internal

using namespace options_internal;

namespace {

// One pass over the words of a command line.
class Parser {
 public:
  Parser(int argc, const char* const* argv, const OptionTable& table)
      : words_(argv + std::min(argc, 1), argv + argc), table_(table) {
    help_ = argc > 0 ? std::string("; 'mneme ") + argv[0] + " --help' lists all" : "";
    for (const Option& o : table.options) {
      if (o.positional) places_.push_back(&o);
    }
  }

  Parsed run() {
    Parsed parsed;
    const auto end = std::find(words_.begin(), words_.end(), "--");
    for (auto it = words_.begin(); it != end; ++it) {
      parsed.help |= *it == "--help" || *it == "-h" || *it == "--help=markdown";
      parsed.markdown |= *it == "--help=markdown";
    }
    if (parsed.help) return parsed;
    while (next_ < words_.size()) word(words_[next_++], parsed);

    Assignments all;  // files first, whatever their place in the line; flags override them
    for (const std::string& path : configs_) {
      collect(table_, leaves_of_toml(read_file(path), path, table_), Kind::usage, all);
    }
    flags_.merge_into(all);
    if (!parsed.dump_config) {
      for (const Option& o : table_.options) {
        if (o.required && all.is_empty(o)) missing(o);
      }
    }
    all.keys(parsed.given);
    all.commit();
    return parsed;
  }

 private:
  // Flags in the order given. The first of a list replaces what a file said, the next ones append.
  struct Flags {
    std::vector<std::pair<const Option*, Value>> order;
    void merge_into(Assignments& all) const {
      std::set<const Option*> seen;
      for (const auto& [option, value] : order) {
        if (is_list(*option) && !seen.insert(option).second) {
          all.append(*option, value);
        } else {
          all.set(*option, value);
        }
      }
    }
  };

  void word(const std::string& w, Parsed& parsed) {
    if (!only_words_ && w == "--") {
      only_words_ = true;
    } else if (!only_words_ && w.rfind("--", 0) == 0) {
      flag(w, parsed);
    } else if (!only_words_ && w.size() > 1 && w[0] == '-' && !(w[1] >= '0' && w[1] <= '9') && w[1] != '.') {
      throw Error(Kind::usage, "unknown flag '" + w + "'", "flags have two dashes" + help_);
    } else {
      place(w);
    }
  }

  void place(const std::string& w) {
    if (place_ == places_.size()) {
      throw Error(Kind::usage, "unexpected word '" + w + "'",
                  (places_.empty() ? "this command takes flags only" : "there is a word too many") + help_);
    }
    const Option& option = *places_[place_];
    if (is_list(option)) {
      flags_.order.emplace_back(&option,
                                std::vector<std::string>{w});  // whole: commas in a path do not split
    } else {
      flags_.order.emplace_back(&option, value_of_text(option, w, "<" + option.key + ">"));
      ++place_;
    }
  }

  void flag(const std::string& w, Parsed& parsed) {
    const size_t equals = w.find('=');
    const std::string shown = w.substr(0, equals);
    std::string key = shown.substr(2);
    std::replace(key.begin(), key.end(), '-', '_');
    std::optional<std::string> value;
    if (equals != std::string::npos) value = w.substr(equals + 1);

    if (key == "dump_config" && !value) {
      parsed.dump_config = true;
      return;
    }
    if (key == "config") {
      configs_.push_back(value ? *value : take(shown, "the path of a TOML file"));
      return;
    }
    const Option* option = table_.find(key);
    if (!option && key.rfind("no_", 0) == 0 && !value) {
      option = table_.find(key.substr(3));
      if (option && is_bool(*option)) {
        flags_.order.emplace_back(option, false);
        return;
      }
      option = nullptr;
    }
    if (!option) unknown_key(table_, key, "unknown flag '" + shown + "'", Kind::usage, "--", help_);
    if (is_bool(*option) && !value) value = "true";
    if (!value) value = take(shown, expected(*option));
    flags_.order.emplace_back(option, value_of_text(*option, *value, shown));
  }

  std::string take(const std::string& flag, const std::string& what) {
    if (next_ == words_.size())
      throw Error(Kind::usage, flag + ": expected " + what + ", found the end of the line");
    if (words_[next_].rfind("--", 0) == 0) {
      throw Error(Kind::usage, flag + ": expected " + what + ", found the flag '" + words_[next_] + "'",
                  "a value that starts with dashes is written " + flag + "=VALUE");
    }
    return words_[next_++];
  }

  [[noreturn]] void missing(const Option& option) const {
    const std::string name = option.positional ? "<" + option.key + ">" : flag_of(option.key);
    throw Error(Kind::usage, name + " is missing", "it is: " + option.help + help_);
  }

  const std::vector<std::string> words_;
  const OptionTable& table_;
  std::vector<const Option*> places_;
  std::vector<std::string> configs_;
  Flags flags_;
  size_t next_ = 0, place_ = 0;
  bool only_words_ = false;
  std::string help_;
};

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv, const OptionTable& table) {
  return Parser(argc, argv, table).run();
}

}  // namespace mneme
