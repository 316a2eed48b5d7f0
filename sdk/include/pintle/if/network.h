/* pintle.draft.network/1: gives a pod its network. [worker], concurrent.
 *
 * attach  {"podUid","namespace","name","netns":"/proc/1/ns/net","node"} -> {"ips":["10.0.0.2"]}   idempotent
 * detach  {"podUid"} -> {}   OK when it is gone already */
#ifndef PINTLE_IF_NETWORK_H_
#define PINTLE_IF_NETWORK_H_
#include "../abi.h"
#define PINTLE_NETWORK PINTLE_DRAFT "network/1"
typedef struct {
  uint32_t size;
  pintle_method attach, detach;
} pintle_network;
#endif
