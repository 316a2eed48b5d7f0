/* pintle.draft.http/1: extra routes of the API server. [worker], concurrent.
 *
 * Authorized by the kernel like its own paths (verb = method in small letters). A prefix is everything below it; the longest one wins;
 * "/" and what begins like a path of the kernel (/api, /apis, /openapi, /livez, /readyz, /healthz, /metrics, /version) is not for
 * plugins. `describe` is asked again every few seconds. Headers come without the client's credentials; bodies are UTF-8.
 *
 * describe {} -> {"routes":[{"prefix":"/x/","methods":["GET"]}]}
 * handle   {"method","path","query":{"name":["value"]},"headers":{},"user":{"username","uid","groups":[]},"body":".."} -> {"code":200,"headers":{},"body":".."} */
#ifndef PINTLE_IF_HTTP_H_
#define PINTLE_IF_HTTP_H_
#include "../abi.h"
#define PINTLE_HTTP PINTLE_DRAFT "http/1"
typedef struct {
  uint32_t size;
  pintle_method describe, handle;
} pintle_http;
#endif
