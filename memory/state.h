// What texts leave behind, as a value.
//
// A State is a list of rows, one a text; a row is all that is known of its text. Rows are independent of each
// other, each with its own length and phase, so batching, forking and resetting are operations on lists.
// Copying a state copies handles: pages of keys and values are shared. The original goes on writing its last
// page in place, behind what the copy knows of it; the copy takes a page of its own when it first appends.
// Everything is tensors and host integers; text is ids; indexes and strings are never state.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/attention.h"
#include "tensor/tensor.h"

namespace mneme {

// Keys and values of one text's slots, of every layer, in pages. (A slot is one position of the decoder: a
// token of the text, a memory vector, a landmark.) Without a graph, pages have room and are filled in place
// by the cache that made them; under autograd each append is a page of its own, and nothing is written in
// place.
class KvCache {
 public:
  struct Page {
    std::vector<Tensor> k, v;  // per layer [G, P, K]
    uint64_t owner = 0;        // the cache that may append; 0: nobody
  };
  struct Shape {
    int64_t layers, groups, width;
    at::TensorOptions type;
  };

  explicit KvCache(int64_t page_slots = 128);
  KvCache(const KvCache& other);  // shares the pages, owns none of them
  KvCache& operator=(const KvCache& other);
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&& other) noexcept;
  ~KvCache() = default;

  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Appending is: reserve(n), then write() for every layer, then commit(). A pass that throws commits
  // nothing.
  void reserve(int64_t count, const Shape& shape);
  void write(int64_t layer, const Tensor& k, const Tensor& v);  // one row's new slots, [n, G, K]
  void commit();
  // A whole page of somebody else's making (a landmark block, a loaded file): per layer [G, n, K].
  void push_page(std::vector<Tensor> k, std::vector<Tensor> v);

  int64_t page_count() const { return static_cast<int64_t>(held().size()); }
  KeyPage page(int64_t index, int64_t layer) const;
  // Puts other tensors of the same contents in a page's place, for this cache alone.
  void replace_page(int64_t index, std::vector<Tensor> k, std::vector<Tensor> v);

  void join(const KvCache& other);  // appends the pages of another cache, shared; `other` has dropped nothing
  void drop_front(int64_t count);   // forgets the oldest slots; pages that held only those are released
  void clear();

  std::vector<KeyPage> pages(int64_t layer) const;  // for the attention kernels
  std::pair<Tensor, Tensor> dense(
      int64_t layer) const;  // [S, G, K] each: for gradients, files and references
  int64_t layers() const { return held().empty() ? 0 : static_cast<int64_t>(held().front().page->k.size()); }
  bool requires_grad() const;
  int64_t bytes() const;
  KvCache detached() const;
  KvCache compact() const;

  // For files: how the slots lie in pages, which decides the order of sums, and a cache of the same pages
  // again.
  struct Layout {
    int64_t page_slots = 0, begin = 0;  // begin: slots of the first page that were dropped
    std::vector<int64_t> counts;        // slots of each page, the dropped ones included
  };
  Layout layout() const;
  // k, v: of each layer, [S, G, K], without the dropped slots.
  static KvCache restore(const Layout& layout, const std::vector<Tensor>& k, const std::vector<Tensor>& v);

 private:
  struct Held {  // a page, and how much of it this cache knows: its maker may have filled more since
    std::shared_ptr<Page> page;
    int64_t count;
  };
  struct Piece {  // part of a reserved append
    std::shared_ptr<Page> page;
    int64_t at, count;
  };
  std::shared_ptr<Page> fresh_page(int64_t slots, const Shape& shape) const;
  const std::vector<Held>& held() const;
  std::vector<Held>& edit();  // the list for this cache alone

  std::shared_ptr<std::vector<Held>> pages_;  // copies share it until one of them changes it; null: none
  std::vector<Piece> reserved_;
  int64_t page_slots_ = 0, size_ = 0, begin_ = 0;  // begin_: slots of the first page that were dropped
  uint64_t id_ = 0;
};

struct Row {
  int64_t position = 0;  // text tokens read
  int64_t phase = 0;     // text tokens in the open segment
  int64_t segment = 0;   // segments closed
  // The last tokens of the segment before the open one, and those of the open one: as many as the method asks
  // for.
  std::vector<int64_t> previous, open;
  KvCache working;  // slots of the open segment
  std::vector<uint8_t>
      hidden;  // parity with padded inputs: 1 where a working slot may not be seen; empty: none

  // The method's own. Tensors are immutable: a method replaces them.
  std::map<std::string, Tensor> tensors;
  std::map<std::string, int64_t> numbers;
  std::map<std::string, KvCache> caches;

  int64_t bytes() const;
  Row detached() const;
  Row compact() const;
};

struct State {
  std::vector<Row> rows;

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  State select(const std::vector<int64_t>& which) const;  // rows may repeat: a repeated row is a fork
  static State stack(const std::vector<State>& states);
  State detached() const;  // the same values, cut off the graph
  // The same values, in memory of their own and laid out as a file gives them back: what goes on from here
  // has the same bits as what goes on from the file.
  State compact() const;
  int64_t bytes() const;  // shared pages count in each row that holds them
};

}  // namespace mneme
