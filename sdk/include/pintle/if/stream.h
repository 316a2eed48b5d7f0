/* pintle.draft.stream/1: the far end of a connect subresource (log, exec, attach, port-forward).
 *
 * open  {"mode":"text"|"exec"|"attach"|"portforward", ...what the connect hook answered...}
 *   text         partial answers (emit) are the bytes of the response body, in order; completing ends it.
 *   exec,attach  descriptors, by name in request.fds {"stdin":0,"stdout":1,"stderr":2,"resize":3}: each a
 *                connected stream socket end of the client's channel, present only when asked for. `resize`
 *                delivers lines {"Width":80,"Height":24}\n. Closing stdin's peer = the client closed it.
 *                Completes with {"exitCode":N} when the command ended; an error is shown to the client.
 *   portforward  one open per connection: request.port, descriptor 0 = both directions of the data.
 * A cancelled call means the client went away: close everything, end what was started. [worker] */
#ifndef PINTLE_IF_STREAM_H_
#define PINTLE_IF_STREAM_H_
#include "../abi.h"
#define PINTLE_STREAM PINTLE_DRAFT "stream/1"
typedef struct {
  uint32_t size;
  pintle_method open;
} pintle_stream;
#endif
