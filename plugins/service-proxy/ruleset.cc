#include "ruleset.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iterator>
#include <utility>

namespace pintle::service_proxy {
namespace {

using json::Value;

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// FNV-1a: short, stable names for chains, whatever the Service is called.
std::string id_of(const std::string& key) {
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : key) h = (h ^ c) * 1099511628211ull;
  char buf[17];
  std::snprintf(buf, sizeof buf, "%016llx", static_cast<unsigned long long>(h));
  return buf;
}

// Addresses come from API objects: only what is an IPv4 address may get into a command.
bool is_ipv4(std::string_view s) {
  in_addr parsed{};
  return inet_pton(AF_INET, std::string(s).c_str(), &parsed) == 1;
}

bool is_protocol(std::string_view s) { return s == "tcp" || s == "udp" || s == "sctp"; }

// "ns/name", of a slice.
std::string service_of(const Value& slice) {
  return std::string(slice.at("metadata.namespace").as_string()) + "/" + std::string(slice.at("metadata.labels[kubernetes.io/service-name]").as_string());
}

// The port of a slice, or 0.
uint16_t number_of(const Value& slice_port) {
  const int64_t number = slice_port["port"].as_int();
  return number < 1 || number > 65535 ? uint16_t{0} : static_cast<uint16_t>(number);
}

// visit("10.0.0.1 . 8080", endpoint) for each address and TCP port of an IPv4 slice.
template <class F>
void for_each_tcp_endpoint(const Value& slice, F&& visit) {
  if (slice["addressType"].as_string() != "IPv4") return;
  for (const Value& port : slice["ports"].items()) {
    if (lower(port["protocol"].as_string("TCP")) != "tcp" || number_of(port) == 0) continue;
    const std::string suffix = " . " + std::to_string(number_of(port));
    for (const Value& e : slice["endpoints"].items())
      for (const Value& a : e["addresses"].items())
        if (is_ipv4(a.as_string())) visit(std::string(a.as_string()) + suffix, e);
  }
}

}  // namespace

void Ruleset::set_service(const std::string& key, const Value& service) {
  dirty_.insert(key);
  if (service.is_null()) {
    services_.erase(key);
    return;
  }
  Service& s = services_[key];
  s.spec = service["spec"];
  s.status = service["status"];
}

void Ruleset::set_slice(const std::string& key, const Value& slice) {
  const auto it = slices_.find(key);
  static const Value none;
  note_endpoints(it == slices_.end() ? none : it->second.slice, slice);
  if (it != slices_.end()) {
    dirty_.insert(it->second.service);
    const auto list = slices_of_.find(it->second.service);
    list->second.erase(key);
    if (list->second.empty()) slices_of_.erase(list);
    if (slice.is_null()) {
      slices_.erase(it);
      return;
    }
  }
  if (slice.is_null()) return;
  const std::string service = service_of(slice);
  slices_[key] = Slice{slice, service};
  slices_of_[service].insert(key);
  dirty_.insert(service);
}

// The new ones first: what is in both never counts as gone.
void Ruleset::note_endpoints(const Value& before, const Value& now) {
  const std::string service_now = service_of(now), service = service_of(before);
  for_each_tcp_endpoint(now, [&](const std::string& endpoint, const Value&) { ++listed_[{service_now, endpoint}]; });
  std::vector<std::string> ended;
  for_each_tcp_endpoint(before, [&](const std::string& endpoint, const Value& e) {
    const auto it = listed_.find({service, endpoint});
    if (--it->second > 0) return;
    listed_.erase(it);
    if (!now.is_null() && e.at("conditions.terminating").as_bool(false)) ended.push_back(endpoint);
  });
  if (ended.empty()) return;
  std::set<std::pair<std::string, uint16_t>> reached_at;
  for (const auto& [key, port] : ports_of(service)) {
    if (port.protocol != "tcp") continue;
    for (const auto* list : {&port.addresses, &port.external_addresses})
      for (const auto& address : *list) reached_at.emplace(address, port.port);
    if (port.node_port) reached_at.emplace("", port.node_port);
  }
  if (reached_at.empty()) return;
  for (auto& endpoint : ended) news_.ended.push_back({service, std::move(endpoint), reached_at});
}

