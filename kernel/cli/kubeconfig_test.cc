#include "kernel/cli/kubeconfig.h"

#include <gtest/gtest.h>

namespace pintle::cli {
namespace {

using json::Value;

constexpr const char* kOurs = R"(apiVersion: v1
kind: Config
clusters:
- name: "pintle"
  cluster:
    server: "https://127.0.0.1:6443"
    certificate-authority-data: Y2E=
users:
- name: "pintle-admin"
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
contexts:
- name: "pintle"
  context:
    cluster: "pintle"
    user: "pintle-admin"
current-context: "pintle"
preferences: {}
)";

Value yaml(const std::string& text) {
  auto v = parse_yaml(text);
  EXPECT_TRUE(v) << v.error().text;
  return v ? *v : Value();
}

const Value* entry(const Value& list, std::string_view name) {
  for (const Value& v : list.items())
    if (v["name"].as_string() == name) return &v;
  return nullptr;
}

TEST(KubeconfigTest, TheCurrentContextTellsWhereAndAsWhom) {
  auto access = access_of(yaml(kOurs));
  ASSERT_TRUE(access) << access.error().text;
  EXPECT_EQ(access->host, "127.0.0.1");
  EXPECT_EQ(access->port, "6443");
  EXPECT_EQ(access->identity.ca, "ca");
  EXPECT_EQ(access->identity.certificate, "cert");
  EXPECT_EQ(access->identity.key, "key");
}

TEST(KubeconfigTest, AnIPv6ServerIsReadWithoutItsBrackets) {
  Value v = yaml(kOurs);
  v.find("clusters")->make_array()[0].make("cluster").set("server", "https://[::1]:7000");
  auto access = access_of(v);
  ASSERT_TRUE(access);
  EXPECT_EQ(access->host, "::1");
  EXPECT_EQ(access->port, "7000");
}

TEST(KubeconfigTest, AnEmptyFileGetsTheEntryAndMakesItCurrent) {
  const Merged m = merge_kubeconfig(Value(), yaml(kOurs));
  EXPECT_EQ(m.name, "pintle");
  EXPECT_FALSE(m.replaced);
  EXPECT_TRUE(m.made_current);
  auto access = access_of(m.kubeconfig);
  ASSERT_TRUE(access) << access.error().text;
  EXPECT_EQ(access->port, "6443");
}

TEST(KubeconfigTest, AForeignEntryOfTheSameNameStaysAndOursIsCalledPintle2) {
  const Value theirs = yaml("clusters:\n- name: pintle\n  cluster: {server: 'https://other:1', certificate-authority-data: b3RoZXI=}\ncurrent-context: work\n");
  const Merged m = merge_kubeconfig(theirs, yaml(kOurs));
  EXPECT_EQ(m.name, "pintle-2");
  EXPECT_FALSE(m.made_current);
  EXPECT_EQ(m.kubeconfig["current-context"].as_string(), "work");
  EXPECT_EQ(entry(m.kubeconfig["clusters"], "pintle")->at("cluster.server").as_string(), "https://other:1");
  EXPECT_EQ(entry(m.kubeconfig["clusters"], "pintle-2")->at("cluster.server").as_string(), "https://127.0.0.1:6443");
  EXPECT_EQ(entry(m.kubeconfig["contexts"], "pintle-2")->at("context.user").as_string(), "pintle-2");
}

TEST(KubeconfigTest, AForeignUserOrContextAloneIsNotReplacedEither) {
  const Merged m = merge_kubeconfig(yaml("users:\n- name: pintle\n  user: {token: secret}\n"), yaml(kOurs));
  EXPECT_EQ(m.name, "pintle-2");
  EXPECT_EQ(entry(m.kubeconfig["users"], "pintle")->at("user.token").as_string(), "secret");
}

TEST(KubeconfigTest, MergingAgainRenewsOurEntryAndKeepsTheChosenNamespace) {
  Value once = merge_kubeconfig(Value(), yaml(kOurs)).kubeconfig;
  once.find("contexts")->make_array()[0].make("context").set("namespace", "shop");
  const Merged m = merge_kubeconfig(once, yaml(kOurs));
  EXPECT_EQ(m.name, "pintle");
  EXPECT_TRUE(m.replaced);
  EXPECT_EQ(m.kubeconfig["clusters"].size(), 1u);
  EXPECT_EQ(m.kubeconfig["contexts"][0].at("context.namespace").as_string(), "shop");
}

TEST(KubeconfigTest, WhatIsWrittenReadsBackAsTheSame) {
  const Value v = yaml(
      "a: '1'\nb: 1\nc: 'true'\nd: true\ne: \"x: y # z\"\nf: []\ng: {}\nh: null\ni: [1, [2, {k: v}], {l: [m]}]\n'yes': no-no\nj: \"line\\nbreak\"\n"
      "k: {exec: {args: [--x, -y], command: aws}}\nl: '1.10'\nm: 1.10\nn: 0123\no: ''\np: '~'\nq: 'on'\n");
  const std::string text = write_yaml(v);
  auto again = parse_yaml(text);
  ASSERT_TRUE(again) << again.error().text << "\n" << text;
  EXPECT_EQ(*again, v) << text;
  EXPECT_TRUE((*again)["a"].is_string());
  EXPECT_TRUE((*again)["m"].is_string());
}

TEST(KubeconfigTest, DamagedYamlIsRefusedWithItsPlace) {
  auto v = parse_yaml("a: 1\nb: [1\n");
  ASSERT_FALSE(v);
  EXPECT_EQ(v.error().text.substr(0, 1), "3");
  EXPECT_FALSE(parse_yaml("a: 1\na: 2\n"));
}

}  // namespace
}  // namespace pintle::cli
