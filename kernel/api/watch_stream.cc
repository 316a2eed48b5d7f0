// One watch of one client: the state first when asked for, then changes as the bus brings them.
//
//   initial objects -> (bookmark "initial-events-end") -> changes ... bookmarks ... -> end by timeout, client or ERROR event
//
// All writing happens in pump(), one run at a time. A client that reads slowly stops the pump; the bus then cuts the watch
// with EXPIRED when its budget is used up. It never slows anybody else.
#include <algorithm>
#include <charconv>

#include "kernel/api/async.h"
#include "kernel/api/object_text.h"
#include "kernel/api/rest_state.h"
#include "kernel/api/status.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

constexpr size_t kHigh = 256 << 10;
constexpr size_t kLow = 64 << 10;
constexpr size_t kTake = 256;
constexpr size_t kInitialStep = 100;

struct WatchRequest {
  bool initial = false;       // send the state first
  bool end_bookmark = false;  // sendInitialEvents: mark its end
  bool bookmarks = false;
  Revision from = 0;
  uint64_t timeout_ns = 0;
};

Error option_error(const char* field, const std::string& why) {
  return invalid_options("ListOptions", {{"FieldValueForbidden", field, "Forbidden: " + why}});
}

bool truth(std::string_view v) { return !v.empty() && v != "false" && v != "0"; }

Result<WatchRequest> parse_watch(const HttpRequest& r, Executor& executor, Revision now) {
  WatchRequest w;
  const std::string version(r.param("resourceVersion")), match(r.param("resourceVersionMatch"));
  uint64_t wanted = 0;
  if (!version.empty()) {
    const auto parsed = std::from_chars(version.data(), version.data() + version.size(), wanted);
    if (parsed.ec != std::errc() || parsed.ptr != version.data() + version.size()) {
      return invalid_options("ListOptions", {{"FieldValueInvalid", "resourceVersion", "Invalid value: \"" + version + "\": must be a decimal number"}});
    }
  }
  w.bookmarks = truth(r.param("allowWatchBookmarks"));
  if (r.has_param("sendInitialEvents")) {
    if (match.empty()) return option_error("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (match != "NotOlderThan") {
      return invalid_options("ListOptions", {{"FieldValueNotSupported", "resourceVersionMatch",
                                              "Unsupported value: \"" + match + "\": supported values: \"NotOlderThan\""}});
    }
    w.initial = truth(r.param("sendInitialEvents"));
    w.end_bookmark = w.initial && w.bookmarks;
    if (wanted > now) {
      Error e(PINTLE_TIMEOUT, "Timeout: Too large resource version: " + version + ", current: " + std::to_string(now));
      e.status = json::parse_or_null(R"({"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}})");
      return e;
    }
    if (!w.initial) w.from = wanted;
  } else {
    if (!match.empty()) return option_error("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    w.initial = wanted == 0;
    w.from = wanted;
  }
  const std::string timeout(r.param("timeoutSeconds"));
  if (!timeout.empty()) {
    uint64_t seconds = 0;
    const auto parsed = std::from_chars(timeout.data(), timeout.data() + timeout.size(), seconds);
    if (parsed.ec != std::errc() || parsed.ptr != timeout.data() + timeout.size() || seconds > 1000000000) {
      return bad_request("timeoutSeconds: \"" + timeout + "\" is not a number of seconds");
    }
    w.timeout_ns = seconds * kSecond;
  }
  if (!w.timeout_ns) {
    uint32_t random = 0;
    executor.random(&random, sizeof random);
    w.timeout_ns = (1800 + random % 1800) * kSecond;
  }
  return w;
}

// The text of an object with another resourceVersion: a selector's DELETED shows the old contents at the new revision.
std::string with_revision(std::string_view text, Revision revision) {
  const std::string_view raw = raw_path(text, "metadata.resourceVersion");
  if (raw.empty()) return std::string(text);
  const size_t at = static_cast<size_t>(raw.data() - text.data());
  return std::string(text.substr(0, at)) + "\"" + std::to_string(revision) + "\"" + std::string(text.substr(at + raw.size()));
}

}  // namespace

