#include "kernel/plugin/events.h"

#include <ctime>

namespace pintle::kernel {

std::string time_text(int64_t wall_ns, bool micro) {
  const time_t seconds = static_cast<time_t>(wall_ns / 1000000000);
  tm t{};
  gmtime_r(&seconds, &t);
  char buffer[96];
  if (micro)
    snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
             static_cast<int>(wall_ns % 1000000000 / 1000));
  else
    snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  return buffer;
}

Identity kernel_identity() {
  Identity who;
  who.user = "system:pintle";
  who.groups = {"system:masters"};
  return who;
}

void EventBuffer::record(const std::string& kind, const std::string& name, const std::string& uid, bool warning, const std::string& reason,
                         const std::string& message) {
  if (events_.size() >= kMax) events_.pop_front();
  events_.push_back({kind, name, uid, reason, message.substr(0, 1000), warning, executor_.wall()});
  flush();
}

void EventBuffer::flush() {
  if (writing_ || events_.empty() || !strand_) return;
  const auto kind = pipeline_.registry().snapshot()->by_name("events");
  if (!kind || kind->hidden || !kind->available) return;
  writing_ = true;
  std::vector<Event> batch;
  std::vector<ApiRequest> requests;
  while (!events_.empty() && batch.size() < kBatch) {
    requests.push_back(request(events_.front()));
    batch.push_back(std::move(events_.front()));
    events_.pop_front();
  }
  pipeline_.execute_batch(std::move(requests), false, false, {}, [this, strand = strand_, batch = std::move(batch)](Result<void> r, std::vector<ApiAnswer> answers) {
    strand([this, batch, r = std::move(r), answers = std::move(answers)] { written(batch, r, answers); });
  });
}

// The namespace may not be there yet, or hooks not yet running: those are kept and tried again.
void EventBuffer::written(std::vector<Event> batch, const Result<void>& all, const std::vector<ApiAnswer>& answers) {
  writing_ = false;
  bool again = false;
  for (size_t i = batch.size(); i-- > 0;) {
    const pintle_code code = i < answers.size() ? answers[i].error.code : all ? PINTLE_OK : all.error().code;
    if (code != PINTLE_NOT_FOUND && code != PINTLE_UNAVAILABLE && code != PINTLE_TIMEOUT) continue;
    if (++batch[i].attempts >= 60) continue;
    events_.push_front(std::move(batch[i]));
    again = true;
  }
  if (!again) return flush();
  executor_.after(1000000000, [this, strand = strand_] { strand([this] { flush(); }); });
}

ApiRequest EventBuffer::request(const Event& e) {
  const uint64_t n = ++count_;
  char suffix[40];
  snprintf(suffix, sizeof suffix, ".%llx%04llx", static_cast<unsigned long long>(e.at), static_cast<unsigned long long>(n & 0xffff));
  std::string name = e.name + suffix;
  for (char& c : name)
    if (c == '*' || c == '_') c = 'x';
  const json::Value object = json::Value::object(
      {{"apiVersion", "v1"},
       {"kind", "Event"},
       {"metadata", json::Value::object({{"name", name}, {"namespace", "default"}})},
       {"involvedObject", json::Value::object({{"kind", e.kind}, {"name", e.name}, {"uid", e.uid}, {"apiVersion", "pintle.dev/v1"}})},
       {"reason", e.reason},
       {"message", e.message},
       {"source", json::Value::object({{"component", "pintled"}})},
       {"firstTimestamp", time_text(e.at)},
       {"lastTimestamp", time_text(e.at)},
       {"count", 1},
       {"type", e.warning ? "Warning" : "Normal"}});
  ApiRequest r;
  r.verb = Verb::kCreate;
  r.version = "v1";
  r.resource = "events";
  r.ns = "default";
  r.content_type = "application/json";
  r.body = object.dump();
  r.identity = kernel_identity();
  r.want_object = false;
  return r;
}

}  // namespace pintle::kernel
