// Tables as kubectl prints them: columns by path, by rule (`as`) or computed by the kind's owner.
#pragma once
#include "kernel/api/async.h"
#include "kernel/api/face.h"
#include "kernel/api/negotiate.h"

namespace pintle::kernel {

// One stored object and its text in the asked version.
struct Shown {
  ObjectRef object;
  std::string converted;  // "" = the stored bytes are the text
  std::string_view text() const { return converted.empty() ? object->json() : std::string_view(converted); }
};

// Threads: any.
class TableMaker {
 public:
  TableMaker(HookCaller& hooks, Executor& executor, Face face, Representation rep);
  std::string columns() const;  // the JSON of columnDefinitions
  // One JSON row per object. Asks the owner for computed cells, at most 500 objects a call.
  Async<Result<std::vector<std::string>>> rows(const std::vector<Shown>& objects) const;

 private:
  std::string cell(const Column& column, std::string_view text, const json::Value& computed) const;
  HookCaller& hooks_;
  Executor& executor_;
  const Face face_;
  const Representation rep_;
  std::vector<Column> columns_;
  bool computed_ = false;
};

// {"kind":"PartialObjectMetadata",...} of an object's text.
std::string partial_metadata(std::string_view text, const std::string& meta_version);

}  // namespace pintle::kernel