class WatchStream : public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(std::shared_ptr<RestServer::State> server, ExchangeRef ex, Face face, Selection selection, WatchRequest want)
      : server_(std::move(server)), ex_(std::move(ex)), face_(std::move(face)), selection_(std::move(selection)), want_(want),
        maker_(server_->hooks, server_->executor, face_, ex_->rep) {}

  void start(Pipeline::ListAnswer page) {
    page_ = std::move(page);
    progress_ = want_.initial ? page_.revision : want_.from;
    if (!ex_->claim(200, true)) return;
    Headers headers = ex_->headers("application/json");
    ex_->out->start(200, std::move(headers));
    server_->metrics->watch_opened(ex_->api.resource, 1);
    ex_->on_gone([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->stop();
    });
    self_ = shared_from_this();
    auto timer = [this](uint64_t ns, std::atomic<bool> WatchStream::*flag) {
      return server_->executor.after(ns, [weak = weak_from_this(), flag] {
        if (auto self = weak.lock()) {
          (*self).*flag = true;
          self->kick();
        }
      });
    };
    {
      const std::lock_guard lock(mutex_);
      end_timer_ = timer(want_.timeout_ns, &WatchStream::timed_out_);
      if (want_.bookmarks) bookmark_timer_ = timer(server_->options.bookmark_ns, &WatchStream::bookmark_due_);
    }
    kick();
  }

 private:
  // Runs the pump once more, now or after the run that is under way.
  void kick() {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      again_ = true;
      if (running_) return;
      running_ = true;
    }
    server_->executor.post([self = shared_from_this()] { self->run(); });
  }

  void run() {
    {
      const std::lock_guard lock(mutex_);
      again_ = false;
    }
    spawn<bool>(pump(), [self = shared_from_this()](bool more) {
      bool end = false;
      {
        const std::lock_guard lock(self->mutex_);
        end = !more || self->want_stop_;
        if (!end && (self->again_ || self->yielded_)) {
          self->yielded_ = false;
          self->server_->executor.post([self] { self->run(); });
          return;
        }
        self->running_ = false;
      }
      if (end) self->stop();
    });
  }

  void stop() {
    uint64_t bus_id = 0;
    TimerId timers[2];
    std::shared_ptr<WatchStream> keep;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      want_stop_ = true;
      if (running_) return;  // the pump ends first and then calls stop() again
      stopped_ = true;
      bus_id = std::exchange(bus_id_, 0);
      timers[0] = std::exchange(end_timer_, 0);
      timers[1] = std::exchange(bookmark_timer_, 0);
      keep = std::move(self_);
    }
    for (const TimerId t : timers) {
      if (t) server_->executor.cancel(t);
    }
    if (bus_id) server_->bus.unwatch(bus_id);
    server_->metrics->watch_opened(ex_->api.resource, -1);
  }

  // True: wait for the next kick (or go on at once when yielded_). False: the watch is over.
  Async<bool> pump() {
    if (ex_->gone()) co_return false;
    if (full()) co_return true;
    while (next_initial_ < page_.objects.size()) {
      const size_t to = std::min(page_.objects.size(), next_initial_ + kInitialStep);
      std::vector<ObjectRef> part(page_.objects.begin() + static_cast<ptrdiff_t>(next_initial_), page_.objects.begin() + static_cast<ptrdiff_t>(to));
      const bool ok = co_await write_objects("ADDED", std::move(part));
      if (!ok) co_return false;
      next_initial_ = to;
      if (full()) co_return true;
    }
    if (!bus_started_) {
      page_.objects.clear();
      page_.objects.shrink_to_fit();
      next_initial_ = 0;
      if (want_.end_bookmark) write_bookmark(true);
      if (!start_bus()) co_return false;
      if (want_.initial && progress_ == 0) {
        // "From 0" means from now: what was written between the (empty) list and now is in the store.
        Result<ListPage> again = server_->pipeline.store().list({.kind = face_.storage->name(), .ns = face_.kind->namespaced ? ex_->api.ns : ""});
        if (again) {
          skip_to_ = progress_ = again->revision;
          std::erase_if(again->objects, [this](const ObjectRef& o) { return !selection_.matches(*o); });
          const bool ok = co_await write_objects("ADDED", std::move(again->objects));
          if (!ok) co_return false;
        }
      }
    }
    while (true) {
      WatchBatch batch = server_->bus.take(bus_id_, kTake);
      for (const ChangeRef& change : batch.changes) {
        if (change->revision <= skip_to_) continue;
        const bool ok = co_await write_change(change);
        if (!ok) co_return false;
      }
      if (batch.progress > progress_) progress_ = batch.progress;
      if (batch.closed) {
        if (batch.code == PINTLE_EXPIRED) {
          write_error(Error(PINTLE_EXPIRED, "too old resource version: " + std::to_string(progress_) + " (" +
                                                std::to_string(server_->pipeline.store().revision()) + ")"));
        }
        ex_->out->finish();
        co_return false;
      }
      if (full()) co_return true;
      if (batch.changes.empty()) break;
      if (batch.changes.size() >= kTake) {
        yielded_ = true;
        co_return true;
      }
    }
    if (timed_out_) {
      if (want_.bookmarks) write_bookmark(false);
      ex_->out->finish();
      co_return false;
    }
    if (bookmark_due_.exchange(false)) {
      write_bookmark(false);
      const TimerId next = server_->executor.after(server_->options.bookmark_ns, [weak = weak_from_this()] {
        if (auto self = weak.lock()) {
          self->bookmark_due_ = true;
          self->kick();
        }
      });
      const std::lock_guard lock(mutex_);
      bookmark_timer_ = next;
    }
    co_return true;
  }

  // Does the client read too slowly? Then the pump goes on when its queue has drained.
  bool full() {
    if (ex_->out->queued() <= kHigh) return false;
    ex_->out->on_drained(kLow, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->kick();
    });
    return true;
  }

  bool start_bus() {
    WatchOptions o;
    o.kind = face_.storage->name();
    o.ns = face_.kind->namespaced ? ex_->api.ns : "";
    o.name = selection_.name();
    o.from = progress_;
    Result<uint64_t> id = server_->bus.watch(o, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->kick();
    });
    if (!id) {
      Error e = id.error();
      if (e.code == PINTLE_EXPIRED) {
        e.text = "too old resource version: " + std::to_string(progress_) + " (" + std::to_string(server_->pipeline.store().revision()) + ")";
      }
      write_error(e);
      ex_->out->finish();
      return false;
    }
    bus_started_ = true;
    const std::lock_guard lock(mutex_);
    bus_id_ = *id;
    return true;
  }

  void write(Chunk chunk) { ex_->out->write(std::move(chunk)); }
  void write(std::string text) { write(std::make_shared<const std::string>(std::move(text))); }

  void write_error(const Error& error) { write("{\"type\":\"ERROR\",\"object\":" + status_object(error).dump() + "}\n"); }

  void write_bookmark(bool initial_end) {
    std::string metadata = "{\"resourceVersion\":\"" + std::to_string(progress_) + "\",\"creationTimestamp\":null";
    if (initial_end) metadata += ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}";
    metadata += '}';
    const std::string meta = "meta.k8s.io/" + ex_->rep.meta_version;
    const std::string partial = "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"" + meta + "\",\"metadata\":" + metadata + "}";
    std::string object = "{\"kind\":\"" + face_.kind->kind + "\",\"apiVersion\":\"" + face_.api_version() + "\",\"metadata\":" + metadata + "}";
    if (ex_->rep.shape == Representation::Shape::kPartial) object = partial;
    if (ex_->rep.shape == Representation::Shape::kTable) {
      object = "{\"kind\":\"Table\",\"apiVersion\":\"" + meta + "\",\"metadata\":{\"resourceVersion\":\"" + std::to_string(progress_) +
               "\"},\"columnDefinitions\":null,\"rows\":[{\"cells\":[],\"object\":" + partial + "}]}";
    }
    write("{\"type\":\"BOOKMARK\",\"object\":" + object + "}\n");
  }

  static std::string event(const char* type, std::string_view object) {
    std::string out = "{\"type\":\"";
    out.reserve(object.size() + 40);
    out += type;
    out += "\",\"object\":";
    out += object;
    out += "}\n";
    return out;
  }

  std::string table(const std::string& row, Revision revision, bool with_columns) const {
    return "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/" + ex_->rep.meta_version + "\",\"metadata\":{\"resourceVersion\":\"" +
           std::to_string(revision) + "\"},\"columnDefinitions\":" + (with_columns ? maker_.columns() : "null") + ",\"rows\":[" + row + "]}";
  }

  Async<bool> write_objects(const char* type, std::vector<ObjectRef> objects) {
    Result<std::vector<Shown>> shown = co_await show(server_->pipeline, face_, std::move(objects));
    if (!shown) {
      write_error(shown.error());
      ex_->out->finish();
      co_return false;
    }
    std::vector<std::string> rows;
    if (ex_->rep.shape == Representation::Shape::kTable) {
      Result<std::vector<std::string>> r = co_await maker_.rows(*shown);
      if (!r) {
        write_error(r.error());
        ex_->out->finish();
        co_return false;
      }
      rows = std::move(*r);
    }
    for (size_t i = 0; i < shown->size(); ++i) {
      const Shown& s = (*shown)[i];
      if (ex_->rep.shape == Representation::Shape::kTable) {
        write(event(type, table(rows[i], s.object->revision(), !std::exchange(columns_sent_, true))));
      } else if (ex_->rep.shape == Representation::Shape::kPartial) {
        write(event(type, partial_metadata(s.text(), ex_->rep.meta_version)));
      } else {
        write(event(type, s.text()));
      }
    }
    co_return true;
  }

  // What the change means to somebody who sees only what is selected: "" = nothing.
  const char* event_type(const Change& c) const {
    if (selection_.all()) return c.type == ChangeType::kAdded ? "ADDED" : c.type == ChangeType::kModified ? "MODIFIED" : "DELETED";
    const bool is = c.type != ChangeType::kDeleted && selection_.matches(*c.object);
    const bool was = c.previous ? selection_.matches(*c.previous) : c.type == ChangeType::kDeleted && selection_.matches(*c.object);
    if (is) return was ? "MODIFIED" : "ADDED";
    return was ? "DELETED" : "";
  }

  Async<bool> write_change(ChangeRef change) {
    const char* type = event_type(*change);
    if (!*type) co_return true;
    // It left the selection without being deleted: the old contents, at the new revision.
    const bool left = *type == 'D' && change->type != ChangeType::kDeleted;
    if (left) {
      const Facets facets = change->previous->facets();
      auto old = std::make_shared<const StoredObject>(change->previous->key(), change->revision,
                                                      with_revision(change->previous->json(), change->revision), facets);
      std::vector<ObjectRef> one(1, std::move(old));
      const bool ok = co_await write_objects(type, std::move(one));
      co_return ok;
    }
    if (face_.as_stored && ex_->rep.shape == Representation::Shape::kObject) {
      write(server_->frames.get(change, type, [&] { return event(type, change->object->json()); }));
      co_return true;
    }
    if (face_.as_stored && ex_->rep.shape == Representation::Shape::kPartial) {
      write(server_->frames.get(change, std::string("meta") + ex_->rep.meta_version + type,
                                [&] { return event(type, partial_metadata(change->object->json(), ex_->rep.meta_version)); }));
      co_return true;
    }
    std::vector<ObjectRef> one(1, change->object);
    const bool ok = co_await write_objects(type, std::move(one));
    co_return ok;
  }

  const std::shared_ptr<RestServer::State> server_;
  const ExchangeRef ex_;
  const Face face_;
  const Selection selection_;
  const WatchRequest want_;
  const TableMaker maker_;
  Pipeline::ListAnswer page_;
  size_t next_initial_ = 0;
  Revision progress_ = 0, skip_to_ = 0;
  bool bus_started_ = false, columns_sent_ = false;
  bool yielded_ = false;
  std::atomic<bool> timed_out_{false}, bookmark_due_{false};
  std::mutex mutex_;  // guards what follows
  bool running_ = false, again_ = false, stopped_ = false, want_stop_ = false;
  uint64_t bus_id_ = 0;
  TimerId end_timer_ = 0, bookmark_timer_ = 0;
  std::shared_ptr<WatchStream> self_;  // until stop()
};

