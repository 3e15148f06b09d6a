#include "memory/page_file.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

TEST(PageFile, PagesAreTensorsAndSlotsAreUsedAgain) {
  std::shared_ptr<PageFile> file = PageFile::create(::testing::TempDir(), 3000);
  const Tensor a = at::randn({5, 7}), b = at::randn({750});
  Tensor held = file->put(a);
  const Tensor other = file->put(b);
  EXPECT_TRUE(file->holds(held));
  EXPECT_TRUE(file->holds(other[3]));
  EXPECT_FALSE(file->holds(a));
  file->forget();
  EXPECT_TRUE(held.equal(a));
  EXPECT_TRUE(other.equal(b));
  const void* slot = held.data_ptr();
  held = Tensor();
  held = file->put(a * 2);
  EXPECT_EQ(held.data_ptr(), slot);
  file.reset();  // pages keep their file
  EXPECT_TRUE(held.equal(a * 2));
}

TEST(PageFile, GrowsBeyondAChunk) {
  const std::shared_ptr<PageFile> file = PageFile::create({}, int64_t{40} << 20);
  std::vector<Tensor> pages;
  for (int i = 0; i < 3; ++i) pages.push_back(file->put(at::full({1 << 20}, i, at::kFloat)));
  file->forget();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(pages[static_cast<size_t>(i)][12345].item<float>(), static_cast<float>(i));
}

TEST(PageFile, AFolderThatIsNotThereIsNamed) { EXPECT_THROW(PageFile::create("/nowhere/at/all", 10), Error); }

}  // namespace
}  // namespace mneme
