/* pintle.draft.resource/1: what a kind's data cannot say. [worker], concurrent.
 *
 * Each hook is declared per kind and operation in the manifest (kinds/<kind>.yaml, `hooks:`);
 * the kernel never calls an undeclared one. Requests and replies are JSON objects. K is a storage name: "pods",
 * "deployments.apps".
 * Refuse with a code and a text, or with a Status (field causes) in pintle_error.status.
 *
 * default_    {"type":T,"object":{...}} -> {"object":{...}}
 *             What defaults in the type's data cannot express. T names the type; runs wherever it occurs.
 * validate    {"type":T,"path":"spec.template.spec","object":{...},"old":{...}|null}
 *             -> {"causes":[{"reason":"FieldValueInvalid","field":"spec.x","message":"..."}],"warnings":[...]}
 *             No causes = valid. `field` is relative to `path`.
 * convert     {"kind":K,"from":"v1beta1","to":"v1","objects":[...]} -> {"objects":[...]}
 * prepare     {"operation":"create"|"update","kind":K,"subresource":"","dryRun":false,"user":"...",
 *              "object":{...},"old":{...}|null,"attempt":0,"taken":[{kind,namespace,name}...]}
 *             -> {"object":{...},"puts":[{"kind":K2,"object":{...}}],
 *                 "deletes":[{"kind":K2,"namespace":"","name":"..."}],"warnings":[...]}
 *             Runs after defaulting and before validation is final. `puts` are created in the same transaction
 *             under compare-absent: when one exists already the kernel asks again with attempt+1 and the
 *             taken keys (at most 16 times). Members may be left out; "object" left out = unchanged.
 * delete_     {"kind":K,"object":{...},"phase":"request"|"final","options":{...DeleteOptions}}
 *             -> {"action":"immediate"|"grace"|"deny","gracePeriodSeconds":30,"object":{...}?,
 *                 "deletes":[{...}],"warnings":[...]}
 *             request: a client asks. "grace" sets deletionTimestamp and keeps the object until somebody deletes
 *             it with grace 0; "object" may carry changes for that write. final: the object goes away now (also when the last finalizer
 *             falls); only "deletes" (companions to release) counts then.
 * table       {"kind":K,"objects":[...]} (at most 500) -> {"rows":[{"cells":{"Status":"Running",...},
 *              "conditions":[...]}...]}: values of the columns marked `computed`.
 * connect     {"kind":K,"namespace":..,"name":..,"subresource":"exec","path":"","query":{"command":["a","b"],...},
 *              "object":{...},"user":..} -> {"slot":"node-agent.n1","request":{...}}
 *             `query`: a parameter's value is a string; "command", "ports" and parameters given more than once are lists.
 *             Where the stream goes: the kernel calls pintle.draft.stream/1 of that slot with `request`.
 * subresource {"kind":K,"namespace":..,"name":..,"subresource":"eviction","operation":"create"|"get"|"update",
 *              "object":{...current or null},"body":{...}|null,"user":..,"dryRun":..}
 *             -> {"reply":{...}?,"ops":[{"verb":"create|update|delete|merge","kind":K,"namespace":..,"name":..,"subresource":"",
 *                 "body":{...},"revision":N,"uid":".."}],"fences":[{"slot":..,"epoch":N}],"code":201,"retry":true}
 *             ops form one transaction; when a compare fails and retry is true the kernel asks again (at most
 *             8 times). The answer is `reply`, else the object after the last op, else Status Success. */
#ifndef PINTLE_IF_RESOURCE_H_
#define PINTLE_IF_RESOURCE_H_
#include "../abi.h"
#define PINTLE_RESOURCE PINTLE_DRAFT "resource/1"
typedef struct {
  uint32_t size;
  pintle_method default_, validate, convert, prepare, delete_, table, connect, subresource;
} pintle_resource;
#endif
