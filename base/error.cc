#include "base/error.h"

#include <utility>

namespace mneme {

Error::Error(Kind kind, std::string message, std::string hint)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)) {
  whole_ = hint_.empty() ? message_ : message_ + "\n  " + hint_;
}

void check_failed(const char* file, int line, const char* condition, const std::string& note) {
  throw Error(Kind::failure,
              std::string("internal check failed at ") + file + ":" + std::to_string(line) + ": " +
                  condition + (note.empty() ? "" : " (" + note + ")"),
              "this is a bug in mneme; please report it with the command that led here");
}

}  // namespace mneme
