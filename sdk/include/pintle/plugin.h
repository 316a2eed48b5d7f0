// The face of a plugin: derive from Plugin and from the providers of the extension points you serve, then
// write PINTLE_PLUGIN(YourClass) once.
//
//   class Hello final : public pintle::Plugin, public pintle::ControllerProvider {
//    public:
//     Hello(pintle::Host host, const pintle::json::Value& config) : Plugin(host) {}
//     void describe(pintle::json::Value, pintle::Call call) override { ... }
//     void reconcile(pintle::json::Value request, pintle::Call call) override { ... }
//   };
//   PINTLE_PLUGIN(Hello)
//
// Exceptions: throw pintle::Error to refuse a request; nothing ever crosses the boundary.
// An optional `static pintle::Result<void> validate(const json::Value& config)` checks what the schema cannot say.
#pragma once
#include <exception>
#include <type_traits>

#include "pintle/host.h"
#include "pintle/if/admission.h"
#include "pintle/if/cloud.h"
#include "pintle/if/controller.h"
#include "pintle/if/http.h"
#include "pintle/if/network.h"
#include "pintle/if/resource.h"
#include "pintle/if/runtime.h"
#include "pintle/if/scheduler.h"
#include "pintle/if/stream.h"

namespace pintle {

class Plugin {
 public:
  explicit Plugin(Host h) : host(h) {}
  virtual ~Plugin() = default;
  Plugin(const Plugin&) = delete;
  // Warm up: list, watch, connect. No effect outside the process.
  virtual void start() {}
  // From here on this instance may act for `slot`.
  virtual void activate(std::string_view slot, uint64_t epoch) { (void)slot, (void)epoch; }
  // Refuse new work, finish what is in hand, then answer.
  virtual void drain(Call done) { done.reply(); }
  // Leave no timer, watch, fdwatch or invocation behind.
  virtual void stop() {}
  // false: not possible while running, the host replaces the instance.
  virtual bool reconfigure(const json::Value& config) {
    (void)config;
    return false;
  }
  const Host host;
};

#define PINTLE_UNSUPPORTED_METHOD(name) \
  virtual void name(json::Value, Call call) { call.fail(PINTLE_UNSUPPORTED, "not supported: " #name); }

struct ResourceProvider {
  virtual ~ResourceProvider() = default;
  PINTLE_UNSUPPORTED_METHOD(default_)
  PINTLE_UNSUPPORTED_METHOD(validate_object)
  PINTLE_UNSUPPORTED_METHOD(convert)
  PINTLE_UNSUPPORTED_METHOD(prepare)
  PINTLE_UNSUPPORTED_METHOD(delete_)
  PINTLE_UNSUPPORTED_METHOD(table)
  PINTLE_UNSUPPORTED_METHOD(connect)
  PINTLE_UNSUPPORTED_METHOD(subresource)
};
struct StreamProvider {
  virtual ~StreamProvider() = default;
  virtual void open(json::Value request, Call call) = 0;
};
struct ControllerProvider {
  virtual ~ControllerProvider() = default;
  virtual void describe(json::Value request, Call call) = 0;
  PINTLE_UNSUPPORTED_METHOD(map)
  virtual void reconcile(json::Value request, Call call) = 0;
};
struct SchedulerProvider {
  virtual ~SchedulerProvider() = default;
  virtual void observe(json::Value request, Call call) = 0;
  virtual void schedule(json::Value request, Call call) = 0;
  PINTLE_UNSUPPORTED_METHOD(explain)
};
struct RuntimeProvider {
  virtual ~RuntimeProvider() = default;
  PINTLE_UNSUPPORTED_METHOD(info)
  PINTLE_UNSUPPORTED_METHOD(status)
  PINTLE_UNSUPPORTED_METHOD(events)
  PINTLE_UNSUPPORTED_METHOD(pull)
  PINTLE_UNSUPPORTED_METHOD(image_list)
  PINTLE_UNSUPPORTED_METHOD(image_remove)
  PINTLE_UNSUPPORTED_METHOD(fs_info)
  PINTLE_UNSUPPORTED_METHOD(create_pod)
  PINTLE_UNSUPPORTED_METHOD(start_pod)
  PINTLE_UNSUPPORTED_METHOD(create)
  PINTLE_UNSUPPORTED_METHOD(start_container)
  PINTLE_UNSUPPORTED_METHOD(stop_container)
  PINTLE_UNSUPPORTED_METHOD(kill)
  PINTLE_UNSUPPORTED_METHOD(remove)
  PINTLE_UNSUPPORTED_METHOD(remove_pod)
  PINTLE_UNSUPPORTED_METHOD(update)
  PINTLE_UNSUPPORTED_METHOD(list)
  PINTLE_UNSUPPORTED_METHOD(stats)
  PINTLE_UNSUPPORTED_METHOD(exec)
  PINTLE_UNSUPPORTED_METHOD(attach)
  PINTLE_UNSUPPORTED_METHOD(port_forward)
  PINTLE_UNSUPPORTED_METHOD(logs)
  PINTLE_UNSUPPORTED_METHOD(reopen_log)
  PINTLE_UNSUPPORTED_METHOD(recover)
};
struct AuthnProvider {
  virtual ~AuthnProvider() = default;
  virtual void authenticate(json::Value request, Call call) = 0;
};
struct AuthzProvider {
  virtual ~AuthzProvider() = default;
  virtual void authorize(json::Value request, Call call) = 0;
};
struct AdmissionProvider {
  virtual ~AdmissionProvider() = default;
  virtual void describe_admission(json::Value request, Call call) = 0;
  PINTLE_UNSUPPORTED_METHOD(admission_mutate)
  PINTLE_UNSUPPORTED_METHOD(admission_validate)
};
struct NetworkProvider {
  virtual ~NetworkProvider() = default;
  virtual void attach_pod(json::Value request, Call call) = 0;
  virtual void detach_pod(json::Value request, Call call) = 0;
};
struct CloudProvider {
  virtual ~CloudProvider() = default;
  PINTLE_UNSUPPORTED_METHOD(list_groups)
  PINTLE_UNSUPPORTED_METHOD(set_size)
  PINTLE_UNSUPPORTED_METHOD(delete_node)
  PINTLE_UNSUPPORTED_METHOD(ensure_load_balancer)
  PINTLE_UNSUPPORTED_METHOD(delete_load_balancer)
};
struct HttpProvider {
  virtual ~HttpProvider() = default;
  virtual void describe_routes(json::Value request, Call call) = 0;
  virtual void handle(json::Value request, Call call) = 0;
};

namespace internal {

// The exception wall: the only place where C++ meets C.
template <class F>
pintle_code guard(pintle_error* err, F&& f) noexcept {
  try {
    f();
    return PINTLE_OK;
  } catch (const Error& e) {
    e.to_c(err);
    return e.code == PINTLE_OK ? PINTLE_INTERNAL : e.code;
  } catch (const std::exception& e) {
    try {
      Error(PINTLE_INTERNAL, e.what()).to_c(err);
    } catch (...) {
    }
    return PINTLE_INTERNAL;
  } catch (...) {
    return PINTLE_INTERNAL;
  }
}

template <class T>
struct Box {
  Box(const pintle_host* h, const json::Value& config) : object(Host(h), config) {}
  pintle_plugin table{};
  T object;
};

// C method -> member function of provider P of plugin T.
template <class T, class P, auto Method>
void hop(void* self, pintle_bytes in, pintle_call* raw) noexcept {
  T& t = static_cast<Box<T>*>(self)->object;
  const pintle_call_api* api = t.host.call_api();
  pintle_error e{};
  e.size = sizeof e;
  CurrentCall current{raw};
  CurrentCall* outer = std::exchange(current_call, &current);
  Call call(api, raw, t.host.raw());
  const pintle_code c = guard(&e, [&] {
    json::ParseResult r = json::parse(in.len ? view(in) : std::string_view("{}"));
    if (!r) throw Error(PINTLE_BAD_REQUEST, "request is not JSON: " + r.error);
    (static_cast<P&>(t).*Method)(std::move(r.value), std::move(call));
  });
  current_call = outer;
  if (c == PINTLE_OK) return;
  if (current.thrown_away) Call(api, raw).fail(Error::from_c(c, &e));
  else if (call) call.fail(Error::from_c(c, &e));
  else t.host.warn("a method threw after it had taken its call", json::Value::object({{"error", e.text}}));
}

template <class T>
const void* find_interface(std::string_view id) {
#define PINTLE_HOP(P, m) hop<T, P, &P::m>
  if constexpr (std::is_base_of_v<ResourceProvider, T>) {
    using P = ResourceProvider;
    static constexpr pintle_resource t{sizeof(pintle_resource), PINTLE_HOP(P, default_), PINTLE_HOP(P, validate_object),
                                       PINTLE_HOP(P, convert), PINTLE_HOP(P, prepare), PINTLE_HOP(P, delete_),
                                       PINTLE_HOP(P, table), PINTLE_HOP(P, connect), PINTLE_HOP(P, subresource)};
    if (id == PINTLE_RESOURCE) return &t;
  }
  if constexpr (std::is_base_of_v<StreamProvider, T>) {
    static constexpr pintle_stream t{sizeof(pintle_stream), PINTLE_HOP(StreamProvider, open)};
    if (id == PINTLE_STREAM) return &t;
  }
  if constexpr (std::is_base_of_v<ControllerProvider, T>) {
    using P = ControllerProvider;
    static constexpr pintle_controller t{sizeof(pintle_controller), PINTLE_HOP(P, describe), PINTLE_HOP(P, map),
                                         PINTLE_HOP(P, reconcile)};
    if (id == PINTLE_CONTROLLER) return &t;
  }
  if constexpr (std::is_base_of_v<SchedulerProvider, T>) {
    using P = SchedulerProvider;
    static constexpr pintle_scheduler t{sizeof(pintle_scheduler), PINTLE_HOP(P, observe), PINTLE_HOP(P, schedule),
                                        PINTLE_HOP(P, explain)};
    if (id == PINTLE_SCHEDULER) return &t;
  }
  if constexpr (std::is_base_of_v<RuntimeProvider, T>) {
    using P = RuntimeProvider;
    static constexpr pintle_runtime t{
        sizeof(pintle_runtime),       PINTLE_HOP(P, info),       PINTLE_HOP(P, status),         PINTLE_HOP(P, events),
        PINTLE_HOP(P, pull),          PINTLE_HOP(P, image_list), PINTLE_HOP(P, image_remove),   PINTLE_HOP(P, fs_info),
        PINTLE_HOP(P, create_pod),    PINTLE_HOP(P, start_pod),  PINTLE_HOP(P, create),         PINTLE_HOP(P, start_container),
        PINTLE_HOP(P, stop_container), PINTLE_HOP(P, kill),      PINTLE_HOP(P, remove),         PINTLE_HOP(P, remove_pod),
        PINTLE_HOP(P, update),        PINTLE_HOP(P, list),       PINTLE_HOP(P, stats),          PINTLE_HOP(P, exec),
        PINTLE_HOP(P, attach),        PINTLE_HOP(P, port_forward), PINTLE_HOP(P, logs),         PINTLE_HOP(P, reopen_log),
        PINTLE_HOP(P, recover)};
    if (id == PINTLE_RUNTIME) return &t;
  }
  if constexpr (std::is_base_of_v<AuthnProvider, T>) {
    static constexpr pintle_authn t{sizeof(pintle_authn), PINTLE_HOP(AuthnProvider, authenticate)};
    if (id == PINTLE_AUTHN) return &t;
  }
  if constexpr (std::is_base_of_v<AuthzProvider, T>) {
    static constexpr pintle_authz t{sizeof(pintle_authz), PINTLE_HOP(AuthzProvider, authorize)};
    if (id == PINTLE_AUTHZ) return &t;
  }
  if constexpr (std::is_base_of_v<AdmissionProvider, T>) {
    using P = AdmissionProvider;
    static constexpr pintle_admission t{sizeof(pintle_admission), PINTLE_HOP(P, describe_admission),
                                        PINTLE_HOP(P, admission_mutate), PINTLE_HOP(P, admission_validate)};
    if (id == PINTLE_ADMISSION) return &t;
  }
  if constexpr (std::is_base_of_v<NetworkProvider, T>) {
    using P = NetworkProvider;
    static constexpr pintle_network t{sizeof(pintle_network), PINTLE_HOP(P, attach_pod), PINTLE_HOP(P, detach_pod)};
    if (id == PINTLE_NETWORK) return &t;
  }
  if constexpr (std::is_base_of_v<CloudProvider, T>) {
    using P = CloudProvider;
    static constexpr pintle_cloud t{sizeof(pintle_cloud), PINTLE_HOP(P, list_groups), PINTLE_HOP(P, set_size),
                                    PINTLE_HOP(P, delete_node), PINTLE_HOP(P, ensure_load_balancer),
                                    PINTLE_HOP(P, delete_load_balancer)};
    if (id == PINTLE_CLOUD) return &t;
  }
  if constexpr (std::is_base_of_v<HttpProvider, T>) {
    using P = HttpProvider;
    static constexpr pintle_http t{sizeof(pintle_http), PINTLE_HOP(P, describe_routes), PINTLE_HOP(P, handle)};
    if (id == PINTLE_HTTP) return &t;
  }
#undef PINTLE_HOP
  return nullptr;
}

template <class T>
struct Export {
  static T& at(void* self) { return static_cast<Box<T>*>(self)->object; }

  static json::Value parse_config(pintle_bytes text) {
    json::ParseResult r = json::parse(text.len ? view(text) : std::string_view("{}"));
    if (!r) throw Error(PINTLE_INVALID, "configuration is not JSON: " + r.error);
    return std::move(r.value);
  }
  static pintle_code validate(pintle_bytes config, pintle_error* e) {
    return guard(e, [&] {
      [[maybe_unused]] const json::Value v = parse_config(config);
      if constexpr (requires { T::validate(v); }) {
        Result<void> r = T::validate(v);
        if (!r) throw r.error();
      }
    });
  }
  static pintle_code create(const pintle_host* h, pintle_bytes config, const pintle_plugin** out, pintle_error* e) {
    return guard(e, [&] {
      auto box = std::make_unique<Box<T>>(h, parse_config(config));
      box->table = pintle_plugin{
          sizeof(pintle_plugin),
          box.get(),
          [](void* s, pintle_error* err) { return guard(err, [&] { at(s).start(); }); },
          [](void* s, pintle_bytes slot, uint64_t epoch, pintle_error* err) {
            return guard(err, [&] { at(s).activate(view(slot), epoch); });
          },
          [](void* s, pintle_call* c) {
            T& t = at(s);
            guard(nullptr, [&] { t.drain(Call(t.host.call_api(), c, t.host.raw())); });
          },
          [](void* s) { guard(nullptr, [&] { at(s).stop(); }); },
          [](void* s) { delete static_cast<Box<T>*>(s); },
          [](void*, const char* id) { return find_interface<T>(id); },
          [](void* s, pintle_bytes cfg, pintle_error* err) {
            return guard(err, [&] {
              if (!at(s).reconfigure(parse_config(cfg)))
                throw Error(PINTLE_UNSUPPORTED, "cannot be changed while running");
            });
          }};
      *out = &box.release()->table;
    });
  }
};

}  // namespace internal
}  // namespace pintle

// Once per plugin. The manifest's JSON comes from plugin.yaml through pintle_add_plugin().
#define PINTLE_PLUGIN(Type)                                                                          \
  extern "C" const char pintle_manifest_json[];                                                      \
  extern "C" PINTLE_EXPORT const pintle_entry pintle_plugin_entry;                                   \
  extern "C" PINTLE_EXPORT const pintle_entry pintle_plugin_entry{                                   \
      sizeof(pintle_entry),  PINTLE_ABI_MAJOR,                          PINTLE_ABI_MINOR,             \
      pintle_manifest_json, &::pintle::internal::Export<Type>::validate, &::pintle::internal::Export<Type>::create};