void RestServer::State::watch(const ExchangeRef& ex) {
  auto self = shared_from_this();
  pipeline.authorize(ex->api, [self, ex](Result<void> may) {
    if (!may) return ex->fail(may.error());
    Result<Face> face = face_of(self->pipeline.registry(), ex->api);
    if (!face) return ex->fail(face.error());
    Result<WatchRequest> want = parse_watch(ex->request, self->executor, self->pipeline.store().revision());
    if (!want) return ex->fail(want.error());
    Result<Selection> selection =
        Selection::make(*face->kind, *face->storage, face->version, std::string(ex->request.param("labelSelector")),
                        std::string(ex->request.param("fieldSelector")), ex->api.name);
    if (!selection) return ex->fail(selection.error());
    Pipeline::ListAnswer page;
    if (want->initial) {
      ApiRequest listing = ex->api;
      listing.verb = Verb::kList;
      std::erase_if(listing.query, [](const auto& p) { return p.first != "labelSelector" && p.first != "fieldSelector"; });
      Result<Pipeline::ListAnswer> state = self->pipeline.list(listing);
      if (!state) return ex->fail(state.error());
      page = std::move(*state);
    }
    std::make_shared<WatchStream>(self, ex, std::move(*face), std::move(*selection), *want)->start(std::move(page));
  });
}

}  // namespace pintle::kernel