void Ruleset::keep_services(const std::set<std::string>& keys) {
  std::vector<std::string> gone;
  for (const auto& [key, s] : services_)
    if (!keys.count(key)) gone.push_back(key);
  for (const auto& key : gone) set_service(key, {});
}

void Ruleset::keep_slices(const std::set<std::string>& keys) {
  std::vector<std::string> gone;
  for (const auto& [key, s] : slices_)
    if (!keys.count(key)) gone.push_back(key);
  for (const auto& key : gone) set_slice(key, {});
}

void Ruleset::set_bridges(std::set<std::string> networks) { bridges_ = std::move(networks); }

std::map<std::string, ServicePort> Ruleset::ports_of(const std::string& service_key) const {
  std::map<std::string, ServicePort> out;
  const auto it = services_.find(service_key);
  if (it == services_.end()) return out;
  const Service& s = it->second;
  if (s.spec["type"].as_string() == "ExternalName" || !is_ipv4(s.spec["clusterIP"].as_string())) return out;
  const bool inside_local = s.spec["internalTrafficPolicy"].as_string() == "Local";
  const bool outside_local = s.spec["externalTrafficPolicy"].as_string() == "Local";
  for (const Value& p : s.spec["ports"].items()) {
    ServicePort port;
    port.protocol = lower(p["protocol"].as_string("TCP"));
    port.port = static_cast<uint16_t>(p["port"].as_int());
    port.node_port = static_cast<uint16_t>(p["nodePort"].as_int());
    if (!is_protocol(port.protocol) || port.port == 0) continue;
    port.addresses.emplace_back(s.spec["clusterIP"].as_string());
    for (const Value& e : s.spec["externalIPs"].items())
      if (is_ipv4(e.as_string())) port.external_addresses.emplace_back(e.as_string());
    for (const Value& i : s.status.at("loadBalancer.ingress").items())
      if (is_ipv4(i["ip"].as_string())) port.external_addresses.emplace_back(i["ip"].as_string());
    port.masquerade_outside = !outside_local;
    if (s.spec["sessionAffinity"].as_string() == "ClientIP")
      port.affinity_seconds = std::max<int64_t>(1, s.spec.at("sessionAffinityConfig.clientIP.timeoutSeconds").as_int(10800));

    // Ready endpoints; when there is none, those that still serve while they terminate.
    std::vector<std::pair<std::string, bool>> ready, serving;  // (address . port, on this node)
    const auto slices = slices_of_.find(service_key);
    if (slices != slices_of_.end())
      for (const auto& slice_key : slices->second) {
        const Value& slice = slices_.at(slice_key).slice;
        if (slice["addressType"].as_string() != "IPv4") continue;
        for (const Value& sp : slice["ports"].items()) {
          if (sp["name"].as_string() != p["name"].as_string() || lower(sp["protocol"].as_string("TCP")) != port.protocol) continue;
          const uint16_t number = number_of(sp);
          if (number == 0) continue;
          for (const Value& e : slice["endpoints"].items())
            for (const Value& a : e["addresses"].items()) {
              if (!is_ipv4(a.as_string())) continue;
              std::string text = std::string(a.as_string()) + " . " + std::to_string(number);
              const bool local = e["nodeName"].as_string() == node_;
              if (e.at("conditions.ready").as_bool(true)) ready.emplace_back(std::move(text), local);
              else if (e.at("conditions.serving").as_bool(false) && e.at("conditions.terminating").as_bool(false)) serving.emplace_back(std::move(text), local);
            }
        }
      }
    const auto pick = [&](bool local_only) {
      std::vector<std::string> list;
      for (const auto* source : {&ready, &serving}) {
        for (const auto& [text, local] : *source)
          if (!local_only || local) list.push_back(text);
        if (!list.empty()) break;
      }
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
      return list;
    };
    port.inside = pick(inside_local);
    port.outside = pick(outside_local);
    out[service_key + "/" + std::string(p["name"].as_string()) + "/" + std::to_string(port.port) + port.protocol] = std::move(port);
  }
  return out;
}

