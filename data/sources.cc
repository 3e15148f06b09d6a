#include "data/sources.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "data/line_reader.h"

namespace mneme {
namespace {

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
}

std::string bare_name(std::string name) {
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (std::string_view suffix : {".gz", ".zst"}) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  return name;
}

bool blank(std::string_view line) { return line.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos; }

// --- llm.c's header of 256 int32: magic, version, number of tokens.
struct LlmcHeader {
  bool valid = false;
  int width = 0;
  uint64_t tokens = 0;
};
constexpr size_t kLlmcHeader = 1024;

LlmcHeader llmc_header(std::string_view bytes) {
  LlmcHeader header;
  int32_t words[3] = {};
  if (bytes.size() < kLlmcHeader) return header;
  std::memcpy(words, bytes.data(), sizeof words);
  if (words[0] == 20240520 && words[1] == 1) header.width = 2;
  if (words[0] == 20240801 && words[1] == 7) header.width = 4;
  header.valid = header.width != 0;
  header.tokens = static_cast<uint32_t>(words[2]);
  return header;
}

class TextDocuments : public DocumentReader {
 public:
  TextDocuments(const std::string& path, const SourceOptions& options)
      : path_(path), separator_(options.separator), text_(read_whole(path, options.most_text)) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }
  bool next(RawDocument& raw) override {
    for (;;) {
      if (done_) return false;
      size_t end = separator_.empty() ? std::string::npos : text_.find(separator_, at_);
      std::string_view part = std::string_view(text_).substr(at_, end == std::string::npos ? end : end - at_);
      done_ = end == std::string::npos;
      if (!done_) at_ = end + separator_.size();
      if (blank(part)) continue;
      raw = {};
      raw.document.text = std::string(part);
      raw.document.where = path_ + (separator_.empty() ? "" : ":" + std::to_string(++count_));
      return true;
    }
  }
  void skip(int64_t documents) override {
    RawDocument unused;
    while (documents-- > 0 && next(unused)) {
    }
  }

 private:
  std::string path_, separator_, text_;
  size_t at_ = 0;
  bool done_ = false;
  int64_t count_ = 0;
};

class JsonDocuments : public DocumentReader {
 public:
  explicit JsonDocuments(const std::string& path) : path_(path), lines_(path) {}
  bool next(RawDocument& raw) override {
    if (!next_line()) return false;
    raw = {};
    raw.document.where = path_ + ":" + std::to_string(lines_.number());
    raw.record = std::move(line_);
    return true;
  }
  void skip(int64_t documents) override {
    while (documents-- > 0 && next_line()) {
    }
  }

 private:
  bool next_line() {
    while (lines_.next(line_)) {
      if (!blank(line_)) return true;
    }
    return false;
  }
  std::string path_, line_;
  LineReader lines_;
};

// Raw ids. In nanoGPT's files the border token ends a document, in llm.c's it begins one.
class TokenDocuments : public DocumentReader {
 public:
  TokenDocuments(const std::string& path, const SourceOptions& options, SourceFormat format)
      : path_(path), map_(path), begins_(format == SourceFormat::llmc) {
    std::string_view bytes = map_.text();
    width_ = 2;
    if (format == SourceFormat::llmc) {
      const LlmcHeader header = llmc_header(bytes);
      if (!header.valid) throw Error(Kind::input, path + ": not a token file of llm.c that is known here");
      width_ = header.width;
      bytes.remove_prefix(kLlmcHeader);
      if (bytes.size() / static_cast<size_t>(width_) < header.tokens) {
        throw Error(Kind::input, path + ": the header promises " + std::to_string(header.tokens) +
                                     " tokens, the file has " +
                                     std::to_string(bytes.size() / static_cast<size_t>(width_)));
      }
      bytes = bytes.substr(0, header.tokens * static_cast<size_t>(width_));
    } else if (bytes.size() % 2 != 0) {
      throw Error(Kind::input, path + ": an odd number of bytes, so not raw 16-bit ids");
    }
    bytes_ = bytes;
    end_ = options.end_id.value_or(width_ == 4 ? 128000 : 50256);
    map_.advise(MappedFile::Advice::normal);
  }
  bool next(RawDocument& raw) override {
    const size_t begin = at_, stop = border();
    if (begin == stop) return false;
    raw = {};
    Document& document = raw.document;
    document.add_special = document.add_end = false;
    document.ids.reserve(stop - begin);
    for (size_t i = begin; i < stop; ++i) document.ids.push_back(id(i));
    document.where = path_ + ":" + std::to_string(++count_);
    return true;
  }
  void skip(int64_t documents) override {
    while (documents-- > 0 && at_ < size()) border(), ++count_;
  }

