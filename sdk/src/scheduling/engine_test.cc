#include "pintle/scheduling/engine.h"

#include <gtest/gtest.h>

#include <set>

namespace pintle::scheduling {
namespace {

json::Value parse(const std::string& text) {
  auto r = json::parse(text);
  EXPECT_TRUE(r.ok) << r.error << " in " << text;
  return r.value;
}

std::string node(const std::string& name, const std::string& more = "", const std::string& labels = "", int cpu = 4000) {
  return R"({"name":")" + name + R"(","labels":{"kubernetes.io/hostname":")" + name + "\"" + labels + R"(},"ready":true,"allocatable":{"cpu":)" +
         std::to_string(cpu) + R"(,"memory":8589934592,"pods":110})" + more + "}";
}

std::string pending(const std::string& uid, const std::string& spec = "{}", const std::string& more = "", int cpu = 100) {
  return R"({"uid":")" + uid + R"(","namespace":"default","name":")" + uid + R"(","requests":{"cpu":)" + std::to_string(cpu) +
         R"(,"memory":1048576,"pods":1},"labels":{"app":"web"},"spec":)" + spec + more + "}";
}

Policy spread_policy() {
  return {standard_filters(), {least_allocated(1), balanced_allocation(1), topology_spread(2), pod_affinity(2), node_affinity(2), taint_toleration(3)}};
}

class EngineTest : public ::testing::Test {
 protected:
  Engine engine{spread_policy()};

  void nodes(const std::vector<std::string>& list) {
    std::string text = R"({"nodes":[)";
    for (size_t i = 0; i < list.size(); ++i) text += (i ? "," : "") + list[i];
    engine.observe(parse(text + "]}"));
  }
  // The node, or the message of a refusal.
  std::string place(const std::string& pod) {
    const json::Value r = engine.schedule(parse(R"({"pods":[)" + pod + "]}"));
    const json::Value& d = r["decisions"][0];
    return std::string(d.contains("node") ? d["node"].as_string() : d.at("unschedulable.message").as_string());
  }
};

TEST_F(EngineTest, WithoutNodesTheMessageSaysSo) { EXPECT_EQ(place(pending("a")), "no nodes available to schedule pods"); }

TEST_F(EngineTest, AFullNodeIsRefusedWithItsNumbers) {
  nodes({node("n1", "", "", 4000)});
  EXPECT_EQ(place(pending("a", "{}", "", 2500)), "n1");
  EXPECT_EQ(place(pending("b", "{}", "", 2000)), "0/1 nodes are available: 1 Insufficient cpu.");
  const json::Value e = engine.explain(parse(R"({"pod":)" + pending("b", "{}", "", 2000) + "}"));
  EXPECT_EQ(e["nodes"][0]["reason"].as_string(), "Insufficient cpu: needs 2000m, 1500m of 4000m free");
  EXPECT_EQ(e["nodes"][0]["filter"].as_string(), "NodeResourcesFit");
  engine.observe(parse(R"({"removedPods":["a"]})"));
  EXPECT_EQ(place(pending("b", "{}", "", 2000)), "n1");
}

TEST_F(EngineTest, ReasonsAreCountedPerNodeInKubernetesWords) {
  nodes({node("n1", R"(,"unschedulable":true)"), node("n2", R"(,"taints":[{"key":"k","value":"v","effect":"NoSchedule"}])"),
         node("n3", R"(,"taints":[{"key":"k","value":"v","effect":"NoSchedule"}])"), node("n4", "", "", 10)});
  EXPECT_EQ(place(pending("a")),
            "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable, 2 node(s) had untolerated taint {k: v}.");
  EXPECT_EQ(place(pending("b", R"({"tolerations":[{"key":"k","operator":"Equal","value":"v","effect":"NoSchedule"}],"nodeName":"n3"})")), "n3");
}

TEST_F(EngineTest, ANodeThatIsNotReadyTakesNothingUnlessTolerated) {
  engine.observe(parse(R"({"nodes":[{"name":"n1","labels":{},"ready":false,"allocatable":{"cpu":1000,"memory":1073741824,"pods":10}}]})"));
  EXPECT_EQ(place(pending("a")), "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.");
  EXPECT_EQ(place(pending("b", R"({"tolerations":[{"operator":"Exists"}]})")), "n1");
}

TEST_F(EngineTest, NodeSelectorAndAffinityDecide) {
  nodes({node("n1", "", R"(,"disk":"ssd","n":"5")"), node("n2", "", R"(,"disk":"hdd","n":"7")")});
  EXPECT_EQ(place(pending("a", R"({"nodeSelector":{"disk":"hdd"}})")), "n2");
  const std::string gt = R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
      {"matchExpressions":[{"key":"n","operator":"Gt","values":["6"]}]}]}}}})";
  EXPECT_EQ(place(pending("b", gt)), "n2");
  const std::string field = R"({"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
      {"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}]}}}})";
  EXPECT_EQ(place(pending("c", field)), "n1");
  EXPECT_EQ(place(pending("d", R"({"nodeSelector":{"disk":"tape"}})")),
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
}

TEST_F(EngineTest, AHostPortIsGivenOncePerNode) {
  nodes({node("n1"), node("n2")});
  const std::string port = R"(,"hostPorts":[{"ip":"","protocol":"TCP","port":80}])";
  const std::set<std::string> both{place(pending("a", "{}", port)), place(pending("b", "{}", port))};
  EXPECT_EQ(both, (std::set<std::string>{"n1", "n2"}));
  EXPECT_EQ(place(pending("c", "{}", port)), "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.");
}

const char* const kAnti = R"({"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
    {"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"kubernetes.io/hostname"}]}}})";

TEST_F(EngineTest, AntiAffinityHoldsInBothDirections) {
  nodes({node("n1"), node("n2")});
  EXPECT_NE(place(pending("a", kAnti)), place(pending("b", kAnti)));
  EXPECT_EQ(place(pending("c", kAnti)), "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
  EXPECT_EQ(place(pending("d")), "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.");
  engine.observe(parse(R"({"removedPods":["a","b"]})"));
  EXPECT_EQ(place(pending("d")).substr(0, 1), "n");
}

TEST_F(EngineTest, AnAssignedPodsAntiAffinityComesInByObserve) {
  nodes({node("n1")});
  engine.observe(parse(R"({"pods":[{"uid":"x","namespace":"default","name":"x","labels":{},"node":"n1","requests":{"cpu":1},"affinity":)" +
                       parse(kAnti)["affinity"].dump() + "}]}"));
  EXPECT_EQ(place(pending("d")), "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.");
}

TEST_F(EngineTest, AffinityFollowsTheFirstPodOfItsKind) {
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", "", R"(,"zone":"b")"), node("n3")});
  const std::string together = R"({"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"zone"}]}}})";
  const std::string first = place(pending("a", together));
  EXPECT_NE(first, "n3");
  for (const char* uid : {"b", "c", "d"}) EXPECT_EQ(place(pending(uid, together)), first);
  const std::string other = R"({"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"db"}},"topologyKey":"zone"}]}}})";
  EXPECT_EQ(place(pending("e", other)), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
}

