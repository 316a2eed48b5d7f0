/* pintle.draft.runtime/1: runs containers on one machine (or simulates many). [worker], concurrent.
 *
 * Vocabulary and meaning follow the CRI (runtime.v1): a pod sandbox holds network and IPC, containers live in it.
 * Ids are the driver's own, opaque, stable over restarts of driver and kernel. Every create call is
 * idempotent by (pod uid, container name, attempt): when it exists already its id is returned. All state is
 * rediscovered by `list`; labels given at creation are returned by it. What a driver cannot do it
 * refuses with UNSUPPORTED and a text that names the field; never silently.
 *
 * Every request may carry "node":"n1" (one driver, many simulated nodes); drivers of one machine ignore it.
 *
 * info        {} -> {"name":"docker","version":"20.10.24","ready":true,"message":"","capabilities":["exec","attach",
 *              "port_forward","stats","update","network:host","network:pod", ...],"cgroupRoot":"/pintle"}
 *              "probe:exec": no network to probe, HTTP and TCP probes come as exec of ["pintle-probe",...]; "volumes:none": mounts are ignored
 * status      {} -> {"ready":bool,"networkReady":bool,"message":".."}
 * events      {} -> emits, until cancelled: {"type":"sync"} once the stream stands and after each reconnect (then
 *              list again); {"type":"changed","podUid":..,"sandboxId":..,"containerId":..?,"state":"running|exited|..."}
 * pull        {"image":"r/n:t","auth":{"username","password","server"}?} -> {"id":"sha256:..","size":n}; emits progress
 *              {"text":"..."}
 * image_list  {} -> {"images":[{"id","names":["r/n:t"],"digests":[..],"size":n,"user":"1000:1000"|""}]}
 * image_remove {"image":..} -> {}
 * fs_info     {} -> {"filesystems":[{"mountpoint","usedBytes","capacityBytes","inodesUsed"}]}
 * create_pod  {"uid","namespace","name","attempt":0,"labels":{},"annotations":{},"hostname","network":"pod"|"host",
 *              "dns":{"servers":[],"searches":[],"options":[]},"hosts":[{"ip","hostnames":[]}],"portMappings":[{"hostIp","hostPort","containerPort",
 *              "protocol"}],"hostPid":b,"hostIpc":b,"sharePid":b,"cgroupParent":"..","sysctls":{},"logDirectory":"/..","runtimeHandler":""}
 *              -> {"id":"..","ips":["10.0.0.2"]}
 * start_pod   {"id"} -> {"ips":[..]}          create_pod may leave it not started
 * create      {"podId","podUid","name","attempt":n,"image","imageId","command":[],"args":[],"workingDir","env":[{"name","value"}],
 *              "mounts":[{"hostPath","containerPath","readOnly":b,"propagation":"private|slave|shared"}],"tty":b,"stdin":b,"stdinOnce":b,"labels":{},"logPath":"..",
 *              "security":{"user":n,"group":n,"userName":"..","supplementalGroups":[],"privileged":b,"readOnlyRoot":b,"noNewPrivileges":b,
 *                "capabilities":{"add":[],"drop":[]},"seccomp":"RuntimeDefault|Unconfined|Localhost/x","apparmor":".."},
 *              "resources":{"cpuShares","cpuQuota","cpuPeriod","memoryBytes","oomScoreAdj"},"stopSignal":"..","hostPid":b,"hostIpc":b,"sharePid":b}
 *              -> {"id":".."}
 * start       {"id"} -> {}
 * stop        {"id","timeoutSeconds":30,"signal":""?} -> {}    stop signal, wait, then KILL; OK when it is not running
 * kill        {"id","signal":"TERM"} -> {}
 * remove      {"id"} -> {}        remove_pod {"id"} -> {}      both OK when it is gone already
 * update      {"id","resources":{..}} -> {}
 * list        {} -> {"pods":[{"id","uid","namespace","name","attempt","state":"ready|notready","createdAt":ns,"ips":[],"labels","annotations"}],
 *              "containers":[{"id","podId","podUid","name","attempt","image","imageId","state":"created|running|exited|unknown","createdAt":ns,
 *                "startedAt":ns,"finishedAt":ns,"exitCode":n,"reason":"Completed|Error|OOMKilled|..","message":"..","pid":n,"labels"}]}
 *              times are wall ns. Only what this cluster made. "podUid" in the request is a hint: only that pod is looked at, a driver may
 *              answer with more. Likewise "image" of image_list.
 * stats       {} -> {"containers":[{"id","podUid","name","cpuNs":n,"memoryWorkingSet":n,"at":ns}],"pods":[..]}
 * exec        {"id","command":[],"tty":b,"timeoutSeconds":0,"fds":{"stdin":0,"stdout":1,"stderr":2,"resize":3}?}
 *              -> {"exitCode":n,"stdout":"..","stderr":".."}     without fds the output comes back in the reply (at most 16 KiB each)
 * attach      {"id","tty":b,"fds":{..}} -> {"exitCode":n}
 * port_forward {"podId","port":n} + descriptor 0 -> {}           ends when either side closes
 * logs        {"id","follow":b,"tailLines":n|null,"sinceTime":ns|null,"limitBytes":n|null,"timestamps":b,"stream":""} -> emits text
 * reopen_log  {"id"} -> {}
 * recover     {} -> {}     called once after activate: adopt what runs, finish what a crash left half made */
#ifndef PINTLE_IF_RUNTIME_H_
#define PINTLE_IF_RUNTIME_H_
#include "../abi.h"
#define PINTLE_RUNTIME PINTLE_DRAFT "runtime/1"
typedef struct {
  uint32_t size;
  pintle_method info, status, events, pull, image_list, image_remove, fs_info, create_pod, start_pod,
      create, start, stop, kill, remove, remove_pod, update, list, stats, exec, attach, port_forward,
      logs, reopen_log, recover;
} pintle_runtime;
#endif
