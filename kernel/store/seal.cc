#include "kernel/store/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstring>
#include <memory>

namespace pintle::kernel {
namespace {

constexpr size_t kNonce = 12;
constexpr size_t kTag = 16;
constexpr size_t kMaxBody = 1u << 30;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

unsigned char* raw(char* p) { return reinterpret_cast<unsigned char*>(p); }
const unsigned char* raw(const char* p) { return reinterpret_cast<const unsigned char*>(p); }

Error failed(const char* what) { return Error(PINTLE_INTERNAL, std::string("encryption failed: ") + what); }

}  // namespace

Result<std::string> Seal::new_key() {
  std::string key(kKeyBytes, '\0');
  if (RAND_bytes(raw(key.data()), static_cast<int>(key.size())) != 1) return failed("no random bytes");
  return key;
}

Seal::Seal(std::string_view key) {
  key_.fill(0);
  std::memcpy(key_.data(), key.data(), std::min(key.size(), key_.size()));
}

Seal::~Seal() { OPENSSL_cleanse(key_.data(), key_.size()); }

Result<std::string> Seal::close(std::string_view plain, std::string_view bound_to) const {
  if (plain.size() > kMaxBody) return failed("the object is too large");
  std::string out(kNonce + plain.size() + kTag, '\0');
  const Context context(EVP_CIPHER_CTX_new());
  int n = 0;
  if (!context || RAND_bytes(raw(out.data()), kNonce) != 1 ||
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), raw(out.data())) != 1 ||
      EVP_EncryptUpdate(context.get(), nullptr, &n, raw(bound_to.data()), static_cast<int>(bound_to.size())) != 1 ||
      EVP_EncryptUpdate(context.get(), raw(out.data() + kNonce), &n, raw(plain.data()),
                        static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), raw(out.data() + kNonce + n), &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag, out.data() + kNonce + plain.size()) != 1) {
    return failed("OpenSSL refused");
  }
  return out;
}

Result<std::string> Seal::open(std::string_view sealed, std::string_view bound_to) const {
  const Error wrong(PINTLE_INVALID, "sealed data does not open with this key");
  if (sealed.size() < kNonce + kTag || sealed.size() > kMaxBody) return wrong;
  const size_t size = sealed.size() - kNonce - kTag;
  std::string out(size, '\0');
  std::string tag(sealed.substr(kNonce + size));
  const Context context(EVP_CIPHER_CTX_new());
  int n = 0;
  if (!context ||
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), raw(sealed.data())) != 1 ||
      EVP_DecryptUpdate(context.get(), nullptr, &n, raw(bound_to.data()), static_cast<int>(bound_to.size())) != 1 ||
      EVP_DecryptUpdate(context.get(), raw(out.data()), &n, raw(sealed.data() + kNonce), static_cast<int>(size)) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) != 1 ||
      EVP_DecryptFinal_ex(context.get(), raw(out.data() + n), &n) != 1) {
    return wrong;
  }
  return out;
}

}  // namespace pintle::kernel
