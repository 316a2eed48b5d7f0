/* pintle.draft.http/1: extra routes of the API server. [worker], concurrent.
 *
 * describe {} -> {"routes":[{"prefix":"/x/","methods":["GET"]}]}
 * handle   {"method","path","query","headers":{},"user":{..},"body":".."} -> {"code":200,"headers":{},"body":".."} */
#ifndef PINTLE_IF_HTTP_H_
#define PINTLE_IF_HTTP_H_
#include "../abi.h"
#define PINTLE_HTTP PINTLE_DRAFT "http/1"
typedef struct {
  uint32_t size;
  pintle_method describe, handle;
} pintle_http;
#endif
