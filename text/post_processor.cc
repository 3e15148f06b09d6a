#include "text/post_processor.h"

#include <utility>

#include "text/json_fields.h"
#include "text/vocabulary.h"

namespace mneme {
namespace {

using nlohmann::json;

int32_t read_id(const json& v, const char* field, const std::string& where) {
  if (!v.is_number_integer() || v.get<int64_t>() < 0 || v.get<int64_t>() >= Vocabulary::kMostIds) {
    throw Error(Kind::input, where + ": '" + field + "' should be a token id, found " + dump_json(v));
  }
  return v.get<int32_t>();
}

std::vector<int32_t> read_template(const json& config, const std::string& where) {
  const json& special = member(config, "special_tokens");
  std::vector<int32_t> out;
  bool has_sequence = false;
  for (const json& item : required_list(config, "single", where)) {
    if (const json& sequence = member(item, "Sequence"); sequence.is_object()) {
      if (required_text(sequence, "id", where) != "A" || has_sequence) {
        throw Error(Kind::input, where + ": the template for single texts must name the text A once");
      }
      out.push_back(PostProcessor::kSequence);
      has_sequence = true;
      continue;
    }
    const std::string name = required_text(member(item, "SpecialToken"), "id", where);
    const json& token = member(special, name.c_str());
    if (!token.is_object()) {
      throw Error(Kind::input, where + ": the template names '" + name + "', which special_tokens lacks");
    }
    for (const json& id : required_list(token, "ids", where)) out.push_back(read_id(id, "ids", where));
  }
  return out;
}

// BertProcessing and RobertaProcessing: "cls" and "sep" are [text, id].
std::vector<int32_t> read_pair(const json& config, const std::string& where) {
  const auto id = [&](const char* name) {
    const json& pair = required_list(config, name, where);
    if (pair.size() != 2) JsonReader(config, where).fail(name, "[text, id]");
    return read_id(pair[1], name, where);
  };
  return {id("cls"), PostProcessor::kSequence, id("sep")};
}

void add(const json& config, int depth, const std::string& where, PostProcessor& out) {
  if (depth > 20) throw Error(Kind::input, where + ": post-processors nested more than 20 deep");
  const std::string type = required_text(config, "type", where);
  if (type == "Sequence") {
    for (const json& part : required_list(config, "processors", where)) add(part, depth + 1, where, out);
  } else if (type == "TemplateProcessing") {
    out.templates.push_back(read_template(config, where));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    out.templates.push_back(read_pair(config, where));
  } else if (type != "ByteLevel") {  // that one trims offsets only
    throw Error(Kind::input, where + ": the post-processor '" + type + "' is not known");
  }
}

}  // namespace

std::vector<int32_t> PostProcessor::apply(std::vector<int32_t> ids) const {
  for (const std::vector<int32_t>& form : templates) {
    std::vector<int32_t> out;
    out.reserve(ids.size() + form.size());
    for (const int32_t id : form) {
      if (id == kSequence) {
        out.insert(out.end(), ids.begin(), ids.end());
      } else {
        out.push_back(id);
      }
    }
    ids = std::move(out);
  }
  return ids;
}

PostProcessor surround(const std::vector<int32_t>& before, const std::vector<int32_t>& after) {
  PostProcessor out;
  if (before.empty() && after.empty()) return out;
  std::vector<int32_t> form = before;
  form.push_back(PostProcessor::kSequence);
  form.insert(form.end(), after.begin(), after.end());
  out.templates.push_back(std::move(form));
  return out;
}

PostProcessor make_post_processor(const json& config, const std::string& where) {
  PostProcessor out;
  if (!config.is_null()) add(config, 0, where, out);
  return out;
}

}  // namespace mneme
