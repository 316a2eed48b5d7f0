// pintle.object/1: reference-counted handles on stored objects, and fields by registered path.
#pragma once
#include "kernel/store/object.h"
#include "pintle/abi.h"

namespace pintle::kernel {

const pintle_object_api* object_api();
// A handle with one reference; 0 for null.
pintle_object* make_handle(ObjectRef object);
void release_handle(pintle_object* handle);

// Holds a handle for the time of a callback.
class Handle {
 public:
  explicit Handle(ObjectRef object) : raw_(make_handle(std::move(object))) {}
  ~Handle() {
    if (raw_) release_handle(raw_);
  }
  Handle(const Handle&) = delete;
  pintle_object* get() const { return raw_; }

 private:
  pintle_object* raw_;
};

}  // namespace pintle::kernel
