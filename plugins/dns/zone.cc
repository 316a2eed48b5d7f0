#include "zone.h"

#include <algorithm>
#include <cctype>

namespace pintle::dns {
namespace {

using json::Value;

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string dashed(std::string address) {
  std::replace(address.begin(), address.end(), '.', '-');
  return address;
}

bool is_ipv4(std::string_view s) {
  int dots = 0, number = -1;
  for (char c : s) {
    if (c == '.') {
      if (number < 0) return false;
      ++dots;
      number = -1;
    } else if (c >= '0' && c <= '9') {
      number = std::max(number, 0) * 10 + (c - '0');
      if (number > 255) return false;
    } else {
      return false;
    }
  }
  return dots == 3 && number >= 0;
}

std::vector<std::string> split(std::string_view name) {
  std::vector<std::string> out;
  while (!name.empty()) {
    const size_t dot = name.find('.');
    out.emplace_back(name.substr(0, dot));
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  return out;
}

bool wants(RecordType asked, RecordType type) { return asked == type || asked == RecordType::kAny; }

}  // namespace

Zone::Zone(std::string domain) : domain_(lower(domain)) {}

void Zone::set_service(const std::string& key, const Value& v) {
  const std::string ns = key.substr(0, key.find('/'));
  if (const auto old = services_.find(key); old != services_.end()) {
    if (!old->second.address.empty()) count(old->second.address, key, -1);
    if (--namespaces_[ns] == 0) namespaces_.erase(ns);
    services_.erase(old);
  }
  if (v.is_null()) return;
  ++namespaces_[ns];
  Service& s = services_[key];
  s.publish_not_ready = v.at("spec.publishNotReadyAddresses").as_bool();
  if (v.at("spec.type").as_string() == "ExternalName") {
    s.external_name = lower(v.at("spec.externalName").as_string());
    if (!s.external_name.empty() && s.external_name.back() == '.') s.external_name.pop_back();
  } else if (is_ipv4(v.at("spec.clusterIP").as_string())) {
    s.address = std::string(v.at("spec.clusterIP").as_string());
    count(s.address, key, +1);
  }
  for (const Value& p : v.at("spec.ports").items())
    s.ports.push_back({lower(p["name"].as_string()), lower(p["protocol"].as_string("TCP")), p["port"].as_int()});
}

void Zone::set_slice(const std::string& key, const Value& v) {
  const auto it = slices_.find(key);
  if (it != slices_.end()) {
    for (const Endpoint& e : it->second.endpoints) count(e.address, it->second.service, -1);
    const auto list = slices_of_.find(it->second.service);
    list->second.erase(key);
    if (list->second.empty()) slices_of_.erase(list);
    slices_.erase(it);
  }
  if (v.is_null() || v["addressType"].as_string() != "IPv4") return;
  Slice s;
  s.service = std::string(v.at("metadata.namespace").as_string()) + "/" + std::string(v.at("metadata.labels[kubernetes.io/service-name]").as_string());
  for (const Value& e : v["endpoints"].items())
    for (const Value& a : e["addresses"].items()) {
      if (!is_ipv4(a.as_string())) continue;
      const std::string address(a.as_string());
      const std::string host = lower(e["hostname"].as_string());
      s.endpoints.push_back({address, host.empty() ? dashed(address) : host, e.at("conditions.ready").as_bool(true)});
      count(address, s.service, +1);
    }
  for (const Value& p : v["ports"].items())
    s.ports.push_back({lower(p["name"].as_string()), lower(p["protocol"].as_string("TCP")), p["port"].as_int()});
  slices_of_[s.service].insert(key);
  slices_[key] = std::move(s);
}

void Zone::count(const std::string& address, const std::string& service, int by) {
  const auto it = by_address_.try_emplace(address).first;
  if ((it->second[service] += by) == 0) it->second.erase(service);
  if (it->second.empty()) by_address_.erase(it);
}

void Zone::keep_services(const std::set<std::string>& keys) {
  std::vector<std::string> gone;
  for (const auto& [key, s] : services_)
    if (!keys.count(key)) gone.push_back(key);
  for (const auto& key : gone) set_service(key, {});
}

void Zone::keep_slices(const std::set<std::string>& keys) {
  std::vector<std::string> gone;
  for (const auto& [key, s] : slices_)
    if (!keys.count(key)) gone.push_back(key);
  for (const auto& key : gone) set_slice(key, {});
}

std::vector<Zone::Endpoint> Zone::endpoints_of(const std::string& service) const {
  std::vector<Endpoint> out;
  const auto s = services_.find(service);
  const bool all = s != services_.end() && s->second.publish_not_ready;
  const auto it = slices_of_.find(service);
  if (it == slices_of_.end()) return out;
  for (const auto& slice : it->second)
    for (const Endpoint& e : slices_.at(slice).endpoints)
      if (e.ready || all) out.push_back(e);
  std::sort(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) { return a.address < b.address; });
  out.erase(std::unique(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) { return a.address == b.address; }), out.end());
  return out;
}

std::string Zone::service_name(const std::string& key) const {
  const size_t slash = key.find('/');
  return key.substr(slash + 1) + "." + key.substr(0, slash) + ".svc." + domain_;
}

