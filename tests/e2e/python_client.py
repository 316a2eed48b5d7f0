"""What the Python client does on day one; run by test_python_client.py with the interpreter that has the client's package.

    python_client.py KUBECONFIG"""
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()


def check(condition, what):
    if not condition:
        sys.exit(f"python client: {what}")


def refused(code, reason, call, *args, **kw):
    try:
        call(*args, **kw)
    except ApiException as e:
        check(e.status == code, f"{e.status} instead of {code}")
        check(f'"reason":"{reason}"' in e.body.replace('": "', '":"'), e.body)
        return e
    sys.exit(f"python client: {reason} was expected")


check(client.VersionApi().get_code().minor == "35", "the version")
check(any(n.metadata.name == "default" for n in core.list_namespace().items), "the default namespace")
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py", labels={"made": "by-python"}), data={"a": "1"})
made = core.create_namespaced_config_map("default", body)
check(made.metadata.uid and made.metadata.resource_version, "uid and resourceVersion of what was created")
check(made.metadata.creation_timestamp.tzinfo is not None, "the creation time is read")
refused(409, "AlreadyExists", core.create_namespaced_config_map, "default", body)

# A watch from the list's revision sees a patch, a replace and the end.
start = core.list_namespaced_config_map("default", label_selector="made=by-python").metadata.resource_version
seen = []


def observe():
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", label_selector="made=by-python", resource_version=start, timeout_seconds=30):
        seen.append((event["type"], (event["object"].data or {}).get("a")))
        if event["type"] == "DELETED":
            break


watcher = threading.Thread(target=observe)
watcher.start()
core.patch_namespaced_config_map("py", "default", {"data": {"a": "2"}})
now = core.read_namespaced_config_map("py", "default")
now.data["a"] = "3"
core.replace_namespaced_config_map("py", "default", now)
refused(409, "Conflict", core.replace_namespaced_config_map, "py", "default", made)
core.delete_namespaced_config_map("py", "default")
watcher.join(30)
check(seen == [("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")], f"the watch saw {seen}")
refused(404, "NotFound", core.read_namespaced_config_map, "py", "default")

labels = {"app": "py"}
container = client.V1Container(name="main", image="web:1", ports=[client.V1ContainerPort(container_port=80)])
template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container]))
apps.create_namespaced_deployment("default", client.V1Deployment(
    metadata=client.V1ObjectMeta(name="py"), spec=client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)))
for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", field_selector="metadata.name=py", timeout_seconds=60):
    if event["object"].status.ready_replicas == 2:
        break
else:
    sys.exit("python client: the deployment did not become ready")
apps.patch_namespaced_deployment_scale("py", "default", {"spec": {"replicas": 1}})
check(apps.read_namespaced_deployment_scale("py", "default").spec.replicas == 1, "scale")
for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", field_selector="metadata.name=py", timeout_seconds=60):
    if event["object"].status.replicas == 1:
        break
else:
    sys.exit("python client: the deployment did not become smaller")
check(len(core.list_namespaced_pod("default", label_selector="app=py", limit=1).items) == 1, "a page of one")
pod = next(p for p in core.list_namespaced_pod("default", label_selector="app=py").items if p.metadata.deletion_timestamp is None)
check(core.read_namespaced_pod_log(pod.metadata.name, "default"), "the pod's log")
said = stream(core.connect_get_namespaced_pod_exec, pod.metadata.name, "default", command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False)
check(said == "hello\n", f"exec said {said!r}")
bad = client.V1Deployment(metadata=client.V1ObjectMeta(name="bad"), spec=client.V1DeploymentSpec(replicas=-1, selector=client.V1LabelSelector(match_labels=labels), template=template))
check("spec.replicas" in refused(422, "Invalid", apps.create_namespaced_deployment, "default", bad).body, "the field is named")

# The dynamic client reads discovery.
slots = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="pintle.dev/v1", kind="Slot")
check(slots.get(name="scheduler.default-scheduler").spec.provider == "scheduler-default", "a kind that the client does not know")
apps.delete_namespaced_deployment("py", "default", propagation_policy="Foreground")
core.delete_collection_namespaced_config_map("default", label_selector="made=by-python")
print("ok")
