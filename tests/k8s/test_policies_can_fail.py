"""Each rule finds what it is there for: one object of the rendering is damaged, and the rule says so."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.k8s.policies import flows, rights
from tests.k8s.policies.every import POLICIES
from tests.k8s.rendered import Object, find, rendering

pytestmark = pytest.mark.k8s
Damage = Callable[[list[Object]], Any]


def item(kind: str, called: str, edit: Callable[[Object], Any]) -> Damage:
    return lambda objects: edit(find(objects, kind, called))


def pod(called: str, edit: Callable[[dict[str, Any]], Any]) -> Damage:
    return item("Deployment", called, lambda found: edit(found["spec"]["template"]["spec"]))


def container(called: str, edit: Callable[[dict[str, Any]], Any]) -> Damage:
    return pod(called, lambda spec: edit(spec["containers"][0]))


def rule(called: str, **more: Any) -> Damage:
    return item("Role", called, lambda found: found["rules"].append({"apiGroups": [""], **more}))


def label(called: str, **labels: str) -> Damage:
    return item("Deployment", called, lambda found: found["spec"]["template"]["metadata"]["labels"].update(labels))


def without(kind: str, called: str) -> Damage:
    return lambda objects: objects.remove(find(objects, kind, called))


def task(edit: Callable[[dict[str, Any]], Any]) -> Damage:
    return item("PodTemplate", "airflow-task", lambda found: edit(found["template"]["spec"]))


DAMAGES: list[tuple[str, Damage, str]] = [
    ("restricted", pod("mlflow", lambda p: p["securityContext"].update(runAsUser=0)), "no numeric user"),
    ("restricted", pod("mlflow", lambda p: p["securityContext"].pop("runAsNonRoot")), "may be root"),
    ("restricted", pod("mlflow", lambda p: p["securityContext"].pop("seccompProfile")), "seccomp"),
    ("restricted", pod("mlflow", lambda p: p.update(hostNetwork=True)), "hostNetwork"),
    ("restricted", pod("mlflow", lambda p: p["volumes"].append({"name": "x", "hostPath": {"path": "/"}})), "hostPath"),
    ("restricted", container("mlflow", lambda c: c["securityContext"].pop("allowPrivilegeEscalation")), "more rights"),
    ("restricted", container("mlflow", lambda c: c["securityContext"].update(readOnlyRootFilesystem=False)), "root"),
    ("restricted", container("mlflow", lambda c: c["securityContext"].pop("capabilities")), "capabilities"),
    ("restricted", task(lambda p: p["containers"][0]["securityContext"].update(privileged=True)), "privileged"),
    ("bounded", container("serving", lambda c: c["resources"]["limits"].pop("memory")), "memory has no"),
    ("bounded", container("serving", lambda c: c["resources"]["requests"].update(cpu="3")), "more than its limit"),
    ("bounded", pod("airflow-api", lambda p: p["initContainers"][0].pop("resources")), "has no request"),
    ("bounded", pod("serving", lambda p: p["volumes"].append({"name": "x", "emptyDir": {}})), "no size"),
    ("probed", container("serving", lambda c: c.pop("startupProbe")), "startupProbe"),
    ("probed", container("serving", lambda c: c.update(livenessProbe=c["readinessProbe"])), "same question"),
    ("probed", container("serving", lambda c: c["startupProbe"].update(failureThreshold=5)), "to start"),
    ("probed", container("mlflow", lambda c: c["livenessProbe"].update(failureThreshold=1)), "is killed as soon"),
    ("graceful", container("airflow-api", lambda c: c.pop("lifecycle")), "before the nodes know"),
    ("graceful", pod("airflow-api", lambda p: p.update(terminationGracePeriodSeconds=10)), "killed while it stops"),
    ("drains", pod("serving", lambda p: p.update(terminationGracePeriodSeconds=30)), "killed while it answers"),
    ("drains", item("Deployment", "serving", lambda d: d["spec"].update(strategy={"type": "Recreate"})), "takes pods"),
    ("unlinked", pod("mlflow", lambda p: p.pop("enableServiceLinks")), "mlflow"),
    ("writable", container("serving", lambda c: c["volumeMounts"].pop()), "no /tmp"),
    ("autoscaled", item("Deployment", "serving", lambda d: d["spec"].update(replicas=2)), "restored by the next apply"),
    ("autoscaled", item("HorizontalPodAutoscaler", "serving", lambda s: s["spec"].update(minReplicas=1)), "two"),
    ("autoscaled", item("HorizontalPodAutoscaler", "serving", lambda s: s.update(apiVersion="autoscaling/v1")), "v1"),
    ("evictable", without("PodDisruptionBudget", "serving"), "no budget"),
    ("evictable", item("PodDisruptionBudget", "serving", lambda b: b["spec"].update(maxUnavailable=0)), "no budget"),
    ("evictable", item("PodDisruptionBudget", "serving", lambda b: b["spec"].popitem()), "hold up"),
    ("evictable", label("mlflow", **{"app.kubernetes.io/name": "serving", "track": "champion"}), "cannot be drained"),
    ("spread", pod("serving", lambda p: p["topologySpreadConstraints"].pop()), "topology.kubernetes.io/zone"),
    ("spread", pod("serving", lambda p: p["topologySpreadConstraints"][0].update(whenUnsatisfiable="Do")), "one node"),
    ("denied", without("NetworkPolicy", "default-deny"), "is open"),
    ("denied", item("NetworkPolicy", "mlflow", lambda n: n["spec"]["ingress"][0].pop("from")), "lets anybody in"),
    ("denied", item("NetworkPolicy", "mlflow", lambda n: n["spec"]["ingress"][0].pop("ports")), "opens every port"),
    ("least", rule("airflow-task", resources=["secrets"], verbs=["get"]), "may also"),
    ("least", rule("airflow-scheduler", resources=["pods/exec"], verbs=["create"]), "may also"),
    ("least", rule("setup", resources=["secrets"], verbs=["list"]), "may ('secrets', '*', 'list')"),
    ("least", rule("setup", resources=["secrets"], verbs=["get"]), "may ('secrets', '*', 'get')"),
    ("least", item("Role", "airflow-task", lambda r: r["rules"][0].pop("resourceNames")), "may also"),
    ("least", item("Role", "airflow-api", lambda r: r["rules"].pop()), "may not"),
    ("tokens", pod("serving", lambda p: p.update(automountServiceAccountToken=True)), "does not fit"),
    ("tokens", pod("serving", lambda p: p.pop("automountServiceAccountToken")), "does not fit"),
    ("tokens", pod("serving", lambda p: p.pop("serviceAccountName")), "default account"),
    ("tokens", item("ServiceAccount", "mlflow", lambda a: a.pop("automountServiceAccountToken")), "any pod"),
    ("secretless", lambda o: o.append({"kind": "Secret", "metadata": {"name": "x"}}), "Secret/x is in git"),
    ("secretless", container("serving", lambda c: c["env"].append({"name": "LOOP_SALT", "value": "x"})), "LOOP_SALT"),
    ("secretless", container("serving", lambda c: c["env"].append({"name": "A", "value": "http://a:b@c"})), "in a URL"),
    ("at_home", lambda o: o.append({"kind": "ClusterRole", "metadata": {"name": "x"}}), "whole cluster"),
    ("at_home", item("Service", "mlflow", lambda s: s["metadata"].update(namespace="default")), "is not in"),
    ("at_home", item("Service", "mlflow", lambda s: s["metadata"].pop("labels")), "part of"),
    ("named", container("serving", lambda c: c.update(image="closed-loop/serving")), "another image tomorrow"),
    ("named", container("serving", lambda c: c.update(image="host:5000/serving:latest")), "another image tomorrow"),
    ("named", task(lambda p: p["containers"][0].update(image="host:5000/pipeline")), "another image tomorrow"),
    ("unique", lambda o: o.append(find(o, "Service", "mlflow")), "is there 2 times"),
    ("unique", container("serving", lambda c: c["env"].append(c["env"][0])), "two env LOOP_KEYS"),
    ("complete", without("ServiceAccount", "mlflow"), "there is no ServiceAccount/mlflow"),
    ("complete", without("PersistentVolumeClaim", "mlflow"), "there is no PersistentVolumeClaim/mlflow"),
    ("complete", without("Role", "airflow-task"), "there is no Role/airflow-task"),
    ("complete", without("Service", "postgres"), "has no Service"),
    ("complete", task(lambda p: p["containers"][0]["envFrom"][0]["configMapRef"].update(name="x")), "ConfigMap/x"),
    ("complete", pod("serving", lambda p: p["volumes"].pop(0)), "there is no volume data"),
    ("secrets_known", pod("serving", lambda p: p["volumes"][1]["secret"].update(secretName="key")), "Secret key"),
    ("secrets_known", item("Role", "setup", lambda r: r["rules"][1]["resourceNames"].append("x")), "means x"),
    ("selecting", label("mlflow", **{"app.kubernetes.io/name": "x"}), "does not find its own"),
    ("selecting", item("Service", "mlflow", lambda s: s["spec"]["selector"].update(track="x")), "leads nowhere"),
    ("selecting", item("NetworkPolicy", "mlflow", lambda n: n["spec"].update(podSelector={"matchLabels": {"a": "b"}})),
     "selects nothing"),
    ("selecting", label("serving-canary", track="champion"), "does not find its own"),
    ("ports_named", container("mlflow", lambda c: c["ports"][0].update(name="web")), "has no port http"),
    ("ports_named", container("mlflow", lambda c: c["ports"][0].update(containerPort=5001)), "has no port http"),
    ("ports_named", container("mlflow", lambda c: c["livenessProbe"]["httpGet"].update(port="web")), "asks port web"),
    ("ports_named", item("Service", "mlflow", lambda s: s["spec"]["ports"][0].update(targetPort=50)), "without names"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "damage", "said"), DAMAGES, ids=[f"{p}: {said}" for p, _, said in DAMAGES])
def test_a_rule_finds_the_damage(policy: str, damage: Damage, said: str) -> None:
    objects = rendering("local")
    damage(objects)
    assert said in "; ".join(POLICIES[policy](objects))


def test_every_rule_was_tried() -> None:
    assert {policy for policy, _, _ in DAMAGES} == set(POLICIES)


def test_a_tag_is_no_digest() -> None:
    assert list(rights.digested(rendering("local")))


def test_a_label_too_many_opens_a_connection_that_the_table_lacks() -> None:
    objects = rendering("local")
    before = flows.flows(objects)
    label("airflow-dags", **{"uses/mlflow": "true"})(objects)
    assert flows.flows(objects) - before == {("airflow-dags", "mlflow", 5000)}


def test_a_connection_needs_both_sides() -> None:
    objects = rendering("local")
    without("NetworkPolicy", "serving-callers")(objects)
    assert not any(called == "serving" for _, called, _ in flows.flows(objects))