 private:
  size_t size() const { return bytes_.size() / static_cast<size_t>(width_); }
  int32_t id(size_t i) const {
    if (width_ == 2) {
      uint16_t value = 0;
      std::memcpy(&value, bytes_.data() + 2 * i, 2);
      return value;
    }
    int32_t value = 0;
    std::memcpy(&value, bytes_.data() + 4 * i, 4);
    if (value < 0) throw Error(Kind::input, path_ + ": a token id past 2^31");
    return value;
  }
  // Moves past the document at at_, and gives its end.
  size_t border() {
    size_t i = at_;
    if (begins_ && i < size()) ++i;
    while (i < size() && id(i) != end_) ++i;
    if (!begins_ && i < size()) ++i;
    return at_ = i;
  }
  std::string path_;
  MappedFile map_;
  std::string_view bytes_;
  int width_ = 2;
  int32_t end_ = 0;
  bool begins_;
  size_t at_ = 0;
  int64_t count_ = 0;
};

bool valid_text_start(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c == '\0'; });
}

std::string compression_of(const std::string& path) {
  std::string head(4, '\0');
  MappedFile map(path);
  if (map.size() < 4) return "";
  std::memcpy(head.data(), map.data(), 4);
  if (head.starts_with("\x1F\x8B")) return ", gzip";
  return head == "\x28\xB5\x2F\xFD" ? ", zstd" : "";
}

}  // namespace

SourceFormat detect_format(const std::string& path, const SourceOptions& options, std::string* description) {
  const std::string name = bare_name(path), packed = compression_of(path);
  if (name.ends_with(".bin")) {
    const MappedFile map(path);
    const LlmcHeader header = llmc_header(map.text());
    *description = header.valid ? "tokens of llm.c, " + std::to_string(header.width * 8) + "-bit ids"
                                : "tokens of nanoGPT, raw 16-bit ids";
    return header.valid ? SourceFormat::llmc : SourceFormat::nanogpt;
  }
  std::string head(4096, '\0');
  head.resize(ByteStream::open(path)->read(head.data(), head.size()));
  const size_t first = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  const bool json_name = ends_with_any(name, {".jsonl", ".json", ".ndjson"});
  const bool text_name = ends_with_any(name, {".txt", ".text", ".md"});
  if (json_name || (!text_name && first != std::string::npos && head[first] == '{')) {
    LineReader lines(path);
    std::string line, shape = "empty";
    while (lines.next(line)) {
      if (blank(line)) continue;
      const std::string where = path + ":" + std::to_string(lines.number());
      const auto kind = kind_of(parse_ordered_json(line, where), options.record);
      if (!kind) {
        throw Error(Kind::input, where + ": a record of no known shape",
                    "expected \"" + options.record.text_key +
                        "\", prompt and completion, instruction and output, or messages");
      }
      shape = name_of(*kind);
      break;
    }
    *description = "JSON lines (" + shape + ")" + packed;
    return SourceFormat::json_lines;
  }
  if (!text_name && !valid_text_start(head)) {
    throw Error(Kind::input, path + ": neither text, JSON lines nor tokens",
                "expected .txt, .jsonl (.gz, .zst) or .bin");
  }
  *description = "text" + packed;
  return SourceFormat::text;
}

namespace {

std::vector<std::string> listed_files(const std::string& list) {
  const std::string folder = std::filesystem::path(list).parent_path().string();
  std::vector<std::string> paths;
  LineReader lines(list);
  for (std::string line; lines.next(line);) {
    if (!blank(line)) paths.push_back(join_path(folder.empty() ? "." : folder, line));
  }
  if (paths.empty()) throw Error(Kind::input, list + ": an empty list", "name one file a line");
  return paths;
}

}  // namespace

std::vector<SourceFile> find_sources(const std::string& path, const SourceOptions& options) {
  std::vector<std::string> paths;
  if (path.ends_with(".list")) {
    paths = listed_files(path);
  } else if (is_folder(path)) {
    std::error_code code;
    for (std::filesystem::recursive_directory_iterator it(path, code), end; !code && it != end;
         it.increment(code)) {
      const std::string file = it->path().string();
      if (it->is_regular_file() &&
          ends_with_any(bare_name(file), {".txt", ".text", ".md", ".jsonl", ".ndjson", ".bin"})) {
        paths.push_back(file);
      }
    }
    if (code) throw Error(Kind::input, path + ": " + code.message());
    std::sort(paths.begin(), paths.end());
    if (paths.empty()) throw Error(Kind::input, path + ": no .txt, .jsonl or .bin files in this folder");
  } else {
    paths.push_back(path);
  }
  std::vector<SourceFile> files;
  for (const std::string& file : paths) {
    SourceFile made{file, SourceFormat::text, ""};
    made.format = detect_format(file, options, &made.description);
    files.push_back(std::move(made));
  }
  return files;
}

Document finish(RawDocument raw, const SourceOptions& options) {
  if (raw.record.empty()) return std::move(raw.document);
  const std::string& where = raw.document.where;
  return read_record(parse_ordered_json(raw.record, where), options.record, where);
}

std::unique_ptr<DocumentReader> open_documents(const SourceFile& file, const SourceOptions& options) {
  switch (file.format) {
    case SourceFormat::text:
      return std::make_unique<TextDocuments>(file.path, options);
    case SourceFormat::json_lines:
      return std::make_unique<JsonDocuments>(file.path);
    default:
      return std::make_unique<TokenDocuments>(file.path, options, file.format);
  }
}

}  // namespace mneme
