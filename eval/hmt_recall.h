// HMT's recall both ways (memory/hmt.h): as published, which looks ahead inside the segment, and causal. The
// parameters are the same, so a model can be measured with either, and a published figure is worth little
// without the causal one beside it.
#pragma once

#include <string>
#include <vector>

#include "memory/model.h"

namespace mneme {

// The recall that the model reads with; empty for a model without one (another method, or a reduced mode).
std::string recall_of(const Model& model);

// "both": causal and lookahead, where the model has a recall; "own": what it is. {""} for a model without.
std::vector<std::string> recalls_of(const Model& model, const std::string& which);

// Puts the method in the model's place with the other recall and the same parameters. Nothing for "".
void set_recall(Model& model, const std::string& recall);

}  // namespace mneme
