/* pintle.draft.controller/1: reconcile loops that the kernel runs. [worker]
 *
 * The kernel watches, maps events to keys, deduplicates, backs off and calls reconcile. Guarantees:
 *  - a key is never reconciled twice at the same time; a key added meanwhile runs once more afterwards;
 *  - after start (and after activate) every existing object's key comes once;
 *  - an event may be merged with later ones or repeated: look at the state, not at the event;
 *  - drain stops handing out keys and waits for those in hand.
 *
 * describe   {} -> {"controllers":[{"name":"replicaset","workers":2,"resyncSeconds":0,
 *               "batch":{"max":1,"delayMs":0},"watches":[WATCH...]}]}
 *   WATCH = {"kind":"pods","map":MAP,"fields":["status.phase","metadata.labels"]?}
 *   kind "*" = all kinds, metadata only. fields: MODIFIED events that change none of them are dropped.
 *   MAP   = "self"                 key "namespace/name" (cluster scope: "name")
 *         | "owner:deployments.apps"   the controlling ownerReference of that kind, in the object's namespace
 *         | "namespace"            the object's namespace
 *         | "label:KEY"            "namespace/<value of the label>"
 *         | "call"                 the plugin's `map` method decides
 * map        {"controller":N,"kind":K,"type":"ADDED|MODIFIED|DELETED","object":{...},"previous":{...}|null}
 *            -> {"keys":["ns/name"]}. Complete inline.
 * reconcile  {"controller":N,"keys":["ns/name",...]} ->
 *            {"results":[{"key":"ns/name","result":"done"}|{"key":..,"result":"after","afterMs":5000}
 *                       |{"key":..,"result":"retry","message":"..."}]}
 *            A key without a result counts as done; a failed call as retry for all its keys.
 *            retry = exponential back-off per key from 5 ms to 60 s. */
#ifndef PINTLE_IF_CONTROLLER_H_
#define PINTLE_IF_CONTROLLER_H_
#include "../abi.h"
#define PINTLE_CONTROLLER PINTLE_DRAFT "controller/1"
typedef struct {
  uint32_t size;
  pintle_method describe, map, reconcile;
} pintle_controller;
#endif
