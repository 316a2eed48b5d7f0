#include "tests/api/api_world.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <sstream>

#include "kernel/api/front/target.h"

namespace pintle::kernel {

void Recorder::send(int c, Headers h, std::vector<Chunk> parts) {
  code = c;
  headers = std::move(h);
  for (const Chunk& p : parts) body += *p;
  done = true;
}
void Recorder::start(int c, Headers h) {
  code = c;
  headers = std::move(h);
  started = true;
}
size_t Recorder::write(Chunk chunk) {
  body += *chunk;
  if (stuck) queued_ += chunk->size();
  largest_queue = std::max(largest_queue, queued_);
  return queued_;
}
void Recorder::on_drained(size_t low_water, std::function<void()> fn) {
  if (queued_ <= low_water) {
    executor_.post(std::move(fn));
  } else {
    drained_ = std::move(fn);
  }
}
void Recorder::upgrade(Headers h, std::function<void(std::string_view)>) {
  code = 101;
  headers = std::move(h);
}
void Recorder::read_on() {
  queued_ = 0;
  if (auto fn = std::exchange(drained_, nullptr)) executor_.post(std::move(fn));
}
void Recorder::go_away() {
  done = true;
  if (auto fn = std::exchange(closed_, nullptr)) executor_.post(std::move(fn));
}
std::string Recorder::header(const std::string& name) const {
  for (const auto& [n, v] : headers) {
    if (n == name) return v;
  }
  return {};
}
std::vector<json::Value> Recorder::events() const {
  std::vector<json::Value> out;
  std::istringstream in(body);
  for (std::string line; std::getline(in, line);) out.push_back(json::parse_or_null(line));
  return out;
}

json::Value read_yaml(const std::string& path) {
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const RegistrySnapshot empty;
  Result<Decoded> d = decode_body(text, "application/yaml", empty);
  if (!d) {
    fprintf(stderr, "%s: %s\n", path.c_str(), d.error().text.c_str());
    abort();
  }
  return d->value;
}

namespace {
void must(const Result<void>& r) {
  if (r) return;
  fprintf(stderr, "%s\n", r.error().text.c_str());
  abort();
}
}  // namespace

World::World() {
  token_file = testing::TempDir() + "pintle-tokens-XXXXXX";
  const int fd = mkstemp(token_file.data());
  const std::string text = "admin-token,admin,1,\"system:masters\"\nuser-token,jane,2,\"dev,ops\"\n";
  if (write(fd, text.data(), text.size()) < 0) abort();
  close(fd);
  store = std::move(*open_store(executor, StoreOptions()));
  json::Value meta = json::Value::object();
  meta.set("types", read_yaml(PINTLE_SOURCE_DIR "/plugins/core/types/meta-v1.yaml")["types"]);
  must(registry.add("core", meta));
  must(registry.add("widget", read_yaml(PINTLE_SOURCE_DIR "/tests/api/widget.yaml")));
  pipeline = make_pipeline(executor, *store, registry, hooks);
  pipeline->set_permissions([](const std::string& plugin, const std::string& kind, const std::string&, const char*) {
    return plugin == "widget" && kind != "namespaces";
  });
  bus = make_bus(*store, executor);
  RestOptions options;
  options.version = "0.1.0";
  options.advertise = "127.0.0.1:6443";
  options.token_file = token_file;
  rest = std::make_unique<RestServer>(*pipeline, *bus, executor, hooks, options);
  call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"default"}})");
}

World::~World() {
  for (const auto& weak : clients_) {
    if (auto client = weak.lock()) client->go_away();
  }
  settle();
  unlink(token_file.c_str());
}

std::shared_ptr<Recorder> World::open(const std::string& method, const std::string& target, Headers headers, const std::string& body,
                                      const std::string& token, bool stuck) {
  HttpRequest r;
  r.method = method;
  r.target = target;
  r.headers = std::move(headers);
  if (!token.empty()) r.headers.emplace_back("authorization", "Bearer " + token);
  r.body = body;
  if (certificate) r.certificate = std::make_unique<ClientCertificate>(*certificate);
  auto out = std::make_shared<Recorder>(executor);
  out->stuck = stuck;
  clients_.push_back(out);
  const Refusal refused = decode_target(r);
  if (refused.code) {
    out->code = refused.code;
    out->done = true;
    return out;
  }
  rest->handle(std::move(r), out);
  return out;
}

Reply World::call(const std::string& method, const std::string& target, const std::string& body, Headers headers, const std::string& token) {
  auto out = open(method, target, std::move(headers), body, token);
  executor.run_until([&] { return out->done; }, 120ull * 1000000000);
  Reply reply;
  reply.code = out->code;
  reply.headers = out->headers;
  reply.body = out->body;
  reply.json = json::parse_or_null(out->body);
  return reply;
}

std::string differs(const json::Value& wanted, const json::Value& got, const std::string& path) {
  if (wanted.is_object()) {
    if (!got.is_object()) return path + ": wanted an object, got " + got.dump();
    for (const json::Member& m : wanted.members()) {
      if (m.value.is_null()) {
        if (!got[m.key].is_null()) return path + "." + m.key + ": wanted nothing, got " + got[m.key].dump();
        continue;
      }
      std::string d = differs(m.value, got[m.key], path + "." + m.key);
      if (!d.empty()) return d;
    }
    return {};
  }
  if (wanted.is_array()) {
    if (wanted.size() != got.size()) return path + ": wanted " + wanted.dump() + ", got " + got.dump();
    for (size_t i = 0; i < wanted.size(); ++i) {
      std::string d = differs(wanted[i], got[i], path + "[" + std::to_string(i) + "]");
      if (!d.empty()) return d;
    }
    return {};
  }
  if (wanted.is_string() && wanted.as_string().starts_with("re:")) {
    const std::string text = got.is_string() ? std::string(got.as_string()) : got.dump();
    if (std::regex_search(text, std::regex(std::string(wanted.as_string().substr(3))))) return {};
    return path + ": " + got.dump() + " does not match " + wanted.dump();
  }
  return wanted == got ? std::string() : path + ": wanted " + wanted.dump() + ", got " + got.dump();
}

}  // namespace pintle::kernel