TEST_F(EngineTest, NamespacesAreTakenIntoAccount) {
  nodes({node("n1")});
  engine.observe(parse(R"({"namespaces":[{"name":"other","labels":{"team":"x"}}],
      "pods":[{"uid":"x","namespace":"other","name":"x","labels":{"app":"web"},"node":"n1","requests":{"cpu":1}}]})"));
  EXPECT_EQ(place(pending("a", kAnti)), "n1");
  engine.observe(parse(R"({"removedPods":["a"]})"));
  const std::string wide = R"({"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"labelSelector":{"matchLabels":{"app":"web"}},"namespaceSelector":{"matchLabels":{"team":"x"}},"topologyKey":"kubernetes.io/hostname"}]}}})";
  EXPECT_EQ(place(pending("b", wide)), "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
}

const char* const kSpread = R"({"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule",
    "labelSelector":{"matchLabels":{"app":"web"}}}]})";

TEST_F(EngineTest, HardSpreadKeepsTheSkew) {
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", "", R"(,"zone":"a")"), node("n3", "", R"(,"zone":"b")"), node("n4")});
  std::map<std::string, int> zones;
  for (int i = 0; i < 10; ++i) ++zones[place(pending("p" + std::to_string(i), kSpread)) == "n3" ? "b" : "a"];
  EXPECT_EQ(zones["a"], 5);
  EXPECT_EQ(zones["b"], 5);
  engine.observe(parse(R"({"nodes":[)" + node("n3", R"(,"unschedulable":true)", R"(,"zone":"b")") + "]}"));
  place(pending("q0", kSpread));
  EXPECT_EQ(place(pending("q1", kSpread)),
            "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), "
            "1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints.");
}

