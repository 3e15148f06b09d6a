// The reference cases of Landmark Attention, by kind of run; verify/landmark.cc chooses among them.
#pragma once

#include "verify/recurrent.h"

namespace mneme {

Results run_landmark_op(const GoldenCase& golden);      // one attention, forward and backward
Results run_landmark_chunks(const GoldenCase& golden);  // chunks on one state; with gradients: summed
Results run_landmark_softmaxes(const GoldenCase& golden);
Results run_landmark_scratch(const GoldenCase& golden);  // two micro-batches, an update
Results run_landmark_tuning(const GoldenCase& golden);   // a fine-tuning step of LLaMA
Results run_landmark_prompt(const GoldenCase& golden);   // prompt windows and greedy tokens
Results run_landmark_ungated(const GoldenCase& golden);  // a cache read as ordinary tokens
Results run_landmark_evaluation(const GoldenCase& golden);
Results run_landmark_weights(const GoldenCase& golden);  // differences of weights

CaseModel landmark_model(const GoldenCase& golden);

// One call whose segment ends behind each row's last token, with what all slots gave. A context-miss slot is
// left out.
struct LandmarkCall {
  Tensor hidden;  // [B, T, E] of the text
  Tensor logits;  // [B, slots, V]
  Tensor ids;     // [B, slots]
  Tensor start;   // [] position of the first slot
  Trace trace;
};
LandmarkCall landmark_call(const Model& model, Batch batch, State& state, const Draws* draws = nullptr);
// [B, T] with the landmarks taken out, rows padded with 0, and the rows' counts. Where in its block each row
// begins goes to the fresh rows of `state`.
Batch without_landmarks(const Tensor& ids, int64_t landmark, int64_t block, State& state);

// "<prefix>.layer<l>.selected" and ".block_scores" of a call, softmaxed and maximised as the method selects
// (`raw`: neither); [B, H, T or 1, N].
void put_selections(const Model& model, const LandmarkCall& call, const std::string& prefix, bool raw,
                    Results& results);

// Keys and values of layer l as they were before rotation. [N, f + 1, G, K] and [S, G, K]
std::pair<Tensor, Tensor> kept_slots(const Model& model, const Row& row, int64_t layer);
std::pair<Tensor, Tensor> window_slots(const Model& model, const Row& row, int64_t layer);

// Mean cross entropy over labels other than `ignored`; logits [B, T, V].
Tensor label_loss(const Tensor& logits, const Tensor& labels, int64_t ignored);

}  // namespace mneme
