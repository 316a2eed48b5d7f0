// DNS messages on the wire (RFC 1035, EDNS by RFC 6891), by ldns.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "zone.h"

namespace pintle::dns {

struct Query {
  uint16_t id = 0;
  std::string name;  // without the final dot
  RecordType type = RecordType::kA;
  size_t max_size = 512;  // what a UDP client takes
};

// nullopt: not a query with one question of class IN; `refusal` is then the answer to send, or empty to stay silent.
std::optional<Query> parse_query(std::string_view bytes, std::string* refusal);

// The authoritative answer; over `max_size` (0 = no limit) it is cut and marked truncated. `upstream`: an answer from elsewhere whose records follow ours (a CNAME's target).
std::string write_answer(std::string_view query, const Answer& answer, const std::string& domain, size_t max_size, std::string_view upstream = {});
// An answer without records: 2 = SERVFAIL, 4 = NOTIMP, 5 = REFUSED.
std::string write_failure(std::string_view query, int rcode);
// A query for the upstream servers.
std::string write_query(uint16_t id, const std::string& name, RecordType type);

}  // namespace pintle::dns
