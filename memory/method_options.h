// The options of every method. Only the chosen method's section is read; segments are counted in text tokens.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace mneme {

struct SegmentsOptions {
  int64_t segment = 512;
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "text tokens of a segment; each is read alone");
  }
};

struct WindowOptions {
  int64_t window = 512;
  void visit(OptionVisitor& v) { v.field("window", window, "tokens that a token sees, itself included"); }
};

struct SinkOptions {
  int64_t sinks = 4, window = 508;
  void visit(OptionVisitor& v) {
    v.field("sinks", sinks, "first tokens of the text that stay visible");
    v.field("window", window, "last tokens that stay visible beside them");
  }
};

struct XlOptions {
  int64_t segment = 256, cache = 256;
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "text tokens of a segment");
    v.field("cache", cache, "earlier tokens whose keys and values stay visible, without gradient");
  }
};

struct MemorizingOptions {
  int64_t segment = 512, bank = 65536, neighbours = 32, layer = -1;
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "text tokens of a segment");
    v.field("bank", bank, "past tokens that are kept");
    v.field("neighbours", neighbours, "past tokens that each query head reads");
    v.field("layer", layer, "the layer that reads the bank; -1: three quarters up");
  }
};

struct RmtOptions {
  int64_t segment = 480, memory_tokens = 16;
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "text tokens of a segment (the original's input_size less both memories)");
    v.field("memory_tokens", memory_tokens, "memory vectors, read before and written after the segment");
  }
};

struct HmtOptions {
  int64_t segment = 222, sensory = 32, recall_width = 4096, memories = 100, summary_tokens = 0;
  int64_t extra = 0, map_from = -1;
  double summary = 0.5;
  std::string mode = "hmt", recall = "causal", recall_dtype = "fp32", recall_scale = "train",
              reading = "plain", map = "inverse";
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "new text tokens of a segment");
    v.field("sensory", sensory, "last tokens of the previous segment that are read again");
    v.field("summary", summary, "share of a segment that is summarised for the recall");
    v.field("summary_tokens", summary_tokens, "the same as a number of tokens; 0: from the share");
    v.field("recall_width", recall_width, "width of the recall's queries and keys");
    v.field("memories", memories, "segment memories that are kept");
    v.choice("mode", mode, {"hmt", "stage1", "rmt", "baseline"},
             "the whole method, or the original's reduced modes");
    v.choice(
        "recall", recall, {"causal", "lookahead"},
        "query from the previous segment's end, or from the beginning of the segment itself (as published)");
    v.choice("recall_dtype", recall_dtype, {"fp32", "bf16"}, "arithmetic of the recall");
    v.choice("recall_scale", recall_scale, {"train", "sqrt"},
             "1/width for wide models as in the original's training, or always 1/sqrt(width)");
    v.choice("reading", reading, {"plain", "dynamic", "dynamic_first_row"},
             "lengthen a segment whose recalled memory is less than 3 segments old; in the original, row 0 "
             "decides");
    v.field("extra", extra, "tokens by which such a segment is lengthened; 0: half of the sensory ones");
    v.field("map_from", map_from,
            "experimental memory map: segments are lengthened from this one on; -1: off");
    v.choice("map", map, {"inverse", "forward"}, "direction of the memory map at segment map_from");
  }
};

struct LandmarkMemoryOptions {
  int64_t block = 50, segment = 250, retrieve = 4, blocks = 16384, id = -1, jump = 0, resident = 0;
  double tie_eps = 1e-5, group_dropout = 0, miss_controlled = 0, miss_cutoff = 0;
  bool random_phase = true, landmark_predicts = false, landmark_loss = false, miss = false,
       parity_offbyone = false;
  std::string select = "token_and_head", softmax = "grouped", spill;
  void visit(OptionVisitor& v) {
    v.field("block", block, "text tokens of a block, which a landmark closes; 0: no landmarks, no memory");
    v.field("segment", segment,
            "text tokens of a window, which reads the blocks that were closed before it; training reads a "
            "whole text in one window");
    v.field("retrieve", retrieve, "blocks that each query reads");
    v.field("blocks", blocks, "blocks that are kept, the oldest go first; 0: all");
    v.field("resident", resident,
            "kept blocks lie in a mapped file, of which so many bytes stay in memory; 0: all lie in memory, "
            "without "
            "a file");
    v.field("spill", spill, "folder of that file; empty: where temporary files go");
    v.field("id", id, "the landmark's token in the vocabulary; -1: a vector of its own");
    v.choice(
        "select", select, {"token_and_head", "max_over_heads", "max_over_tokens"},
        "who chooses blocks: each query head, all heads of a token together, or each head for all tokens "
        "of a call together (looks ahead)");
    v.choice("softmax", softmax, {"grouped", "plain", "without_landmark"},
             "plain: landmarks are ordinary keys; without_landmark: nobody sees them; both only with "
             "retrieve 0");
    v.field("landmark_predicts", landmark_predicts,
            "the token behind a block is predicted by the landmark, not by the block's last token");
    v.field("landmark_loss", landmark_loss,
            "training: what stands beside that is in the loss too: the landmark predicts the token behind "
            "its block as the last token does, or, where the landmark predicts it, the last token predicts "
            "the landmark");
    v.field("random_phase", random_phase, "training texts begin at a random place in a block");
    v.field("jump", jump, "training: landmarks are followed by a random gap of less than so many positions");
    v.field("group_dropout", group_dropout, "training: dropout of what each earlier block wins");
    v.field("miss", miss,
            "a learned context-miss token competes with the window; retrieved blocks share what it wins");
    v.field("miss_controlled", miss_controlled,
            "training: probability that a landmark in the window shares it too");
    v.field("miss_cutoff", miss_cutoff, "below this share for the context-miss token blocks are not read");
    v.field("tie_eps", tie_eps, "scores of blocks closer than this are equal, and the most recent wins");
    v.field("parity_offbyone", parity_offbyone,
            "the original's positions when as many blocks as are retrieved were ever closed");
  }
};

struct MemoryOptions {
  std::string method = "none";
  SegmentsOptions segments;
  WindowOptions window;
  SinkOptions sink;
  XlOptions xl;
  MemorizingOptions memorizing;
  RmtOptions rmt;
  HmtOptions hmt;
  LandmarkMemoryOptions landmark;

  void visit(OptionVisitor& v) {
    v.choice("method", method,
             {"none", "segments", "window", "sink", "xl", "memorizing", "rmt", "hmt", "landmark"},
             "how the model remembers");
    v.section("segments", segments, "independent segments");
    v.section("window", window, "sliding window");
    v.section("sink", sink, "attention sinks and a sliding window");
    v.section("xl", xl, "Transformer-XL's recurrence over cached keys and values");
    v.section("memorizing", memorizing, "nearest neighbours among past keys and values, with a learned gate");
    v.section("rmt", rmt, "recurrent memory tokens");
    v.section("hmt", hmt, "hierarchical memory: sensory tokens, segment memories, recall");
    v.section("landmark", landmark, "blocks of text that landmarks stand for, and their retrieval");
  }
};

}  // namespace mneme
