#include "kernel/plugin/note.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernel/plugin/inventory.h"
#include "kernel/plugin/testing.h"

namespace pintle::kernel {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Note, IsReadWithoutLoadingTheFile) {
  const PluginFile file = inspect_file(testing::test_plugin("probe"));
  ASSERT_TRUE(file.manifest) << file.error.text;
  EXPECT_EQ(file.manifest->name, "probe");
  EXPECT_EQ(file.digest.size(), 64u);
}

TEST(Note, RefusalsNameTheReason) {
  EXPECT_NE(inspect_file(testing::test_plugin("bad/bad_note")).error.text.find("has no Pintle note"), std::string::npos);
  EXPECT_NE(inspect_file(testing::test_plugin("bad/bad_abi")).error.text.find("built for ABI 9.0, this kernel speaks ABI 0.1"), std::string::npos);
  EXPECT_EQ(inspect_file("/no/such/file.so").error.code, PINTLE_NOT_FOUND);
  EXPECT_NE(note_in("#!/bin/sh", "x").error().text.find("is not an ELF file"), std::string::npos);
}

TEST(Note, AnotherMachineIsNamed) {
  std::string elf = bytes_of(testing::test_plugin("probe"));
  elf[18] = static_cast<char>(0xF3);  // e_machine: RISC-V
  const auto r = note_in(elf, "other.so");
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().text.find("another machine"), std::string::npos) << r.error().text;
}

TEST(Note, EveryTruncationIsAnError) {
  const std::string elf = bytes_of(testing::test_plugin("probe"));
  const auto whole = note_in(elf, "x");
  ASSERT_TRUE(whole);
  for (size_t n = 0; n < 4096 && n < elf.size(); ++n) {
    const auto r = note_in(std::string_view(elf).substr(0, n), "x");
    EXPECT_TRUE(!r || *r == *whole) << n;
  }
}

TEST(Note, AFileThatOthersMayWriteIsRefusedByName) {
  const std::string copy = ::testing::TempDir() + "/writable.so";
  std::filesystem::copy_file(testing::test_plugin("probe"), copy, std::filesystem::copy_options::overwrite_existing);
  chmod(copy.c_str(), 0666);
  const auto r = read_note(copy);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, PINTLE_FORBIDDEN);
  EXPECT_NE(r.error().text.find(copy), std::string::npos);
  unlink(copy.c_str());
}

}  // namespace
}  // namespace pintle::kernel
