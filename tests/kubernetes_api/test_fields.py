"""Server-side apply, rule by rule of its documentation."""

from typing import Any

import pytest

from tests.kubernetes_api import fields
from tests.kubernetes_api.fields import Conflicts, Json, Owners

pytestmark = pytest.mark.k8s

ONE, TWO = ("one", "Apply"), ("two", "Apply")


def env(**values: str) -> Json:
    named = [{"name": name, "value": value} for name, value in values.items()]
    return {"spec": {"containers": [{"name": "serving", "env": named}]}}


def applied(*steps: tuple[str, Json], force: bool = False) -> tuple[Json, Owners]:
    live, owners = dict[str, Any](), Owners()
    for manager, wanted in steps:
        live, owners = fields.apply(live, owners, wanted, manager, force)
    return live, owners


def test_two_managers_set_items_of_the_same_list() -> None:
    live, owners = applied(("one", env(A="1")), ("two", env(B="2")))
    assert live == env(A="1", B="2")
    assert set(owners) == {ONE, TWO}


def test_another_value_for_somebody_elses_field_is_a_conflict_that_names_both() -> None:
    with pytest.raises(Conflicts) as caught:
        applied(("one", env(A="1")), ("two", env(A="2")))
    assert caught.value.found == [("one", '.spec.containers[name="serving"].env[name="A"].value')]


def test_the_same_value_is_shared_and_stays_until_the_last_one_leaves() -> None:
    both = [("one", env(A="1")), ("two", env(A="1"))]
    assert applied(*both, ("one", env(B="2")))[0] == env(A="1", B="2")
    assert applied(*both, ("one", env(B="2")), ("two", env(B="2")))[0] == env(B="2")


def test_force_takes_the_field_from_the_other() -> None:
    live, owners = applied(("one", env(A="1")), ("two", env(A="2")), force=True)
    assert live == env(A="2")
    path = next(path for path in owners[TWO] if path[-1] == "value")
    assert path not in owners[ONE]


def test_what_an_applier_no_longer_sends_is_removed() -> None:
    live, _ = applied(("one", {"spec": {"replicas": 2}}), ("two", env(A="1")), ("two", {"metadata": {}}))
    assert live["spec"] == {"replicas": 2}
    live, _ = applied(("one", env(A="1", B="2")), ("one", env(B="2")))
    assert live == env(B="2")


def test_a_list_without_keys_is_one_value() -> None:
    with pytest.raises(Conflicts):
        applied(("one", {"spec": {"args": ["a"]}}), ("two", {"spec": {"args": ["a", "b"]}}))


def test_any_other_write_takes_the_fields_that_it_changes() -> None:
    live, owners = applied(("one", env(A="1", B="2")))
    after = env(A="1", B="3")
    owners = fields.update(live, owners, after, "somebody")
    assert [path[-2] for path in owners["somebody", "Update"]] == [(("name", "B"),)]
    with pytest.raises(Conflicts) as caught:
        fields.apply(after, owners, env(A="1", B="2"), "one", False)
    assert [manager for manager, _ in caught.value.found] == ["somebody"]


def test_managed_fields_read_as_those_of_the_api() -> None:
    _, owners = applied(("one", env(A="1")))
    (shown,) = fields.managed(owners)
    container = shown["fieldsV1"]["f:spec"]["f:containers"]['k:{"name": "serving"}']
    assert (shown["manager"], shown["operation"]) == ("one", "Apply")
    assert container["f:env"]['k:{"name": "A"}'] == {".": {}, "f:name": {}, "f:value": {}}
