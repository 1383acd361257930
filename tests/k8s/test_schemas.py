"""Every object has only fields that its kind has: in the oldest Kubernetes that will do, and in the maintained ones."""

import json
import warnings
from typing import Any

import pytest

with warnings.catch_warnings():  # it asks for a resource of its own by an old name
    warnings.simplefilter("ignore")
    import kubernetes_validate

from tests.k8s.rendered import RENDERINGS, find, rendering

pytestmark = pytest.mark.k8s
VERSIONS = ("1.30", "1.34", "1.35", "1.36", "1.37")


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_the_schemas(version: str) -> None:
    different = {json.dumps(item) for wanted in RENDERINGS for item in rendering(wanted)}
    assert len(different) > 50
    for item in different:
        kubernetes_validate.validate(json.loads(item), version, strict=True)


def test_the_newest_version_with_a_schema_is_among_them() -> None:
    assert kubernetes_validate.latest_version().startswith(VERSIONS[-1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda pod: pod.update(terminationGracePeriodSecond=5),
        lambda pod: pod["containers"][0]["readinessProbe"].update(periodSeconds="2"),
        lambda pod: pod["containers"][0].pop("name"),
    ],
    ids=["misspelt", "of another type", "missing"],
)
def test_a_wrong_field_is_found(damage: Any) -> None:
    item = find(rendering("local"), "Deployment", "serving")
    damage(item["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)
