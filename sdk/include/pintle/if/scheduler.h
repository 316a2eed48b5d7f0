/* pintle.draft.scheduler/1: decides where pods go; only the plugin `scheduling` binds. [worker]
 *
 * Deciding is pure: state comes in by observe, answers go out; no store, no clock, no I/O. Methods are
 * called one at a time and in order, so a scheduler needs no lock.
 *
 * observe   {"reset":bool, "nodes":[NODE...], "removedNodes":["n"], "pods":[POD...], "removedPods":["uid"],
 *            "namespaces":[{"name":..,"labels":{..}}]}  -> {}
 *   NODE = {"name","labels","taints":[{key,value,effect}],"unschedulable":bool,"ready":bool,
 *           "allocatable":{"cpu":milli,"memory":bytes,"pods":n,"ephemeral-storage":bytes,"vendor/x":n},
 *           "images":["name"...]}
 *   POD  = {"uid","namespace","name","labels","node","requests":{same units as allocatable},"hostPorts":[{"ip","protocol","port"}],
 *           "affinity":{..}?, "terminating":bool}          assigned or assumed pods only
 *   reset: forget everything first. Absent members = unchanged. A POD or NODE replaces the one of the same uid/name.
 * schedule  {"pods":[PENDING...]} -> {"decisions":[DECISION...]} in the same order.
 *   PENDING = {"uid","namespace","name","labels","requests","hostPorts","priority":n,"spec":{the PodSpec}}
 *   DECISION = {"uid","node":"n1"} | {"uid","unschedulable":{"message":"0/3 nodes are available: ...",
 *               "filters":["NodeResourcesFit",...]}}   filters: names of those that failed somewhere, so that
 *              `scheduling` knows which events may help.
 *   Within one call, later decisions take the earlier ones into account (the scheduler assumes them).
 * explain   {"pod":PENDING} -> {"message":"...","nodes":[{"name":..,"filter":"NodeResourcesFit"?,"reason":"Insufficient cpu: needs 2000m, 1500m of 4000m free"?,
 *            "scores":{"LeastAllocated":73,...}?,"total":n?}]}  Changes nothing. */
#ifndef PINTLE_IF_SCHEDULER_H_
#define PINTLE_IF_SCHEDULER_H_
#include "../abi.h"
#define PINTLE_SCHEDULER PINTLE_DRAFT "scheduler/1"
typedef struct {
  uint32_t size;
  pintle_method observe, schedule, explain;
} pintle_scheduler;
#endif
