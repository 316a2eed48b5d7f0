// What pintled and pintle-host say to each other: frames over a stream socket, and the parts they are made of.
//
//   u32 length of the payload | u8 type | u8 descriptors | u16 zero | u64 id | payload
//
// Little endian, unaligned. Descriptors travel beside the first byte (SCM_RIGHTS). Both ends are of one build, so there is
// no negotiation beyond kProtocol in the first frame; still nothing that is read is believed: Reader checks every length, and
// whoever meets a frame that makes no sense ends the connection.
// Ids: chosen by the end that asks; an answer carries the id of the question.
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/plugin/backend.h"

namespace pintle::kernel {

constexpr uint32_t kProtocol = 1;
constexpr size_t kFrameHeader = 16;
constexpr size_t kMaxPayload = 64u << 20;
constexpr size_t kMaxFrameFds = 64;
constexpr int64_t kCallWindow = 512 << 10;  // bytes of partial answers on their way to a caller
constexpr uint32_t kWatchWindow = 64;       // events on their way to a watch

enum class FrameType : uint8_t {
  // pintled → pintle-host
  kHello = 1,     // first frame: protocol, pid of pintled, name, file, digest, configuration, log level
  kStart,         // → kAnswer (error)
  kActivate,      // slot, epoch → kAnswer (error)
  kReconfigure,   // configuration → kAnswer (error)
  kDrain,         // deadline → kAnswer (error)
  kStop,          // deadline → kAnswer (error, text of what was left behind)
  kLevel,         // log level
  kPing,          // → kAnswer (no error), from a thread that runs the plugin's code
  kEvents,        // id of the watch; events
  kListPart,      // objects of a list; the rest comes in kAnswer
  // pintle-host → pintled
  kState,         // PluginState: Loaded, Created
  kLog,           // level, text, fields
  kGet,           // key → kAnswer (error, object)
  kList,          // query → kListPart…, kAnswer (error, revision, continue)
  kWatch,         // query → kAnswer (error), kEvents…
  kWatchCredit,   // id of the watch; how many events more
  kUnwatch,       // id of the watch
  kCommit,        // operations, fences, flags → kAnswer (code, results)
  kEpoch,         // slot → kAnswer (error, epoch)
  kMetrics,       // what changed
  kReport,        // health, message
  // both ways
  kAnswer,
  kCall,          // slot ("" towards the plugin), interface, method, deadline, wants parts, request; descriptors
  kPart,          // to the caller: one partial answer
  kDone,          // to the caller: error, body; descriptors
  kCallCredit,    // to the callee: bytes of parts that were taken
  kCallCancel,    // to the callee
  kLast
};

// Descriptors that are closed unless somebody takes them.
class OwnedFds {
 public:
  OwnedFds() = default;
  explicit OwnedFds(std::vector<int> fds) : fds_(std::move(fds)) {}
  OwnedFds(OwnedFds&& o) noexcept : fds_(std::exchange(o.fds_, {})) {}
  OwnedFds& operator=(OwnedFds&& o) noexcept {
    std::swap(fds_, o.fds_);
    return *this;
  }
  ~OwnedFds();
  std::vector<int> take() { return std::exchange(fds_, {}); }
  const std::vector<int>& get() const { return fds_; }
  void push(int fd) { fds_.push_back(fd); }

 private:
  std::vector<int> fds_;
};

struct Frame {
  FrameType type = FrameType::kHello;
  uint64_t id = 0;
  std::string payload;
  OwnedFds fds;
};

class Writer {
 public:
  Writer() : out_(kFrameHeader, '\0') {}
  void u8(uint8_t v) { raw(&v, sizeof v); }
  void u32(uint32_t v) { raw(&v, sizeof v); }
  void u64(uint64_t v) { raw(&v, sizeof v); }
  void f64(double v) { raw(&v, sizeof v); }
  void text(std::string_view s) {
    u32(static_cast<uint32_t>(s.size()));
    out_.append(s);
  }
  void append(std::string_view s) { out_.append(s); }  // without a length: the last thing in a frame
  size_t size() const { return out_.size() - kFrameHeader; }
  // The frame's bytes; the writer is empty afterwards.
  std::string finish(FrameType type, uint64_t id, size_t fds);

 private:
  void raw(const void* p, size_t n) { out_.append(static_cast<const char*>(p), n); }
  std::string out_;
};

// After the first thing that is not there everything is zero or empty and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  uint8_t u8() { return number<uint8_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  double f64() { return number<double>(); }
  std::string_view text();
  std::string string() { return std::string(text()); }
  // How many items follow, each at least `least` bytes: a count that cannot be true is refused before memory is made for it.
  uint32_t count(size_t least);
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && in_.empty(); }
  void fail() { ok_ = false; }

 private:
  template <class T>
  T number() {
    T v{};
    if (!ok_ || in_.size() < sizeof v) {
      ok_ = false;
      return T{};
    }
    std::memcpy(&v, in_.data(), sizeof v);
    in_.remove_prefix(sizeof v);
    return v;
  }
  std::string_view in_;
  bool ok_ = true;
};

void put(Writer& w, const Error& error);  // code OK: no more than that
Error get_error(Reader& r);               // a code that does not exist becomes INTERNAL
void put(Writer& w, const ObjectRef& object);  // may be null
ObjectRef get_object(Reader& r);
void put(Writer& w, const StoreQuery& query);
StoreQuery get_query(Reader& r);
void put(Writer& w, const StoreOp& op);
StoreOp get_op(Reader& r);
void put(Writer& w, const WatchEvent& event);
WatchEvent get_event(Reader& r);

}  // namespace pintle::kernel