Answer Zone::look_up(std::string_view text, RecordType type) const {
  std::string name = lower(text);
  if (!name.empty() && name.back() == '.') name.pop_back();
  constexpr std::string_view kReverse = ".in-addr.arpa";
  if (name.size() > kReverse.size() && name.ends_with(kReverse)) return look_up_reverse(name, type);
  Answer a;
  if (name != domain_ && !(name.size() > domain_.size() && name.ends_with("." + domain_))) return a;
  a.ours = true;
  if (name == domain_) {
    a.exists = true;
    return a;
  }
  const std::vector<std::string> labels = split(std::string_view(name).substr(0, name.size() - domain_.size() - 1));
  const std::string& last = labels.back();
  if (labels.size() == 1) {
    if (last == "dns-version") {
      a.exists = true;
      if (wants(type, RecordType::kTxt)) a.records.push_back({name, RecordType::kTxt, "1.1.0"});
    }
    a.exists = a.exists || last == "svc" || last == "pod";
    return a;
  }
  if (last == "svc") return look_up_service(labels, name, type);
  if (last == "pod") {
    if (labels.size() == 2) {
      a.exists = namespaces_.count(labels[0]) > 0;
      return a;
    }
    std::string address = labels[0];
    std::replace(address.begin(), address.end(), '-', '.');
    if (labels.size() == 3 && is_ipv4(address)) {
      a.exists = true;
      if (wants(type, RecordType::kA)) a.records.push_back({name, RecordType::kA, address});
    }
  }
  return a;
}

Answer Zone::look_up_service(const std::vector<std::string>& labels, const std::string& name, RecordType type) const {
  Answer a;
  a.ours = true;
  const size_t n = labels.size();  // [..., service, namespace, "svc"]
  if (n == 2) {
    a.exists = namespaces_.count(labels[0]) > 0;
    return a;
  }
  const std::string key = labels[n - 2] + "/" + labels[n - 3];
  const auto it = services_.find(key);
  if (it == services_.end()) return a;
  const Service& s = it->second;
  const std::string base = service_name(key);
  if (n == 3) {
    a.exists = true;
    if (!s.external_name.empty()) {
      a.records.push_back({name, RecordType::kCname, s.external_name});
      if (type != RecordType::kCname) a.continue_at = s.external_name;
      return a;
    }
    if (!s.address.empty()) {
      if (wants(type, RecordType::kA)) a.records.push_back({name, RecordType::kA, s.address});
      if (wants(type, RecordType::kSrv))
        for (const Port& p : s.ports) {
          a.records.push_back({name, RecordType::kSrv, "0 100 " + std::to_string(p.number) + " " + base});
        }
      return a;
    }
    const auto endpoints = endpoints_of(key);
    a.exists = !endpoints.empty();  // without a ready endpoint there is no such name (section 2.4.1)
    if (wants(type, RecordType::kA))
      for (const Endpoint& e : endpoints) a.records.push_back({name, RecordType::kA, e.address});
    return a;
  }
  if (n == 4 && s.address.empty() && s.external_name.empty()) {  // one endpoint of a headless Service
    for (const Endpoint& e : endpoints_of(key))
      if (e.host == labels[0] || dashed(e.address) == labels[0]) {
        a.exists = true;
        if (wants(type, RecordType::kA)) a.records.push_back({name, RecordType::kA, e.address});
      }
    return a;
  }
  if (n == 5 && labels[0].size() > 1 && labels[0][0] == '_' && labels[1].size() > 1 && labels[1][0] == '_') {
    const std::string port = labels[0].substr(1), protocol = labels[1].substr(1);
    if (!s.address.empty()) {
      for (const Port& p : s.ports)
        if (p.name == port && p.protocol == protocol) {
          a.exists = true;
          if (!wants(type, RecordType::kSrv)) continue;
          a.records.push_back({name, RecordType::kSrv, "0 100 " + std::to_string(p.number) + " " + base});
          a.additional.push_back({base, RecordType::kA, s.address});
        }
      return a;
    }
    const auto slices = slices_of_.find(key);
    if (slices == slices_of_.end()) return a;
    for (const auto& slice_key : slices->second) {
      const Slice& slice = slices_.at(slice_key);
      for (const Port& p : slice.ports) {
        if (p.name != port || p.protocol != protocol) continue;
        a.exists = true;
        if (!wants(type, RecordType::kSrv)) continue;
        for (const Endpoint& e : slice.endpoints) {
          if (!e.ready && !s.publish_not_ready) continue;
          a.records.push_back({name, RecordType::kSrv, "0 100 " + std::to_string(p.number) + " " + e.host + "." + base});
          a.additional.push_back({e.host + "." + base, RecordType::kA, e.address});
        }
      }
    }
  }
  return a;
}

Answer Zone::look_up_reverse(const std::string& name, RecordType type) const {
  Answer a;
  auto labels = split(name);
  if (labels.size() != 6) return a;
  const std::string address = labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0];
  const auto it = by_address_.find(address);
  if (it == by_address_.end() || it->second.empty()) return a;
  for (const auto& [key, times] : it->second) {
    const auto s = services_.find(key);
    if (s == services_.end()) continue;
    if (s->second.address == address) {
      a.records.push_back({name, RecordType::kPtr, service_name(key)});
    } else if (s->second.address.empty()) {
      for (const Endpoint& e : endpoints_of(key))
        if (e.address == address) a.records.push_back({name, RecordType::kPtr, e.host + "." + service_name(key)});
    }
  }
  a.ours = a.exists = !a.records.empty();
  if (!wants(type, RecordType::kPtr)) a.records.clear();
  return a;
}

}  // namespace pintle::dns
