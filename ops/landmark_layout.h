// How the keys of one row of the batch lie for the kernels of landmark attention, and what each query sees of
// them.
//
// Visible ordinary tokens are packed: invisible ones and landmarks leave no gap, a block begins at an even
// place, and chunks of kChunk places hold whole blocks (a longer block has chunks of its own). A query's
// sight is then the gates of all earlier blocks and one range of places in its own block, whatever the
// padding.
#pragma once

#include <cstdint>
#include <vector>

namespace mneme::landmark {

constexpr int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

constexpr int64_t kChunk = 256;  // packed keys

enum class Rule { grouped, plain, without_landmark };  // LandmarkSoftmax

struct Block {
  int32_t begin = 0, end = 0;  // packed
  int32_t gate = -1;           // index of its landmark among the gates; none: no later row sees it
};

struct Layout {
  std::vector<int32_t> key;     // packed place -> key, -1 where there is none; whole chunks
  std::vector<int32_t> gate;    // gate -> key
  std::vector<int32_t> column;  // gate -> landmarks in front of its block
  std::vector<Block> block;
  struct Chunk {
    int32_t used = 0;             // places that hold something
    int32_t first = 0, last = 0;  // blocks [first, last); one only where the block is longer than a chunk
    bool part = false;            // of a longer block
  };
  std::vector<Chunk> chunk;

  // Per query: its own block, the places [begin, end) it sees there, and how many gates.
  std::vector<int32_t> own, begin, end, gates;
};

// is_landmark, mask: [keys]; mask may be null. The queries are the last of the keys.
Layout make_layout(const bool* is_landmark, const bool* mask, int64_t keys, int64_t queries, Rule rule);

}  // namespace mneme::landmark
