#include "kernel/base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "pintle/json.h"

namespace pintle::kernel::log {
namespace {

struct Target {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> logger;
  std::atomic<int> level{kInfo};
  std::atomic<bool> json{false};
};

// Never destroyed: late threads may still log while the process ends.
Target& target() {
  static auto* t = new Target;
  return *t;
}

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%e%z %^%-5l%$ %v";

std::shared_ptr<spdlog::logger> make(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("pintle", std::move(sink));
  logger->set_level(spdlog::level::trace);
  // A line that is still in a buffer helps nobody who looks at the file, and a crash takes it along.
  logger->flush_on(spdlog::level::trace);
  logger->set_pattern(target().json ? "%v" : kTextPattern);
  return logger;
}

std::shared_ptr<spdlog::logger> current() {
  Target& t = target();
  std::lock_guard lock(t.mutex);
  if (!t.logger) t.logger = make(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return t.logger;
}

spdlog::level::level_enum native(int level) {
  switch (level) {
    case kDebug: return spdlog::level::debug;
    case kWarn: return spdlog::level::warn;
    case kError: return spdlog::level::err;
    default: return spdlog::level::info;
  }
}

const char* word(int level) {
  switch (level) {
    case kDebug: return "debug";
    case kWarn: return "warn";
    case kError: return "error";
    default: return "info";
  }
}

// A line is a line: text from outside cannot forge another one.
std::string one_line(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '\n') out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20) out += ' ';
    else out += c;
  }
  return out;
}

std::string now_text() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  tm t{};
  gmtime_r(&ts.tv_sec, &t);
  char buffer[96];
  snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
           t.tm_min, t.tm_sec, ts.tv_nsec / 1000000);
  return buffer;
}

}  // namespace

bool open(const Options& options) {
  Target& t = target();
  t.level = options.level;
  t.json = options.json;
  std::shared_ptr<spdlog::logger> logger;
  try {
    if (options.file.empty()) logger = make(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    else logger = make(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options.file, 10u << 20, 5));
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
  std::lock_guard lock(t.mutex);
  t.logger = std::move(logger);
  return true;
}

void set_level(int level) { target().level = level; }
int level() { return target().level; }

int parse_level(std::string_view text) {
  if (text == "debug") return kDebug;
  if (text == "info") return kInfo;
  if (text == "warn" || text == "warning") return kWarn;
  if (text == "error") return kError;
  return 0;
}

void write(int level, std::string_view source, std::string_view text, std::string_view fields) {
  if (level < kDebug) return;
  auto logger = current();
  std::string line;
  if (target().json) {
    line = "{\"time\":\"" + now_text() + "\",\"level\":\"" + word(level) + "\",\"source\":";
    json::quote(source, line);
    line += ",\"message\":";
    json::quote(text, line);
    if (fields.size() > 2) line += ",\"fields\":" + one_line(fields);
    line += '}';
  } else {
    line = std::string(source) + ": " + one_line(text);
    if (fields.size() > 2) line += ' ' + one_line(fields);
  }
  logger->log(native(level), spdlog::string_view_t(line.data(), line.size()));
}

void flush() { current()->flush(); }

}  // namespace pintle::kernel::log
