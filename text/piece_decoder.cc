#include "text/piece_decoder.h"

#include <utility>

#include "text/decode_stages.h"
#include "text/json_fields.h"

namespace mneme {

using nlohmann::json;

class DecodeChain::Output final : public DecodeStage {
 public:
  void push(const DecodedChunk& chunk) override { text += chunk.text; }
  std::string text;
};

DecodeChain::DecodeChain(std::vector<std::unique_ptr<DecodeStage>> stages)
    : stages_(std::move(stages)), output_(std::make_unique<Output>()) {
  DecodeStage* next = output_.get();
  for (size_t i = stages_.size(); i-- > 0;) {
    stages_[i]->set_next(next);
    next = stages_[i].get();
  }
  first_ = next;
}

DecodeChain::DecodeChain(DecodeChain&&) noexcept = default;
DecodeChain& DecodeChain::operator=(DecodeChain&&) noexcept = default;
DecodeChain::~DecodeChain() = default;

std::string DecodeChain::take() { return std::exchange(output_->text, std::string()); }

namespace {

using Stages = std::vector<std::unique_ptr<DecodeStage>>;
using StageMaker = std::function<std::unique_ptr<DecodeStage>(DecodeMode)>;

template <class Stage, class... Args>
StageMaker maker(Args... args) {
  return [args...](DecodeMode) -> std::unique_ptr<DecodeStage> { return std::make_unique<Stage>(args...); };
}

class ChainBuilder {
 public:
  explicit ChainBuilder(std::string where) : where_(std::move(where)) {}

  void add(const json& config, int depth) {
    if (depth > 20) throw Error(Kind::input, where_ + ": decoders nested more than 20 deep");
    const std::string type = required_text(config, "type", where_);
    if (type == "Sequence") {
      for (const json& part : required_list(config, "decoders", where_)) add(part, depth + 1);
    } else if (type == "Fuse") {
      makers_.push_back(maker<decode::Fuse>());
      chunked_ = true;
    } else if (type == "Strip") {
      add_strip(config);
    } else if (type == "Replace") {
      add_replace(config);
    } else {
      add_whole(type, config);
    }
  }

  DecoderFactory build() && {
    return [makers = std::move(makers_)](DecodeMode mode) {
      Stages stages;
      stages.reserve(makers.size());
      for (const StageMaker& make : makers) stages.push_back(make(mode));
      return DecodeChain(std::move(stages));
    };
  }

 private:
  void gather() {
    if (chunked_) makers_.push_back(maker<decode::Gather>());
    chunked_ = false;
  }

  void add_strip(const json& config) {
    const int64_t start = field_int(config, "start", 0, where_), stop = field_int(config, "stop", 0, where_);
    if (start < 0 || stop < 0) throw Error(Kind::input, where_ + ": a Strip decoder with a negative count");
    std::string content;
    append_utf8(content, field_char(config, "content", ' ', where_));
    makers_.push_back(maker<decode::Strip>(content, start, stop));
    chunked_ = true;
  }

  void add_replace(const json& config) {
    std::shared_ptr<const Replacement> replacement =
        std::make_shared<Replacement>(Replacement::from_json(config, where_));
    if (chunked_ && !replacement->is_regex()) {
      makers_.push_back(maker<decode::ReplaceAcross>(replacement));
      return;
    }
    gather();
    makers_.push_back(maker<decode::Replace>(replacement));
  }

  void add_whole(const std::string& type, const json& config) {
    gather();
    if (type == "ByteLevel") {
      makers_.push_back(maker<decode::ByteLevel>());
      chunked_ = true;
    } else if (type == "ByteFallback") {
      makers_.emplace_back([](DecodeMode mode) { return std::make_unique<decode::ByteFallback>(mode); });
      chunked_ = true;
    } else if (type == "Metaspace") {
      std::string mark;
      append_utf8(mark, field_char(config, "replacement", 0x2581, where_));
      const bool never = field_text(config, "prepend_scheme", "always", where_) == "never" ||
                         !field_bool(config, "add_prefix_space", true, where_);
      makers_.push_back(maker<decode::Metaspace>(mark, !never));
    } else if (type == "WordPiece") {
      makers_.push_back(maker<decode::WordPiece>(field_text(config, "prefix", "##", where_),
                                                 field_bool(config, "cleanup", true, where_)));
    } else if (type == "BPEDecoder") {
      makers_.push_back(maker<decode::WordSuffix>(field_text(config, "suffix", "</w>", where_)));
    } else if (type == "CTC") {
      makers_.push_back(maker<decode::Ctc>(field_text(config, "pad_token", "<pad>", where_),
                                           field_text(config, "word_delimiter_token", "|", where_),
                                           field_bool(config, "cleanup", true, where_)));
    } else {
      throw Error(Kind::input, where_ + ": the decoder '" + type + "' is not known");
    }
  }

  std::string where_;
  std::vector<StageMaker> makers_;
  bool chunked_ = false;  // the stages so far may hand on a token in parts
};

DecoderFactory single(StageMaker make) {
  return [make = std::move(make)](DecodeMode mode) {
    Stages stages;
    stages.push_back(make(mode));
    return DecodeChain(std::move(stages));
  };
}

}  // namespace

DecoderFactory make_decoder(const json& config, const std::string& where) {
  if (config.is_null()) return single(maker<decode::Spaces>());
  ChainBuilder builder(where);
  builder.add(config, 0);
  return std::move(builder).build();
}

DecoderFactory make_byte_level_decoder() { return single(maker<decode::ByteLevel>()); }

DecoderFactory make_spm_decoder(SpmDecoderOptions options) {
  auto shared = std::make_shared<const SpmDecoderOptions>(std::move(options));
  return single(maker<decode::Spm>(shared));
}

}  // namespace mneme
