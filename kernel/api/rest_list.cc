// Lists: stored bytes are spliced; what is large leaves in bounded chunks, as fast as the client reads.
#include "kernel/api/async.h"
#include "kernel/api/rest_state.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr size_t kWhole = 256 << 10;    // smaller answers are sent in one piece
constexpr size_t kChunk = 64 << 10;
constexpr size_t kListHigh = 512 << 10;     // queued for the client: wait
constexpr size_t kListLow = 128 << 10;
constexpr size_t kStep = 250;           // objects per round of conversion or table cells

std::string quoted(const std::string& s) {
  std::string out;
  json::quote(s, out);
  return out;
}

std::string list_head(const Face& face, const Representation& rep, const Pipeline::ListAnswer& page, const std::string& columns) {
  std::string kind = face.kind->kind + "List", api = face.api_version();
  if (rep.shape == Representation::Shape::kTable) kind = "Table";
  if (rep.shape == Representation::Shape::kPartial) kind = "PartialObjectMetadataList";
  if (rep.shape != Representation::Shape::kObject) api = "meta.k8s.io/" + rep.meta_version;
  std::string out = "{\"kind\":" + quoted(kind) + ",\"apiVersion\":" + quoted(api) + ",\"metadata\":{\"resourceVersion\":\"" +
                    std::to_string(page.revision) + "\"";
  if (!page.continue_token.empty()) out += ",\"continue\":" + quoted(page.continue_token);
  if (page.remaining > 0) out += ",\"remainingItemCount\":" + std::to_string(page.remaining);
  out += '}';
  if (rep.shape == Representation::Shape::kTable) return out + ",\"columnDefinitions\":" + columns + ",\"rows\":[";
  return out + ",\"items\":[";
}

// True when there is room again, false when the client has gone.
Wait<bool> drained(ExchangeRef ex) {
  return Wait<bool>([ex = std::move(ex)](std::function<void(bool)> done) {
    auto once = std::make_shared<std::atomic<bool>>(false);
    auto tell = [once, done = std::move(done)](bool room) {
      if (!once->exchange(true)) done(room);
    };
    ex->on_gone([tell] { tell(false); });
    ex->out->on_drained(kListLow, [tell] { tell(true); });
  });
}

Async<bool> send_list(Pipeline& pipeline, HookCaller& hooks, Executor& executor, ExchangeRef ex, Face face, Pipeline::ListAnswer page) {
  const Representation rep = ex->rep;
  const bool table = rep.shape == Representation::Shape::kTable;
  const TableMaker maker(hooks, executor, face, rep);
  std::string buffer = list_head(face, rep, page, table ? maker.columns() : "");
  const bool whole = rep.yaml || rep.pretty || ex->request.method == "HEAD";
  bool streaming = false, first = true;
  std::unique_ptr<Gzip> gzip;
  for (size_t from = 0; from < page.objects.size();) {
    const size_t to = std::min(page.objects.size(), from + kStep);
    std::vector<Shown> shown;
    if (face.as_stored) {
      for (size_t i = from; i < to; ++i) shown.push_back({page.objects[i], ""});
    } else {
      std::vector<ObjectRef> part(page.objects.begin() + static_cast<ptrdiff_t>(from), page.objects.begin() + static_cast<ptrdiff_t>(to));
      Result<std::vector<Shown>> r = co_await show(pipeline, face, std::move(part));
      if (!r) {
        if (streaming) {
          ex->out->abort();
        } else {
          ex->fail(r.error());
        }
        co_return false;
      }
      shown = std::move(*r);
    }
    std::vector<std::string> rows;
    if (table) {
      Result<std::vector<std::string>> r = co_await maker.rows(shown);
      if (!r) {
        if (streaming) {
          ex->out->abort();
        } else {
          ex->fail(r.error());
        }
        co_return false;
      }
      rows = std::move(*r);
    }
    for (size_t i = from; i < to; ++i) {
      if (!first) buffer += ',';
      first = false;
      if (table) {
        buffer += rows[i - from];
      } else if (rep.shape == Representation::Shape::kPartial) {
        buffer += partial_metadata(shown[i - from].text(), rep.meta_version);
      } else {
        buffer += shown[i - from].text();
      }
      page.objects[i] = nullptr;  // held no longer than needed
      if (whole || buffer.size() < (streaming ? kChunk : kWhole)) continue;
      if (!streaming) {
        if (!ex->claim(200)) co_return false;
        streaming = true;
        Headers headers = ex->headers("application/json");
        if (rep.gzip) {
          gzip = std::make_unique<Gzip>();
          headers.emplace_back("Content-Encoding", "gzip");
        }
        ex->out->start(200, std::move(headers));
      }
      std::string piece = gzip ? gzip->add(buffer, false) : std::move(buffer);
      buffer = std::string();
      if (piece.empty()) continue;
      if (ex->out->write(std::make_shared<const std::string>(std::move(piece))) > kListHigh) {
        const bool room = co_await drained(ex);
        if (!room) co_return false;
      }
    }
    from = to;
  }
  buffer += "]}";
  if (!streaming) {
    ex->send_json(200, std::move(buffer));
    co_return true;
  }
  std::string piece = gzip ? gzip->add(buffer, true) : std::move(buffer);
  ex->out->write(std::make_shared<const std::string>(std::move(piece)));
  ex->out->finish();
  co_return true;
}

}  // namespace

Async<Result<std::vector<Shown>>> show(Pipeline& pipeline, Face face, std::vector<ObjectRef> objects) {
  std::vector<Shown> out;
  if (face.as_stored) {
    for (ObjectRef& o : objects) out.push_back({std::move(o), ""});
    co_return out;
  }
  Result<std::vector<json::Value>> values = co_await Wait<Result<std::vector<json::Value>>>(
      [&pipeline, &face, &objects](std::function<void(Result<std::vector<json::Value>>)> done) {
        pipeline.convert(face.kind, face.version, objects, std::move(done));
      });
  if (!values) co_return values.error();
  for (size_t i = 0; i < objects.size(); ++i) out.push_back({objects[i], (*values)[i].dump()});
  co_return out;
}

void RestServer::State::list(const ExchangeRef& ex) {
  auto self = shared_from_this();
  pipeline.authorize(ex->api, [self, ex](Result<void> may) {
    if (!may) return ex->fail(may.error());
    Result<Face> face = face_of(self->pipeline.registry(), ex->api);
    if (!face) return ex->fail(face.error());
    Result<Pipeline::ListAnswer> page = self->pipeline.list(ex->api);
    if (!page) return ex->fail(page.error());
    spawn<bool>(send_list(self->pipeline, self->hooks, self->executor, ex, std::move(*face), std::move(*page)), [self](bool) {});
  });
}

}  // namespace pintle::kernel
