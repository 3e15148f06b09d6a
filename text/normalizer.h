// Normalisers of tokenizer.json: text in, text out. Offsets into the original are not kept; all that is
// remembered is whether the text lost characters at its front, which Metaspace's "first" scheme asks.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace mneme {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Well-formed in, well-formed out. Sets `front_lost` when leading characters vanish, else leaves it.
  virtual void apply(std::string& text, bool& front_lost) const = 0;
};

// From the JSON object of the file; null gives nullptr. An unknown type is an Error that names it.
std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& config, const std::string& where);

}  // namespace mneme
