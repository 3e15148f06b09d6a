#include <atomic>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "memory/state.h"

namespace mneme {
namespace {

uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

// [n, G, K] -> rows at.. of [G, P, K]. Decoding appends one slot to each layer of each row, so this stays off
// the dispatcher where it can.
void copy_slots(const Tensor& from, int64_t first, int64_t count, const Tensor& to, int64_t at) {
  const bool plain = from.device().is_cpu() && from.stride(2) == 1 && from.scalar_type() == to.scalar_type();
  if (!plain) {
    to.narrow(1, at, count).copy_(from.narrow(0, first, count).transpose(0, 1));
    return;
  }
  const int64_t groups = from.size(1), size = from.element_size(), bytes = from.size(2) * size;
  const char* source = static_cast<const char*>(from.data_ptr());
  char* target = static_cast<char*>(to.data_ptr());
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t t = 0; t < count; ++t) {
      std::memcpy(target + (g * to.stride(0) + (at + t) * to.stride(1)) * size,
                  source + ((first + t) * from.stride(0) + g * from.stride(1)) * size,
                  static_cast<size_t>(bytes));
    }
  }
}

}  // namespace

KvCache::KvCache(int64_t page_slots) : page_slots_(page_slots), id_(next_id()) {
  MNEME_CHECK(page_slots > 0);
}

KvCache::KvCache(const KvCache& other)
    : pages_(other.pages_),
      page_slots_(other.page_slots_),
      size_(other.size_),
      begin_(other.begin_),
      id_(next_id()) {}

KvCache::KvCache(KvCache&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      reserved_(std::move(other.reserved_)),
      page_slots_(other.page_slots_),
      size_(std::exchange(other.size_, 0)),
      begin_(std::exchange(other.begin_, 0)),
      id_(std::exchange(other.id_, next_id())) {
  other.reserved_.clear();
}

KvCache& KvCache::operator=(const KvCache& other) {
  if (this != &other) *this = KvCache(other);
  return *this;
}

KvCache& KvCache::operator=(KvCache&& other) noexcept {
  std::swap(pages_, other.pages_);
  std::swap(reserved_, other.reserved_);
  std::swap(page_slots_, other.page_slots_);
  std::swap(size_, other.size_);
  std::swap(begin_, other.begin_);
  std::swap(id_, other.id_);
  return *this;
}

const std::vector<KvCache::Held>& KvCache::held() const {
  static const std::vector<Held> none;
  return pages_ ? *pages_ : none;
}

std::vector<KvCache::Held>& KvCache::edit() {
  if (!pages_) {
    pages_ = std::make_shared<std::vector<Held>>();
  } else if (pages_.use_count() > 1) {
    pages_ = std::make_shared<std::vector<Held>>(*pages_);
  }
  return *pages_;
}

std::shared_ptr<KvCache::Page> KvCache::fresh_page(int64_t slots, const Shape& shape) const {
  auto page = std::make_shared<Page>();
  // One allocation a page; layers are views of it.
  const Tensor all = at::empty({2, shape.layers, shape.groups, slots, shape.width}, shape.type);
  for (int64_t l = 0; l < shape.layers; ++l) {
    page->k.push_back(all[0][l]);
    page->v.push_back(all[1][l]);
  }
  page->owner = id_;
  return page;
}

void KvCache::reserve(int64_t count, const Shape& shape) {
  reserved_.clear();
  if (count == 0) return;
  if (at::GradMode::is_enabled()) {  // each layer's tensor is put in by write(), with its graph
    auto page = std::make_shared<Page>();
    page->k.resize(static_cast<size_t>(shape.layers));
    page->v.resize(static_cast<size_t>(shape.layers));
    reserved_.push_back({page, 0, count});
    return;
  }
  int64_t left = count;
  if (!held().empty() && held().back().page->owner == id_) {
    const Held& last = held().back();
    const int64_t room = last.page->k[0].size(1) - last.count;
    if (room > 0) {
      reserved_.push_back({last.page, last.count, std::min(room, left)});
      left -= reserved_.back().count;
    }
  }
  while (left > 0) {
    const int64_t take = std::min(left, page_slots_);
    reserved_.push_back({fresh_page(page_slots_, shape), 0, take});
    left -= take;
  }
}

void KvCache::write(int64_t layer, const Tensor& k, const Tensor& v) {
  const auto l = static_cast<size_t>(layer);
  int64_t first = 0;
  for (const Piece& piece : reserved_) {
    if (piece.page->owner == 0) {
      piece.page->k[l] = k.narrow(0, first, piece.count).transpose(0, 1);
      piece.page->v[l] = v.narrow(0, first, piece.count).transpose(0, 1);
    } else {
      copy_slots(k, first, piece.count, piece.page->k[l], piece.at);
      copy_slots(v, first, piece.count, piece.page->v[l], piece.at);
    }
    first += piece.count;
  }
}

void KvCache::commit() {
  for (Piece& piece : reserved_) {
    std::vector<Held>& pages = edit();
    if (pages.empty() || pages.back().page != piece.page) pages.push_back({piece.page, 0});
    pages.back().count = piece.at + piece.count;
    size_ += piece.count;
  }
  reserved_.clear();
}

void KvCache::push_page(std::vector<Tensor> k, std::vector<Tensor> v) {
  auto page = std::make_shared<Page>();
  const int64_t count = k.at(0).size(1);
  page->k = std::move(k);
  page->v = std::move(v);
  size_ += count;
  edit().push_back({std::move(page), count});
}

KeyPage KvCache::page(int64_t index, int64_t layer) const {
  const Held& at = held().at(static_cast<size_t>(index));
  const auto l = static_cast<size_t>(layer);
  const int64_t begin = index == 0 ? begin_ : 0;
  return {at.page->k.at(l), at.page->v.at(l), begin, at.count - begin};
}

void KvCache::replace_page(int64_t index, std::vector<Tensor> k, std::vector<Tensor> v) {
  Held& at = edit().at(static_cast<size_t>(index));
  MNEME_CHECK(k.size() == at.page->k.size() && k.at(0).sizes() == at.page->k[0].sizes());
  auto page = std::make_shared<Page>();
  page->k = std::move(k);
  page->v = std::move(v);
  at.page = std::move(page);
}

void KvCache::join(const KvCache& other) {
  MNEME_CHECK(other.begin_ == 0);
  const std::vector<Held> more = other.held();
  std::vector<Held>& pages = edit();
  pages.insert(pages.end(), more.begin(), more.end());
  size_ += other.size_;
}

void KvCache::drop_front(int64_t count) {
  MNEME_CHECK(count <= size_);
  begin_ += count;
  size_ -= count;
  size_t whole = 0;
  const std::vector<Held>& pages = held();
  while (whole < pages.size() && begin_ >= pages[whole].count && (whole + 1 < pages.size() || size_ == 0)) {
    begin_ -= pages[whole].count;
    ++whole;
  }
  if (whole > 0) edit().erase(edit().begin(), edit().begin() + static_cast<std::ptrdiff_t>(whole));
  if (held().empty()) begin_ = 0;
}

void KvCache::clear() {
  pages_ = nullptr;
  reserved_.clear();
  size_ = begin_ = 0;
}

std::vector<KeyPage> KvCache::pages(int64_t layer) const {
  const auto l = static_cast<size_t>(layer);
  std::vector<KeyPage> out;
  out.reserve(held().size());
  int64_t begin = begin_;
  for (const Held& at : held()) {
    out.push_back({at.page->k[l], at.page->v[l], begin, at.count - begin});
    begin = 0;
  }
  return out;
}

std::pair<Tensor, Tensor> KvCache::dense(int64_t layer) const {
  std::vector<Tensor> k, v;
  for (const KeyPage& p : pages(layer)) {
    k.push_back(p.k.narrow(1, p.begin, p.count).transpose(0, 1));
    v.push_back(p.v.narrow(1, p.begin, p.count).transpose(0, 1));
  }
  MNEME_CHECK(!k.empty(), "dense keys of an empty cache");
  return k.size() == 1 ? std::pair(k[0], v[0]) : std::pair(at::cat(k), at::cat(v));
}

bool KvCache::requires_grad() const {
  for (const Held& at : held()) {
    if (at.page->k[0].requires_grad() || at.page->v[0].requires_grad()) return true;
  }
  return false;
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const Held& at : held()) {
    for (size_t l = 0; l < at.page->k.size(); ++l) {
      total += static_cast<int64_t>(at.page->k[l].nbytes() + at.page->v[l].nbytes());
    }
  }
  return total;
}