std::string Ruleset::skeleton() const {
  const std::string t = " ip " + table_ + " ";
  std::string s;
  const auto line = [&](const std::string& text) { s += text + "\n"; };
  line("add table ip " + table_);
  line("add chain" + t + holder_);
  line("add map" + t + "service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }");
  line("add map" + t + "node-ports { type inet_proto . inet_service : verdict; }");
  line("add set" + t + "refused-ips { type ipv4_addr . inet_proto . inet_service; }");
  line("add set" + t + "refused-ports { type inet_proto . inet_service; }");
  line("add set" + t + "hairpin { type ipv4_addr . ipv4_addr; }");
  line("add set" + t + "same-bridge { type ipv4_addr . ipv4_addr; flags interval; }");
  line("add chain" + t + "services");
  line("add rule" + t + "services ip daddr . meta l4proto . th dport vmap @service-ips");
  line("add rule" + t + "services ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @node-ports");
  line("add chain" + t + "prerouting { type nat hook prerouting priority dstnat; policy accept; }");
  line("add rule" + t + "prerouting jump services");
  line("add chain" + t + "output { type nat hook output priority -100; policy accept; }");
  line("add rule" + t + "output jump services");
  line("add chain" + t + "postrouting { type nat hook postrouting priority srcnat; policy accept; }");
  line("add rule" + t + "postrouting ct mark & 0x00400000 == 0 return");
  line("add rule" + t + "postrouting ct mark & 0x00800000 != 0 masquerade");
  line("add rule" + t + "postrouting fib saddr type local masquerade");
  line("add rule" + t + "postrouting ip saddr . ip daddr @hairpin masquerade");
  line("add rule" + t + "postrouting ip saddr . ip daddr @same-bridge masquerade");
  line("add chain" + t + "refuse");
  line("add rule" + t + "refuse ip daddr . meta l4proto . th dport @refused-ips reject");
  line("add rule" + t + "refuse fib daddr type local meta l4proto . th dport @refused-ports reject");
  for (const char* hook : {"input", "forward", "output"}) {
    line("add chain" + t + "filter-" + hook + " { type filter hook " + hook + " priority -10; policy accept; }");
    line("add rule" + t + "filter-" + hook + " ct state new jump refuse");
  }
  return s;
}

void Ruleset::chain_rules(const std::string& chain, const std::string& id, const ServicePort& p, const std::vector<std::string>& endpoints, std::string& out) const {
  const std::string rule = "add rule ip " + table_ + " " + chain + " ";
  out += rule + "ct mark set ct mark | 0x00400000\n";
  const std::string n = std::to_string(endpoints.size());
  if (p.affinity_seconds > 0) {
    // A client found in an endpoint's set goes there again; otherwise it is dealt one by chance and noted.
    for (const auto& e : endpoints) out += rule + "ip saddr @aff-" + id_of(id + e) + " goto aff-" + id_of(id + e) + "\n";
    out += rule + "numgen random mod " + n + " vmap { ";
    for (size_t i = 0; i < endpoints.size(); ++i) out += (i ? ", " : "") + std::to_string(i) + " : goto aff-" + id_of(id + endpoints[i]);
    out += " }\n";
    return;
  }
  if (endpoints.size() == 1) {
    std::string to = endpoints[0];
    to.replace(to.find(" . "), 3, ":");
    out += rule + "meta l4proto " + p.protocol + " dnat ip to " + to + "\n";
    return;
  }
  out += rule + "meta l4proto " + p.protocol + " dnat ip to numgen random mod " + n + " map { ";
  for (size_t i = 0; i < endpoints.size(); ++i) out += (i ? ", " : "") + std::to_string(i) + " : " + endpoints[i];
  out += " }\n";
}

