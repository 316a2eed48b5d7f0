/* pintle.draft.cloud/1: machines and load balancers of a provider. [worker], concurrent.
 *
 * list_groups {} -> {"groups":[{"name","min","max","size","nodes":[..],"template":{"labels","taints","allocatable"}}]}
 * set_size    {"group","size"} -> {}
 * delete_node {"group","node"} -> {}
 * ensure_load_balancer {"service":{..},"nodes":[..]} -> {"ingress":[{"ip"}]}
 * delete_load_balancer {"namespace","name","uid"} -> {} */
#ifndef PINTLE_IF_CLOUD_H_
#define PINTLE_IF_CLOUD_H_
#include "../abi.h"
#define PINTLE_CLOUD PINTLE_DRAFT "cloud/1"
typedef struct {
  uint32_t size;
  pintle_method list_groups, set_size, delete_node, ensure_load_balancer, delete_load_balancer;
} pintle_cloud;
#endif
