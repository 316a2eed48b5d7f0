// Authenticated encryption of stored objects: AES-256-GCM with a random nonce per version.
//
// Sealed form: nonce (12 bytes), ciphertext, tag (16 bytes). The object's key and revision are authenticated with it, so
// a sealed body moved to another row does not open.
// Threads: any.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "pintle/result.h"

namespace pintle::kernel {

class Seal {
 public:
  static constexpr size_t kKeyBytes = 32;
  // A new key from the system's generator.
  static Result<std::string> new_key();

  explicit Seal(std::string_view key);  // exactly kKeyBytes
  ~Seal();                              // wipes the key
  Seal(const Seal&) = delete;
  Seal& operator=(const Seal&) = delete;

  Result<std::string> close(std::string_view plain, std::string_view bound_to) const;
  // INVALID: another key, other `bound_to`, or damaged bytes.
  Result<std::string> open(std::string_view sealed, std::string_view bound_to) const;

 private:
  std::array<unsigned char, kKeyBytes> key_;
};

}  // namespace pintle::kernel
