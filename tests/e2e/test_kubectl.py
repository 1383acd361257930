"""What is asked of a real cluster, command by command, and what is made of the answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e import kubectl
from tests.e2e.kubectl import Kubectl, load_pod, loader
from tests.k8s.rendered import find, rendering


def pod(name: str = "serving-1", version: str = "7", ready: str = "True") -> dict[str, Any]:
    environment = [{"name": "LOOP_KEYS", "value": "/secrets"}, {"name": "LOOP_VERSION", "value": version}]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "worker-1", "containers": [{"env": environment}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def node(*taints: str) -> dict[str, Any]:
    return {"spec": {"taints": [{"effect": effect} for effect in taints]}}


class Commands:
    """Answers by the words that a command has, and keeps the commands."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.seen = answers, list[str]()

    def __call__(self, *words: str, given: str | None = None) -> str:
        line = " ".join(words)
        self.seen.append(line)
        found = next((answer for word, answer in self.answers.items() if word in line), "")
        return found if isinstance(found, str) else json.dumps(found)

    def ran(self, *words: str) -> list[str]:
        return [line for line in self.seen if all(word in line for word in words)]


def test_a_pod_serves_what_it_is_pinned_to_once_it_is_ready() -> None:
    commands = Commands(pods={"items": [pod(), pod("serving-2", "8"), pod("serving-3", "8", ready="False")]})
    assert Kubectl(commands).served() == ["7", "8", None]
    assert commands.seen == [f"kubectl --namespace closed-loop get pods --selector {kubectl.SERVING} --output json"]


def test_a_node_is_drained_of_the_servers_and_taken_back_even_if_that_fails() -> None:
    def failing(*words: str, given: str | None = None) -> str:
        answer = commands(*words, given=given)
        if "drain" in words:
            raise SystemExit("cannot evict")
        return answer

    commands = Commands(pods={"items": [pod()]}, nodes={"items": [node("NoSchedule"), node(), node()]})
    with pytest.raises(SystemExit, match="cannot evict"):
        Kubectl(failing).drain()
    assert commands.ran("drain worker-1", f"--pod-selector={kubectl.SERVING}")
    assert commands.seen[-1] == "kubectl uncordon worker-1"


@pytest.mark.parametrize("nodes", [[node()], [node("NoSchedule"), node()]])
def test_where_there_is_one_node_a_pod_is_evicted(nodes: list[dict[str, Any]]) -> None:
    commands = Commands(eviction="", pods={"items": [pod()]}, nodes={"items": nodes})
    Kubectl(commands).drain()
    assert commands.ran("create --raw /api/v1/namespaces/closed-loop/pods/serving-1/eviction")
    assert commands.ran("wait pod/serving-1 --for=delete")
    assert not commands.ran("drain")


def runs(*states: str) -> str:
    return "a warning of Airflow's\n" + json.dumps([{"state": state} for state in states])


def test_a_life_cycle_that_ended_well_has_a_champion() -> None:
    deployment = {"spec": {"template": pod()}}
    commands = Commands(**{"list-runs": runs("success"), "deployment serving": deployment})
    assert Kubectl(commands).lifecycle(1) == "7"


def test_a_life_cycle_that_failed_ends_the_wait() -> None:
    with pytest.raises(SystemExit, match="life cycles: \\['success', 'failed'\\]"):
        Kubectl(Commands(**{"list-runs": runs("success", "failed")})).lifecycle(2)


def test_the_load_runs_as_a_task_does_and_may_reach_the_server() -> None:
    template = find(rendering("local"), "PodTemplate", "airflow-task")["template"]
    made = load_pod(template)
    assert made["metadata"]["labels"]["uses/serving"] == "true"
    assert "app.kubernetes.io/name" not in made["metadata"]["labels"], "the clean-up and the Service know pods by it"
    (container,), (given,) = made["spec"]["containers"], template["spec"]["containers"]
    assert container["args"][3:] == ["http://serving:8000", "40"]
    compile(container["args"][2], "load.py", "exec")
    assert {key: container[key] for key in given} == given
    assert "args" not in given


@pytest.mark.parametrize(
    ("context", "command"),
    [
        ("kind-e2e", "kind load docker-image {} --name e2e"),
        ("k3d-mine", "k3d image import {} --cluster mine"),
        ("minikube", "minikube image load {} --profile minikube"),
        ("docker-desktop", "true"),
    ],
)
def test_an_image_is_loaded_as_the_context_s_cluster_takes_it(context: str, command: str) -> None:
    assert loader(context) == command


def test_an_unknown_cluster_is_asked_about() -> None:
    with pytest.raises(SystemExit, match="E2E_LOAD="):
        loader("my-cloud")


@pytest.mark.parametrize("command", ["ctr images import {}", ""])
def test_the_images_are_built_and_loaded_one_by_one(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: Callable[..., str] = Commands(**{"current-context": "kind-kind"})
    monkeypatch.setattr(kubectl, "run", commands)
    monkeypatch.setenv("E2E_LOAD", command)
    kubectl.load_images()
    assert isinstance(commands, Commands)
    assert len(commands.ran("docker build --file docker/Dockerfile --target")) == 3
    wanted = command or "kind load docker-image {} --name kind"
    for name in ("serving", "mlflow", "pipeline"):
        assert commands.ran(f"sh -c {wanted}".replace("{}", f"closed-loop/{name}:local"))


def test_a_command_that_fails_ends_it_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="cat /nowhere failed"):
        kubectl.run("cat", "/nowhere")