TEST_F(EngineTest, SpreadCountsOnlyNodesThatThePodMayUse) {
  nodes({node("n1", "", R"(,"zone":"a","pool":"x")"), node("n2", "", R"(,"zone":"b","pool":"y")")});
  json::Value spec = parse(kSpread);
  spec.set("nodeSelector", parse(R"({"pool":"x"})"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(place(pending("p" + std::to_string(i), spec.dump())), "n1");
}

TEST_F(EngineTest, TooFewDomainsForMinDomainsMeansThatTheLeastIsZero) {
  nodes({node("n1", "", R"(,"zone":"a")")});
  json::Value spec = parse(kSpread);
  spec.set("topologySpreadConstraints", json::Value::array({[&] {
             json::Value c = spec["topologySpreadConstraints"][0];
             c.set("minDomains", 2);
             return c;
           }()}));
  EXPECT_EQ(place(pending("a", spec.dump())), "n1");
  EXPECT_EQ(place(pending("b", spec.dump())), "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints.");
}

// A pending pod of version `v` with one constraint or affinity term more.
std::string versioned(const std::string& uid, const std::string& v, const std::string& spec) {
  return R"({"uid":")" + uid + R"(","namespace":"default","name":")" + uid + R"(","requests":{"cpu":100,"pods":1},"labels":{"app":"web","v":")" + v +
         R"("},"spec":)" + spec + "}";
}

TEST_F(EngineTest, LabelKeysCompareWithinOneVersion) {
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", "", R"(,"zone":"b")")});
  const std::string spread = R"({"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule",
      "labelSelector":{"matchLabels":{"app":"web"}},"matchLabelKeys":["v"]}]})";
  const std::string first = place(versioned("a", "1", spread));
  nodes({node(first, R"(,"unschedulable":true)", first == "n1" ? R"(,"zone":"a")" : R"(,"zone":"b")")});
  const std::string other = first == "n1" ? "n2" : "n1";
  EXPECT_EQ(place(versioned("b", "1", spread)), other);
  // Two of another version do not fit beside each other, whatever the first version does.
  EXPECT_EQ(place(versioned("c", "2", spread)), other);
  EXPECT_EQ(place(versioned("d", "2", spread)),
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable.");
}

TEST_F(EngineTest, AffinityFollowsLabelKeysAndAntiAffinityTheirOpposite) {
  nodes({node("n1"), node("n2")});
  const auto term = [](const char* kind, const char* keys) {
    return std::string(R"({"affinity":{")") + kind + R"(":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},")" + keys +
           R"(":["v"],"topologyKey":"kubernetes.io/hostname"}]}}})";
  };
  const std::string own = place(versioned("a", "1", "{}"));
  const std::string apart = term("podAntiAffinity", "mismatchLabelKeys");  // away from every other version
  EXPECT_NE(place(versioned("b", "2", apart)), own);
  EXPECT_EQ(place(versioned("c", "3", apart)),
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
  EXPECT_EQ(place(versioned("d", "1", term("podAffinity", "matchLabelKeys"))), own);
}

TEST_F(EngineTest, PoliciesSayWhichNodesCountForASpread) {
  const auto spec = [](const std::string& policy, const std::string& more) {
    return R"({"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}},)" +
           policy + "}]" + more + "}";
  };
  // A tainted zone without pods counts unless its taints are honoured; then it is no domain.
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", R"(,"taints":[{"key":"k","value":"","effect":"NoSchedule"}])", R"(,"zone":"b")")});
  EXPECT_EQ(place(pending("a", spec(R"("nodeTaintsPolicy":"Ignore")", ""))), "n1");
  EXPECT_EQ(place(pending("b", spec(R"("nodeTaintsPolicy":"Ignore")", ""))),
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) had untolerated taint {k: }.");
  EXPECT_EQ(place(pending("c", spec(R"("nodeTaintsPolicy":"Honor")", ""))), "n1");
  // Likewise a zone that the pod's selector excludes.
  const std::string selector = R"(,"nodeSelector":{"zone":"a"})";
  EXPECT_EQ(place(pending("d", spec(R"("nodeAffinityPolicy":"Honor")", selector))), "n1");
  EXPECT_NE(place(pending("e", spec(R"("nodeAffinityPolicy":"Ignore")", selector))).find("didn't match pod topology spread constraints"), std::string::npos);
}

TEST_F(EngineTest, AnEmptyNamespaceSelectorMeansAllNamespaces) {
  nodes({node("n1")});
  engine.observe(parse(R"({"namespaces":[{"name":"other","labels":{}}],
      "pods":[{"uid":"x","namespace":"other","name":"x","labels":{"app":"web"},"node":"n1","requests":{"cpu":1}}]})"));
  const auto away = [](const std::string& where) {
    return R"({"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},)" + where +
           R"("topologyKey":"kubernetes.io/hostname"}]}}})";
  };
  EXPECT_NE(place(pending("a", away(R"("namespaceSelector":{},)"))).find("anti-affinity rules"), std::string::npos);
  EXPECT_NE(place(pending("b", away(R"("namespaces":["other"],)"))).find("anti-affinity rules"), std::string::npos);
  EXPECT_EQ(place(pending("c", away(R"("namespaces":["third"],)"))), "n1");
}

