"""Holds manifests against the schemas of Kubernetes, and says what a pod of the Deployment gets.

    kubernetes.py MANIFESTS DIRECTORY VERSION...

Into DIRECTORY it writes `orlop.toml` and `environment`: the file and the variables that Orlop sees, each variable with a
zero byte at its end; and `monitor.mts`, a program that ends well where a ServiceMonitor is one, if there is one.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml

manifests, directory, versions = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
documents = [document for document in yaml.safe_load_all(open(manifests)) if document]
kinds = {}
for document in documents:
    kinds.setdefault(document["kind"], []).append(document)
    # A custom resource, of which Kubernetes has no schema: see monitor.mts.
    if document["kind"] == "ServiceMonitor":
        continue
    for version in versions:
        kubernetes_validate.validate(document, version, strict=True)


def one(kind):
    (only,) = kinds[kind]
    return only


def matches(selector, labels):
    return selector.items() <= labels.items()


deployment = one("Deployment")
pod = deployment["spec"]["template"]
(container,) = pod["spec"]["containers"]
ports = {port["name"] for port in container["ports"]}

# Whatever selects pods must select those of the Deployment, and name their ports.
assert matches(deployment["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"])
assert matches(one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"])
for service in kinds["Service"]:
    assert matches(service["spec"]["selector"], pod["metadata"]["labels"]), service["metadata"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, service["metadata"]
for spread in pod["spec"]["topologySpreadConstraints"]:
    assert matches(spread["labelSelector"]["matchLabels"], pod["metadata"]["labels"])
for monitor in kinds.get("ServiceMonitor", []):
    selected = [
        service
        for service in kinds["Service"]
        if matches(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
    ]
    assert len(selected) == 1, "a ServiceMonitor must select one Service"
    names = {port["name"] for port in selected[0]["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names

# What the pod may not do, and that it is given the time that it takes to stop.
assert pod["spec"]["securityContext"]["runAsNonRoot"]
assert container["securityContext"]["readOnlyRootFilesystem"]
assert not container["securityContext"]["allowPrivilegeEscalation"]
assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
environment = {variable["name"]: variable["value"] for variable in container["env"]}
stopping = sum(int(environment[name].rstrip("s")) for name in ["ORLOP_SHUTDOWN_DELAY", "ORLOP_SHUTDOWN_GRACE"])
assert pod["spec"]["terminationGracePeriodSeconds"] > stopping

# Whatever is mounted is there, and what a variable names is mounted.
volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
assert set(mounts.values()) == volumes
for name, value in environment.items():
    if value.startswith("/"):
        assert any(f"{value}/".startswith(path + "/") for path in mounts), f"{name} names {value}, where nothing is mounted"

directory.mkdir(exist_ok=True)
(directory / "orlop.toml").write_text(one("ConfigMap")["data"]["orlop.toml"])
(directory / "environment").write_text("".join(f"{name}={value}\0" for name, value in environment.items()))
MODEL = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor"
if "ServiceMonitor" in kinds:
    # The compiler refuses fields that there are not, and the schema values that cannot be.
    program = f"""import {{ ServiceMonitor, type IServiceMonitor }} from "{MODEL}";
const monitor: IServiceMonitor = {json.dumps(one("ServiceMonitor"))};
new ServiceMonitor(monitor).validate();
"""
    (directory / "monitor.mts").write_text(program)
