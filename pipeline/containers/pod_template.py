"""`python -m pipeline.containers.pod_template NAME FILE`: a PodTemplate of this namespace as the file Airflow reads.

So the pod of a task is an object like every other: overlays patch it, and it is checked with the rest of k8s/.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.containers.cluster import connect

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api


def main(name: str, file: str) -> None:
    api, namespace = connect()
    Path(file).write_text(yaml.safe_dump(pod(api, namespace, name)), encoding="utf-8")


def pod(api: "CoreV1Api", namespace: str, name: str) -> dict[str, Any]:
    """The Pod that the template describes, as the API writes it."""
    answer = api.read_namespaced_pod_template(name, namespace, _preload_content=False)
    template = json.loads(answer.data)["template"]
    kept = {key: template["metadata"][key] for key in ("labels", "annotations") if key in template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": template["spec"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