KvCache KvCache::detached() const {
  KvCache out(*this);
  for (Held& at : out.edit()) {
    if (at.page->owner != 0) continue;
    auto copy = std::make_shared<Page>(*at.page);
    for (Tensor& t : copy->k) t = t.detach();
    for (Tensor& t : copy->v) t = t.detach();
    at.page = copy;
  }
  return out;
}

KvCache KvCache::compact() const {
  const at::NoGradGuard no_grad;
  if (empty()) return KvCache(page_slots_);
  std::vector<Tensor> k, v;
  for (int64_t l = 0; l < layers(); ++l) {
    const auto [dense_k, dense_v] = dense(l);
    k.push_back(dense_k.detach());
    v.push_back(dense_v.detach());
  }
  return restore(layout(), k, v);
}

KvCache::Layout KvCache::layout() const {
  Layout out{page_slots_, begin_, {}};
  for (const Held& at : held()) out.counts.push_back(at.count);
  return out;
}

KvCache KvCache::restore(const Layout& layout, const std::vector<Tensor>& k, const std::vector<Tensor>& v) {
  KvCache out(layout.page_slots);
  if (layout.counts.empty()) return out;
  const Shape shape{static_cast<int64_t>(k.size()), k[0].size(1), k[0].size(2), k[0].options()};
  int64_t at = 0, skip = layout.begin;
  for (int64_t count : layout.counts) {
    Held page{out.fresh_page(std::max(count, layout.page_slots), shape), count};
    for (size_t l = 0; l < k.size(); ++l) {
      copy_slots(k[l], at, count - skip, page.page->k[l], skip);
      copy_slots(v[l], at, count - skip, page.page->v[l], skip);
    }
    at += count - skip;
    skip = 0;
    out.edit().push_back(std::move(page));
  }
  out.begin_ = layout.begin;
  out.size_ = at;
  return out;
}

}  // namespace mneme
