#include "pintle/scheduling/resources.h"

#include <algorithm>
#include <cstdio>

#include "pintle/quantity.h"

namespace pintle::scheduling {
namespace {

auto position(auto& items, std::string_view key) {
  return std::lower_bound(items.begin(), items.end(), key, [](const auto& e, std::string_view k) { return e.first < k; });
}

}  // namespace

int64_t Amounts::get(std::string_view resource) const {
  const auto it = position(items_, resource);
  return it != items_.end() && it->first == resource ? it->second : 0;
}

bool Amounts::contains(std::string_view resource) const {
  const auto it = position(items_, resource);
  return it != items_.end() && it->first == resource;
}

void Amounts::set(std::string_view resource, int64_t amount) {
  const auto it = position(items_, resource);
  if (it != items_.end() && it->first == resource) it->second = amount;
  else items_.insert(it, {std::string(resource), amount});
}

void Amounts::add(const Amounts& o) {
  for (const auto& [k, v] : o.items_) add(k, v);
}

void Amounts::subtract(const Amounts& o) {
  for (const auto& [k, v] : o.items_) add(k, -v);
  std::erase_if(items_, [](const auto& e) { return e.second == 0; });
}

void Amounts::raise_to(const Amounts& o) {
  for (const auto& [k, v] : o.items_)
    if (v > get(k)) set(k, v);
}

Amounts Amounts::from_quantities(const json::Value& resource_list) {
  Amounts a;
  for (const auto& m : resource_list.members()) {
    const std::string text = m.value.is_string() ? std::string(m.value.as_string()) : m.value.dump();
    a.set(m.key, resource_amount(m.key, text).value_or(0));
  }
  return a;
}

json::Value Amounts::to_quantities() const {
  json::Value v = json::Value::object();
  for (const auto& [k, n] : items_) v.set(k, resource_text(k, n));
  return v;
}

Amounts Amounts::from_numbers(const json::Value& numbers) {
  Amounts a;
  for (const auto& m : numbers.members()) a.set(m.key, m.value.as_int());
  return a;
}

json::Value Amounts::to_numbers() const {
  json::Value v = json::Value::object();
  for (const auto& [k, n] : items_) v.set(k, n);
  return v;
}

Amounts pod_requests(const json::Value& spec) {
  Amounts total, sidecars, init;
  for (const auto& c : spec["containers"].items()) total.add(Amounts::from_quantities(c.at("resources.requests")));
  for (const auto& c : spec["initContainers"].items()) {
    const Amounts own = Amounts::from_quantities(c.at("resources.requests"));
    Amounts step = sidecars;
    step.add(own);
    if (c["restartPolicy"].as_string() == "Always") {
      total.add(own);
      sidecars.add(own);
    }
    init.raise_to(step);
  }
  total.raise_to(init);
  const Amounts whole_pod = Amounts::from_quantities(spec.at("resources.requests"));
  for (const auto& [k, v] : whole_pod.items()) total.set(k, v);
  total.add(Amounts::from_quantities(spec["overhead"]));
  total.set("pods", 1);
  return total;
}

json::Value pod_host_ports(const json::Value& spec) {
  json::Value out = json::Value::array();
  for (const char* list : {"containers", "initContainers"})
    for (const auto& c : spec[list].items())
      for (const auto& p : c["ports"].items())
        if (const int64_t port = p["hostPort"].as_int(); port > 0)
          out.push(json::Value::object({{"ip", p["hostIP"].as_string()},
                                        {"protocol", p["protocol"].as_string("TCP")},
                                        {"port", port}}));
  return out;
}

std::string amount_text(std::string_view resource, int64_t amount) {
  if (resource == "cpu") return std::to_string(amount) + "m";
  const bool bytes_like = resource == "memory" || resource == "ephemeral-storage" || resource.substr(0, 9) == "hugepages";
  if (!bytes_like || (amount < 1024 && amount > -1024)) return std::to_string(amount);
  const char* const units[] = {"Ki", "Mi", "Gi", "Ti", "Pi"};
  double v = static_cast<double>(amount) / 1024;
  size_t unit = 0;
  for (; (v >= 1024 || v <= -1024) && unit + 1 < std::size(units); ++unit) v /= 1024;
  char text[48];
  std::snprintf(text, sizeof text, v == static_cast<double>(static_cast<int64_t>(v)) ? "%.0f%s" : "%.1f%s", v, units[unit]);
  return text;
}

}  // namespace pintle::scheduling
