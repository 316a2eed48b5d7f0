/* The request chain: who is it, may it, should it be changed. [worker], concurrent; deadline 1 s.
 *
 * authn  {"authorization":"Bearer x","certificate":PEM?,"remote":"ip"} -> {"authenticated":bool,"user":{"username","uid","groups":[],"extra":{}}}
 * authz  {"user":{..},"verb","group","version","resource","subresource","namespace","name","path"} ->
 *        {"allowed":bool,"denied":bool,"reason":".."}
 * admission
 *   describe {} -> {"rules":[{"kinds":["pods"],"operations":["CREATE"],"namespaces":..?,"phase":"mutate|validate"}],"failurePolicy":"Fail|Ignore"}
 *   mutate / validate  {"uid","operation","kind","namespace","name","subresource","user","object","oldObject","options","dryRun"} ->
 *            {"allowed":bool,"status":{..}?,"object":{..}?,"warnings":[..]} */
#ifndef PINTLE_IF_ADMISSION_H_
#define PINTLE_IF_ADMISSION_H_
#include "../abi.h"
#define PINTLE_AUTHN PINTLE_DRAFT "authn/1"
#define PINTLE_AUTHZ PINTLE_DRAFT "authz/1"
#define PINTLE_ADMISSION PINTLE_DRAFT "admission/1"
typedef struct {
  uint32_t size;
  pintle_method check;
} pintle_authn;
typedef struct {
  uint32_t size;
  pintle_method check;
} pintle_authz;
typedef struct {
  uint32_t size;
  pintle_method describe, mutate, validate;
} pintle_admission;
#endif
