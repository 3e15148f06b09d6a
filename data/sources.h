// Where documents come from: text files and folders of them, JSON lines, token files of nanoGPT and llm.c.
// The format is told by the file itself, and said (`description`) so that a wrong guess is seen.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/document.h"
#include "data/records.h"

namespace mneme {

enum class SourceFormat { text, json_lines, nanogpt, llmc };

struct SourceOptions {
  RecordOptions record;
  std::string separator;  // splits a text file into documents, "<|endoftext|>" say; empty: a file is one
  std::optional<int32_t>
      end_id;  // the border in token files; default 50256, or 128000 in llm.c's newer files
  size_t most_text = size_t{2} << 30;  // bytes of one text file
};

struct SourceFile {
  std::string path;
  SourceFormat format;
  std::string description;  // "JSON lines (messages), gzip"
};

// The files of a path: itself, all of a folder that look like data, sorted by name, or those that a *.list
// names, one a line, relative to it. Throws Error{input} for a file that fits no format and for a folder
// without any.
std::vector<SourceFile> find_sources(const std::string& path, const SourceOptions& options);
SourceFormat detect_format(const std::string& path, const SourceOptions& options, std::string* description);

// A document as it was read. Records are parsed and rendered by finish(), which may run on any thread.
struct RawDocument {
  Document document;
  std::string record;  // a JSON line; empty: the document is finished
};
Document finish(RawDocument raw, const SourceOptions& options);

// The documents of one file, in order.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  virtual bool next(RawDocument& raw) = 0;
  // Passes over so many documents: what a resumed preparation has already. Cheaper than reading them.
  virtual void skip(int64_t documents) = 0;
};
std::unique_ptr<DocumentReader> open_documents(const SourceFile& file, const SourceOptions& options);

}  // namespace mneme
