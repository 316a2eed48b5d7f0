// Between the messages of pintle.runtime/1 and those of the Engine API. Pure functions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::runtime_docker {

struct DriverConfig {
  std::string cluster, sandbox_image, log_max_size;
  int64_t lowest_oom_score_adj = -1000;  // what this machine lets the engine set
};

inline constexpr char kClusterLabel[] = "io.pintle.cluster";
inline constexpr char kKindLabel[] = "io.pintle.kind";  // sandbox, container

// Names carry the identity, so that a repeated create finds what the first one made.
std::string sandbox_name(const DriverConfig& config, const json::Value& create_pod);
std::string container_name(const DriverConfig& config, const json::Value& create);

// Bodies of POST /containers/create. UNSUPPORTED names the field that the engine cannot do.
Result<json::Value> sandbox_body(const DriverConfig& config, const json::Value& create_pod);
Result<json::Value> container_body(const DriverConfig& config, const json::Value& create);
json::Value resources_body(const json::Value& resources);

// From GET /containers/<id>/json to the entries of `list`.
json::Value pod_entry(const json::Value& inspect);
json::Value container_entry(const json::Value& inspect);

// "2026-01-02T03:04:05.123456789Z" -> wall ns; 0 for the engine's "never" (year 1).
int64_t engine_time(std::string_view text);
std::string query_escape(std::string_view text);
std::string base64url(std::string_view bytes);  // X-Registry-Auth

// {"message":"..."} of an engine's error answer as our error.
Error engine_error(int status, std::string_view body);

// Takes apart what the engine sends without a terminal: 8 bytes header (stream, 0, 0, 0, length big-endian), payload.
class Demultiplexer {
 public:
  // fn(stream 1 or 2, piece) for every piece of payload that is complete enough to go on.
  template <class F>
  void feed(std::string_view bytes, F&& fn) {
    while (!bytes.empty()) {
      if (left_ == 0) {
        while (header_.size() < 8 && !bytes.empty()) {
          header_ += bytes.front();
          bytes.remove_prefix(1);
        }
        if (header_.size() < 8) return;
        stream_ = static_cast<unsigned char>(header_[0]);
        for (size_t i = 4; i < 8; ++i) left_ = left_ << 8 | static_cast<unsigned char>(header_[i]);
        header_.clear();
        continue;
      }
      const std::string_view piece = bytes.substr(0, left_);
      fn(stream_, piece);
      left_ -= piece.size();
      bytes.remove_prefix(piece.size());
    }
  }

 private:
  std::string header_;
  size_t left_ = 0;
  int stream_ = 0;
};

}  // namespace pintle::runtime_docker