void Ruleset::hold_hairpin(const ServicePort& p, int by, std::string& out) {
  std::set<std::string> addresses;
  for (const auto* list : {&p.inside, &p.outside})
    for (const auto& e : *list) addresses.insert(e.substr(0, e.find(' ')));
  for (const auto& a : addresses) {
    int& uses = hairpin_[a];
    const bool before = uses > 0;
    uses += by;
    if (!before && uses > 0) {
      out += "add element ip " + table_ + " hairpin { " + a + " . " + a + " }\n";
      news_.endpoint_addresses.insert(a);
    }
    if (before && uses == 0) out += "delete element ip " + table_ + " hairpin { " + a + " . " + a + " }\n";
    if (uses == 0) hairpin_.erase(a);
  }
}

namespace {

std::vector<std::string> both(const ServicePort& p) {
  std::vector<std::string> all = p.inside;
  all.insert(all.end(), p.outside.begin(), p.outside.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

bool has_outside(const ServicePort& p) { return p.node_port || !p.external_addresses.empty(); }

std::vector<std::string> claims_of(const ServicePort& p) {
  std::vector<std::string> out;
  const std::string match = " . " + p.protocol + " . " + std::to_string(p.port);
  for (const auto* list : {&p.addresses, &p.external_addresses})
    for (const auto& a : *list) out.push_back(a + match);
  if (p.node_port) out.push_back(p.protocol + " . " + std::to_string(p.node_port));
  return out;
}

}  // namespace

void Ruleset::remove_port(const std::string& key, const ServicePort& old, const std::set<std::string>& kept, std::string& out) {
  const std::string id = id_of(key), t = " ip " + table_ + " ";
  const std::string match = " . " + old.protocol + " . " + std::to_string(old.port);
  for (const auto& a : old.addresses) out += "delete element" + t + (old.inside.empty() ? "refused-ips" : "service-ips") + " { " + a + match + " }\n";
  for (const auto& a : old.external_addresses) out += "delete element" + t + (old.outside.empty() ? "refused-ips" : "service-ips") + " { " + a + match + " }\n";
  if (old.node_port) out += "delete element" + t + (old.outside.empty() ? "refused-ports" : "node-ports") + " { " + old.protocol + " . " + std::to_string(old.node_port) + " }\n";
  for (const bool inside : {true, false}) {
    if (inside ? old.inside.empty() : (!has_outside(old) || old.outside.empty())) continue;
    const std::string chain = (inside ? "svc-" : "ext-") + id;
    out += "flush chain" + t + chain + "\ndelete chain" + t + chain + "\n";
  }
  if (old.affinity_seconds > 0)
    for (const auto& e : both(old)) {
      if (kept.count(e)) continue;
      const std::string name = "aff-" + id_of(id + e);
      out += "flush chain" + t + name + "\ndelete chain" + t + name + "\ndelete set" + t + name + "\n";
    }
  endpoints_ -= old.inside.size();
  hold_hairpin(old, -1, out);
}

void Ruleset::add_port(const std::string& key, const ServicePort& now, const std::set<std::string>& kept, std::string& out) {
  const std::string id = id_of(key), t = " ip " + table_ + " ";
  if (now.affinity_seconds > 0)
    for (const auto& e : both(now)) {
      if (kept.count(e)) continue;
      const std::string name = "aff-" + id_of(id + e);
      std::string to = e;
      to.replace(to.find(" . "), 3, ":");
      out += "add set" + t + name + " { type ipv4_addr; size 65536; flags dynamic,timeout; timeout " + std::to_string(now.affinity_seconds) + "s; }\n";
      out += "add chain" + t + name + "\n";
      out += "add rule" + t + name + " update @" + name + " { ip saddr }\n";
      out += "add rule" + t + name + " meta l4proto " + now.protocol + " dnat ip to " + to + "\n";
    }
  if (!now.inside.empty()) {
    out += "add chain" + t + "svc-" + id + "\n";
    chain_rules("svc-" + id, id, now, now.inside, out);
  }
  if (has_outside(now) && !now.outside.empty()) {
    out += "add chain" + t + "ext-" + id + "\n";
    outside_rules(id, now, out);
  }
  const std::string match = " . " + now.protocol + " . " + std::to_string(now.port);
  const auto verdict = [&](const char* prefix) { return std::string(" : goto ") + prefix + id; };
  for (const auto& a : now.addresses)
    out += now.inside.empty() ? "add element" + t + "refused-ips { " + a + match + " }\n" : "add element" + t + "service-ips { " + a + match + verdict("svc-") + " }\n";
  for (const auto& a : now.external_addresses)
    out += now.outside.empty() ? "add element" + t + "refused-ips { " + a + match + " }\n" : "add element" + t + "service-ips { " + a + match + verdict("ext-") + " }\n";
  if (now.node_port) {
    const std::string port = now.protocol + " . " + std::to_string(now.node_port);
    out += now.outside.empty() ? "add element" + t + "refused-ports { " + port + " }\n" : "add element" + t + "node-ports { " + port + verdict("ext-") + " }\n";
  }
  endpoints_ += now.inside.size();
  hold_hairpin(now, +1, out);
  note_udp(now, false);
}

void Ruleset::note_udp(const ServicePort& p, bool gone) {
  if (p.protocol != "udp") return;
  const auto set = [&](const std::vector<std::string>& v) { return gone ? std::set<std::string>{} : std::set<std::string>(v.begin(), v.end()); };
  if (!p.addresses.empty()) news_.udp.push_back({{p.addresses.begin(), p.addresses.end()}, p.port, set(p.inside)});
  if (!p.external_addresses.empty()) news_.udp.push_back({{p.external_addresses.begin(), p.external_addresses.end()}, p.port, set(p.outside)});
  if (p.node_port) news_.udp.push_back({{""}, p.node_port, set(p.outside)});
}

// There were endpoints and there are, nothing else is different, and no other Service holds a part of it. With session affinity endpoints have chains of their own.
bool Ruleset::same_but_endpoints(const Applied& old, const ServicePort& now) {
  if (old.wished != old.granted || now.affinity_seconds > 0) return false;
  ServicePort same = now;
  same.inside = old.wished.inside;
  same.outside = old.wished.outside;
  return same == old.wished && !now.inside.empty() && !same.inside.empty() && now.outside.empty() == same.outside.empty();
}

// The usual change: its chains get other rules, and nothing else is touched. A map's element that leads to a chain made in the same transaction may be met by a packet
// that began before it, for which the chain is empty still: it would not be translated.
void Ruleset::change_endpoints(const std::string& key, const ServicePort& old, const ServicePort& now, std::string& out) {
  const std::string id = id_of(key);
  if (old.inside != now.inside) {
    out += "flush chain ip " + table_ + " svc-" + id + "\n";
    chain_rules("svc-" + id, id, now, now.inside, out);
  }
  if (has_outside(now) && old.outside != now.outside) {
    out += "flush chain ip " + table_ + " ext-" + id + "\n";
    outside_rules(id, now, out);
  }
  endpoints_ += now.inside.size() - old.inside.size();
  hold_hairpin(now, +1, out);
  hold_hairpin(old, -1, out);
  note_udp(now, false);
}

void Ruleset::outside_rules(const std::string& id, const ServicePort& p, std::string& out) const {
  if (p.masquerade_outside) out += "add rule ip " + table_ + " ext-" + id + " ct mark set ct mark | 0x00800000\n";
  chain_rules("ext-" + id, id, p, p.outside, out);
}

struct Ruleset::Step {
  std::map<std::string, ServicePort> wished;
  std::map<std::string, std::set<std::string>> kept;  // port -> endpoints whose affinity goes on
};

// Takes what changes out of the table. What others wait for becomes free: they are to be looked at again.
void Ruleset::release(const std::string& service, Step& step, std::string& out, std::set<std::string>& todo) {
  auto& held = applied_[service];
  for (auto it = held.begin(); it != held.end();) {
    const auto& [key, old] = *it;
    const auto now = step.wished.find(key);
    if (now != step.wished.end() && now->second == old.wished && old.wished == old.granted) {
      ++it;
      continue;
    }
    if (now != step.wished.end() && same_but_endpoints(old, now->second)) {
      change_endpoints(key, old.granted, now->second, out);
      it->second = {now->second, now->second};
      ++it;
      continue;
    }
    auto& kept = step.kept[key];
    if (now != step.wished.end() && now->second.affinity_seconds == old.granted.affinity_seconds && now->second.affinity_seconds > 0) {
      const auto before = both(old.granted), after = both(now->second);
      std::set_intersection(before.begin(), before.end(), after.begin(), after.end(), std::inserter(kept, kept.end()));
    }
    remove_port(key, old.granted, kept, out);
    for (const auto& c : claims_of(old.granted)) {
      claims_.erase(c);
      if (const auto w = waiting_.find(c); w != waiting_.end()) todo.insert(w->second.begin(), w->second.end());
    }
    note_udp(old.granted, true);
    it = held.erase(it);
  }
}

// Leaves in `port` what is free. An address and port can be one Service's only: the first come has it.
void Ruleset::claim(const std::string& service, const std::string& key, ServicePort& port) {
  const auto take = [&](const std::string& what) {
    const auto [it, fresh] = claims_.try_emplace(what, key);
    if (fresh) return true;
    if (it->second != key && waiting_[what].insert(service).second)
      news_.conflicts.push_back("Service " + service + " cannot have " + what + ": " + it->second + " has it");
    return false;
  };
  const std::string match = " . " + port.protocol + " . " + std::to_string(port.port);
  std::erase_if(port.addresses, [&](const std::string& a) { return !take(a + match); });
  std::erase_if(port.external_addresses, [&](const std::string& a) { return !take(a + match); });
  if (port.node_port && !take(port.protocol + " . " + std::to_string(port.node_port))) port.node_port = 0;
}

std::string Ruleset::changes() {
  std::string removed, added;
  std::map<std::string, Step> steps;
  for (std::set<std::string> todo = std::exchange(dirty_, {}); !todo.empty();) {
    const std::string service = *todo.begin();
    todo.erase(todo.begin());
    const auto [step, fresh] = steps.try_emplace(service);
    if (!fresh) continue;
    for (auto w = waiting_.begin(); w != waiting_.end();) {
      w->second.erase(service);
      w = w->second.empty() ? waiting_.erase(w) : std::next(w);
    }
    step->second.wished = ports_of(service);
    release(service, step->second, removed, todo);
  }
  for (auto& [service, step] : steps) {
    auto& held = applied_[service];
    for (auto& [key, port] : step.wished) {
      if (held.count(key)) continue;
      ServicePort granted = port;
      claim(service, key, granted);
      add_port(key, granted, step.kept[key], added);
      held.emplace(key, Applied{std::move(port), std::move(granted)});
    }
    if (held.empty()) applied_.erase(service);
  }
  const auto bridge = [&](const char* verb, const std::string& n) { return std::string(verb) + " element ip " + table_ + " same-bridge { " + n + " . " + n + " }\n"; };
  for (const auto& n : applied_bridges_)
    if (!bridges_.count(n)) removed += bridge("delete", n);
  for (const auto& n : bridges_)
    if (!applied_bridges_.count(n)) added += bridge("add", n);
  applied_bridges_ = bridges_;
  if (removed.empty() && added.empty()) return "";
  return "flush chain ip " + table_ + " " + holder_ + "\n" + removed + added;
}

std::string Ruleset::everything() {
  applied_.clear();
  claims_.clear();
  waiting_.clear();
  hairpin_.clear();
  applied_bridges_.clear();
  endpoints_ = 0;
  for (const auto& [key, s] : services_) dirty_.insert(key);
  return "add table ip " + table_ + "\ndelete table ip " + table_ + "\n" + skeleton() + changes();
}

std::string Ruleset::removal() const { return "delete chain ip " + table_ + " " + holder_ + "\ndelete table ip " + table_ + "\n"; }

std::string Ruleset::removal_of_any() const { return "delete table ip " + table_ + "\n"; }

Ruleset::News Ruleset::take_news() { return std::exchange(news_, {}); }

}  // namespace pintle::service_proxy
