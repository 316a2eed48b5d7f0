#include "kernel/plugin/proxy_wire.h"

#include <unistd.h>

namespace pintle::kernel {

OwnedFds::~OwnedFds() {
  for (const int fd : fds_)
    if (fd >= 0) ::close(fd);
}

std::string Writer::finish(FrameType type, uint64_t id, size_t fds) {
  const uint32_t length = static_cast<uint32_t>(size());
  std::memcpy(out_.data(), &length, sizeof length);
  out_[4] = static_cast<char>(type);
  out_[5] = static_cast<char>(fds);
  std::memcpy(out_.data() + 8, &id, sizeof id);
  return std::exchange(out_, std::string(kFrameHeader, '\0'));
}

std::string_view Reader::text() {
  const uint32_t n = u32();
  if (!ok_ || in_.size() < n) {
    ok_ = false;
    return {};
  }
  const std::string_view out = in_.substr(0, n);
  in_.remove_prefix(n);
  return out;
}

uint32_t Reader::count(size_t least) {
  const uint32_t n = u32();
  if (!ok_ || n > in_.size() / least) {
    ok_ = false;
    return 0;
  }
  return n;
}

void put(Writer& w, const Error& error) {
  w.u32(static_cast<uint32_t>(error.code));
  if (error.code == PINTLE_OK) return;
  w.text(error.text);
  w.text(error.status.is_null() ? std::string() : error.status.dump());
  w.u32(error.retry_after_ms);
}

Error get_error(Reader& r) {
  Error e;
  const uint32_t code = r.u32();
  e.code = code <= PINTLE_NOT_ACCEPTABLE ? static_cast<pintle_code>(code) : PINTLE_INTERNAL;
  if (code == PINTLE_OK) return e;
  e.text = r.string();
  if (const auto status = r.text(); !status.empty()) e.status = json::parse_or_null(status);
  e.retry_after_ms = r.u32();
  return e;
}

void put(Writer& w, const ObjectRef& object) {
  w.u8(object != nullptr);
  if (!object) return;
  w.text(object->key().kind);
  w.text(object->key().ns);
  w.text(object->key().name);
  w.u64(object->revision());
  w.text(object->json());
}

ObjectRef get_object(Reader& r) {
  if (!r.u8()) return nullptr;
  Key key{r.string(), r.string(), r.string()};
  const Revision revision = r.u64();
  const std::string_view json = r.text();
  if (!r.ok()) return nullptr;
  return std::make_shared<StoredObject>(std::move(key), revision, json, Facets{});
}

void put(Writer& w, const StoreQuery& q) {
  for (const auto* s : {&q.kind, &q.ns, &q.label_selector, &q.field_selector, &q.continue_token}) w.text(*s);
  w.u32(q.limit);
  w.u64(q.revision);
}

StoreQuery get_query(Reader& r) {
  StoreQuery q;
  for (auto* s : {&q.kind, &q.ns, &q.label_selector, &q.field_selector, &q.continue_token}) *s = r.string();
  q.limit = r.u32();
  q.revision = r.u64();
  return q;
}

void put(Writer& w, const StoreOp& op) {
  w.u8(static_cast<uint8_t>(op.verb));
  for (const auto* s : {&op.key.kind, &op.key.ns, &op.key.name, &op.subresource, &op.body, &op.if_uid}) w.text(*s);
  w.u64(op.if_revision);
}

StoreOp get_op(Reader& r) {
  StoreOp op;
  const uint8_t verb = r.u8();
  if (verb < PINTLE_CREATE || verb > PINTLE_DELETE) r.fail();
  op.verb = static_cast<pintle_verb>(verb);
  for (auto* s : {&op.key.kind, &op.key.ns, &op.key.name, &op.subresource, &op.body, &op.if_uid}) *s = r.string();
  op.if_revision = r.u64();
  return op;
}

void put(Writer& w, const WatchEvent& e) {
  w.u8(static_cast<uint8_t>(e.type));
  w.u32(static_cast<uint32_t>(e.code));
  w.u64(e.revision);
  put(w, e.object);
  put(w, e.previous);
}

WatchEvent get_event(Reader& r) {
  WatchEvent e;
  const uint8_t type = r.u8();
  if (type < PINTLE_EVENT_ADDED || type > PINTLE_EVENT_CLOSED) r.fail();
  e.type = static_cast<pintle_event_type>(type);
  e.code = static_cast<pintle_code>(r.u32());
  e.revision = r.u64();
  e.object = get_object(r);
  e.previous = get_object(r);
  return e;
}

}  // namespace pintle::kernel
