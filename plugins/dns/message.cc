#include "message.h"

#include <ldns/ldns.h>

#include <memory>

namespace pintle::dns {
namespace {

constexpr int kTtl = 5;

struct PacketFree {
  void operator()(ldns_pkt* p) const { ldns_pkt_free(p); }
};
using Packet = std::unique_ptr<ldns_pkt, PacketFree>;

Packet parse(std::string_view bytes) {
  ldns_pkt* p = nullptr;
  if (bytes.size() < 12 || ldns_wire2pkt(&p, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) != LDNS_STATUS_OK) return nullptr;
  return Packet(p);
}

std::string wire(const ldns_pkt* p) {
  uint8_t* data = nullptr;
  size_t size = 0;
  if (ldns_pkt2wire(&data, p, &size) != LDNS_STATUS_OK) return {};
  std::string out(reinterpret_cast<char*>(data), size);
  LDNS_FREE(data);
  return out;
}

Packet reply_to(const ldns_pkt* query) {
  Packet r(ldns_pkt_new());
  ldns_pkt_set_id(r.get(), ldns_pkt_id(query));
  ldns_pkt_set_qr(r.get(), true);
  ldns_pkt_set_opcode(r.get(), ldns_pkt_get_opcode(query));
  ldns_pkt_set_rd(r.get(), ldns_pkt_rd(query));
  ldns_pkt_set_ra(r.get(), true);
  for (size_t i = 0; i < ldns_rr_list_rr_count(ldns_pkt_question(query)); ++i)
    ldns_pkt_push_rr(r.get(), LDNS_SECTION_QUESTION, ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), i)));
  if (ldns_pkt_edns(query)) ldns_pkt_set_edns_udp_size(r.get(), 1232);
  return r;
}

void push(ldns_pkt* p, ldns_pkt_section section, const Record& r) {
  std::string text = r.name + ". " + std::to_string(kTtl) + " IN ";
  switch (r.type) {
    case RecordType::kA: text += "A " + r.data; break;
    case RecordType::kCname: text += "CNAME " + r.data + "."; break;
    case RecordType::kPtr: text += "PTR " + r.data + "."; break;
    case RecordType::kSrv: text += "SRV " + r.data + "."; break;
    case RecordType::kTxt: text += "TXT \"" + r.data + "\""; break;
    default: return;
  }
  ldns_rr* rr = nullptr;
  if (ldns_rr_new_frm_str(&rr, text.c_str(), kTtl, nullptr, nullptr) == LDNS_STATUS_OK) ldns_pkt_push_rr(p, section, rr);
}

}  // namespace

std::optional<Query> parse_query(std::string_view bytes, std::string* refusal) {
  refusal->clear();
  Packet p = parse(bytes);
  if (!p || ldns_pkt_qr(p.get())) return std::nullopt;
  const auto refuse = [&](ldns_pkt_rcode code) {
    Packet r = reply_to(p.get());
    ldns_pkt_set_rcode(r.get(), code);
    *refusal = wire(r.get());
    return std::nullopt;
  };
  if (ldns_pkt_get_opcode(p.get()) != LDNS_PACKET_QUERY) return refuse(LDNS_RCODE_NOTIMPL);
  if (ldns_rr_list_rr_count(ldns_pkt_question(p.get())) != 1) return refuse(LDNS_RCODE_FORMERR);
  const ldns_rr* q = ldns_rr_list_rr(ldns_pkt_question(p.get()), 0);
  if (ldns_rr_get_class(q) != LDNS_RR_CLASS_IN) return refuse(LDNS_RCODE_REFUSED);
  Query out;
  out.id = ldns_pkt_id(p.get());
  char* name = ldns_rdf2str(ldns_rr_owner(q));
  if (!name) return refuse(LDNS_RCODE_FORMERR);
  out.name = name;
  LDNS_FREE(name);
  if (!out.name.empty() && out.name.back() == '.') out.name.pop_back();
  out.type = static_cast<RecordType>(ldns_rr_get_type(q));
  if (ldns_pkt_edns(p.get())) out.max_size = std::min<size_t>(1232, std::max<size_t>(512, ldns_pkt_edns_udp_size(p.get())));
  return out;
}

std::string write_answer(std::string_view query, const Answer& answer, const std::string& domain, size_t max_size, std::string_view upstream) {
  Packet q = parse(query);
  if (!q) return {};
  Packet r = reply_to(q.get());
  ldns_pkt_set_aa(r.get(), true);
  if (!answer.exists) ldns_pkt_set_rcode(r.get(), LDNS_RCODE_NXDOMAIN);
  for (const Record& record : answer.records) push(r.get(), LDNS_SECTION_ANSWER, record);
  for (const Record& record : answer.additional) push(r.get(), LDNS_SECTION_ADDITIONAL, record);
  if (!upstream.empty())
    if (Packet u = parse(upstream))
      for (size_t i = 0; i < ldns_rr_list_rr_count(ldns_pkt_answer(u.get())); ++i)
        ldns_pkt_push_rr(r.get(), LDNS_SECTION_ANSWER, ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_answer(u.get()), i)));
  if (answer.records.empty()) {
    // Negative answers carry the SOA, so that resolvers may keep them for a moment (RFC 2308).
    ldns_rr* soa = nullptr;
    const std::string text = domain + ". " + std::to_string(kTtl) + " IN SOA ns.dns." + domain + ". hostmaster." + domain + ". 1 7200 1800 86400 " + std::to_string(kTtl);
    if (ldns_rr_new_frm_str(&soa, text.c_str(), kTtl, nullptr, nullptr) == LDNS_STATUS_OK) ldns_pkt_push_rr(r.get(), LDNS_SECTION_AUTHORITY, soa);
  }
  std::string out = wire(r.get());
  if (max_size && out.size() > max_size) {
    Packet cut = reply_to(q.get());
    ldns_pkt_set_aa(cut.get(), true);
    ldns_pkt_set_tc(cut.get(), true);
    out = wire(cut.get());
  }
  return out;
}

std::string write_failure(std::string_view query, int rcode) {
  Packet q = parse(query);
  if (!q) return {};
  Packet r = reply_to(q.get());
  ldns_pkt_set_rcode(r.get(), static_cast<ldns_pkt_rcode>(rcode));
  return wire(r.get());
}

std::string write_query(uint16_t id, const std::string& name, RecordType type) {
  ldns_pkt* p = nullptr;
  if (ldns_pkt_query_new_frm_str(&p, (name + ".").c_str(), static_cast<ldns_rr_type>(type), LDNS_RR_CLASS_IN, LDNS_RD) != LDNS_STATUS_OK) return {};
  Packet packet(p);
  ldns_pkt_set_id(p, id);
  return wire(p);
}

}  // namespace pintle::dns