TEST_F(EngineTest, PreferredPodAffinityMovesTheChoiceBothWays) {
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", "", R"(,"zone":"b")")});
  engine.observe(parse(R"({"pods":[{"uid":"db","namespace":"default","name":"db","labels":{"app":"db"},"node":"n2","requests":{"cpu":2000}}]})"));
  const auto wish = [](const std::string& kind) {
    return R"({"affinity":{")" + kind + R"(":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"podAffinityTerm":
        {"labelSelector":{"matchLabels":{"app":"db"}},"topologyKey":"zone"}}]}}})";
  };
  EXPECT_EQ(place(pending("near", wish("podAffinity"))), "n2");
  engine.observe(parse(R"({"removedPods":["near"]})"));
  EXPECT_EQ(place(pending("far", wish("podAntiAffinity"))), "n1");
}

TEST_F(EngineTest, EqualPodsSpreadOverNodesByThemselves) {
  nodes({node("n1"), node("n2"), node("n3")});
  std::map<std::string, int> on;
  for (int i = 0; i < 9; ++i) ++on[place(pending("p" + std::to_string(i)))];
  EXPECT_EQ(on, (std::map<std::string, int>{{"n1", 3}, {"n2", 3}, {"n3", 3}}));
}

TEST_F(EngineTest, PackingFillsANodeBeforeTheNext) {
  engine.set_policy({standard_filters(), {most_allocated(1)}});
  nodes({node("n1", "", "", 1000), node("n2", "", "", 1000), node("n3", "", "", 1000)});
  std::map<std::string, int> on;
  for (int i = 0; i < 10; ++i) ++on[place(pending("p" + std::to_string(i)))];
  EXPECT_EQ(on.size(), 1u);
}

TEST_F(EngineTest, PreferencesMoveTheChoice) {
  nodes({node("n1"), node("n2", "", R"(,"disk":"ssd")"), node("n3")});
  const std::string wish = R"({"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
      {"weight":50,"preference":{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}}]}}})";
  EXPECT_EQ(place(pending("a", wish)), "n2");
}

TEST_F(EngineTest, EqualQuestionsGetEqualAnswers) {
  std::vector<std::string> list;
  for (int i = 0; i < 300; ++i) list.push_back(node("n" + std::to_string(i)));
  Engine other(spread_policy());
  nodes(list);
  std::string first;
  for (int i = 0; i < 50; ++i) first += place(pending("p" + std::to_string(i))) + " ";
  engine.observe(parse(R"({"reset":true})"));
  nodes(list);
  std::string second;
  for (int i = 0; i < 50; ++i) second += place(pending("p" + std::to_string(i))) + " ";
  EXPECT_EQ(first, second);
}

TEST_F(EngineTest, CountsStayRightThroughNodeChanges) {
  nodes({node("n1", "", R"(,"zone":"a")"), node("n2", "", R"(,"zone":"b")")});
  for (int i = 0; i < 4; ++i) place(pending("p" + std::to_string(i), kSpread));
  nodes({node("n2", "", R"(,"zone":"a")"), node("n3", "", R"(,"zone":"c")")});
  // Zone a has four pods now, c has none: the next four go to c.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(place(pending("q" + std::to_string(i), kSpread)), "n3");
  engine.observe(parse(R"({"removedNodes":["n3"]})"));
  EXPECT_NE(place(pending("r", kSpread)), "n3");
}

TEST_F(EngineTest, APodWithAVolumeClaimWaitsWithTheReason) {
  nodes({node("n1")});
  EXPECT_EQ(place(pending("a", R"({"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}}]})")),
            "persistentvolumeclaim \"data\" not found: persistent volumes are not served");
}

TEST(PodRequests, FollowTheLargestStep) {
  const json::Value spec = parse(R"({"containers":[{"resources":{"requests":{"cpu":"500m","memory":"1Gi"}}},{"resources":{"requests":{"cpu":"250m"}}}],
     "initContainers":[{"resources":{"requests":{"cpu":"2"}}},{"restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
                       {"resources":{"requests":{"cpu":"1950m"}}}],"overhead":{"cpu":"10m"}})");
  const Amounts a = pod_requests(spec);
  EXPECT_EQ(a.get("cpu"), 2060);  // 100m sidecar + 1950m + 10m overhead
  EXPECT_EQ(a.get("memory"), 1073741824);
  EXPECT_EQ(a.get("pods"), 1);
}

}  // namespace
}  // namespace pintle::scheduling
