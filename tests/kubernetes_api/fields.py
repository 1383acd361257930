"""Who set which field: server-side apply, as far as Deployments need it.

Written from https://kubernetes.io/docs/reference/using-api/server-side-apply: an applier owns what it sends; a field
that another manager set to another value is a conflict, unless forced; the same value is shared; what an applier no
longer sends is removed, if nobody else owns it. Any other write takes the fields that it changes.
"""

import copy
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Path = tuple[Any, ...]  # of names, and of tuples of (name, value) that find an item of a list
Owners = dict[tuple[str, str], set[Path]]  # (manager, "Apply" or "Update") -> fields
ITEM = "(an item)"
KEYS = {  # lists that are merged by key; others are replaced as a whole
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
DEFAULTS = {"protocol": "TCP"}


class Conflicts(Exception):
    """Fields, each with the manager that set it."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(found)
        self.found = found


def apply(live: Json, owners: Owners, wanted: Json, manager: str, force: bool) -> tuple[Json, Owners]:
    """The object and its owners after `manager` applied `wanted`. Raises Conflicts."""
    mine, sent, present = (manager, "Apply"), leaves(wanted) if wanted else {}, leaves(live)
    others = {key: owned for key, owned in owners.items() if key != mine}
    taken = {
        key: {path for path in owned & sent.keys() if present.get(path) != sent[path]} for key, owned in others.items()
    }
    if any(taken.values()) and not force:
        raise Conflicts([(key[0], text(path)) for key, paths in taken.items() for path in sorted(paths, key=text)])
    left = {key: owned - taken[key] for key, owned in others.items()}
    after = copy.deepcopy(live)
    for path, value in sent.items():
        put(after, path, value)
    for path in sorted(owners.get(mine, set()) - sent.keys(), key=len):
        if not any(each[: len(path)] == path for owned in left.values() for each in owned):
            remove(after, path)
    return after, _without_empty(left | {mine: set(sent)})


def update(live: Json, owners: Owners, after: Json, manager: str) -> Owners:
    """The owners after `manager` wrote the object as it is `after`."""
    old, new = leaves(live), leaves(after)
    changed, gone = {path for path in new if old.get(path) != new[path]}, old.keys() - new.keys()
    left = {key: owned - changed - gone for key, owned in owners.items()}
    mine = (manager, "Update")
    return _without_empty(left | {mine: left.get(mine, set()) | changed})


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Every field that has no fields of its own; items of keyed lists have a mark of their own, too."""
    if isinstance(value, Mapping) and value:
        return {each: leaf for name in value for each, leaf in leaves(value[name], (*path, name)).items()}
    if isinstance(value, list) and path and path[-1] in KEYS:
        found: dict[Path, Any] = {}
        for item in value:
            here = (*path, key_of(path[-1], item))
            found |= {here: ITEM, **leaves(item, here)}
        return found
    return {path: value}


def key_of(name: str, item: Mapping[str, Any]) -> Path:
    return tuple((key, item.get(key, DEFAULTS.get(key))) for key in KEYS[name])


def put(into: Json, path: Path, value: Any) -> None:
    """Set a field; what is on the way to it is made."""
    place: Any = into
    for here, following in itertools.pairwise(path):
        place = _step(place, here, [] if isinstance(following, tuple) else {})
    if isinstance(path[-1], tuple):
        _step(place, path[-1], {})
    else:
        place[path[-1]] = copy.deepcopy(value)


def remove(from_: Json, path: Path) -> None:
    """Take a field or an item away, and what is left empty on the way to it."""
    place: Any = from_
    for here in path[:-1]:
        found = _find(place, here)
        if found is None:
            return
        place = found
    last = path[-1]
    if isinstance(last, tuple):
        place[:] = [item for item in place if not _is(item, last)]
    else:
        place.pop(last, None)
    if not place and len(path) > 1 and not isinstance(path[-2], tuple):
        remove(from_, path[:-1])


def managed(owners: Owners) -> list[Json]:
    """As metadata.managedFields shows it."""
    return [
        {
            "manager": manager,
            "operation": how,
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(owned),
        }
        for (manager, how), owned in owners.items()
    ]


def text(path: Path) -> str:
    """As the API's messages write it: .spec.containers[name="serving"].image."""
    return "".join(
        "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in each) + "]"
        if isinstance(each, tuple)
        else f".{each}"
        for each in path
    )


def _tree(paths: Iterable[Path]) -> Json:
    tree: Json = {}
    for path in paths:
        place = tree
        for each in path:
            name = f"k:{json.dumps(dict(each))}" if isinstance(each, tuple) else f"f:{each}"
            place = place.setdefault(name, {})
        if isinstance(path[-1], tuple):
            place["."] = {}
    return tree


def _step(place: Any, here: Any, new: Any) -> Any:
    """What is at `here`, made where it is missing."""
    found = _find(place, here)
    if found is not None:
        return found
    if isinstance(here, tuple):
        place.append({name: value for name, value in here if value is not None})
        return place[-1]
    place[here] = new
    return place[here]


def _find(place: Any, here: Any) -> Any:
    if isinstance(here, tuple):
        return next((item for item in place if _is(item, here)), None)
    return place.get(here)


def _is(item: Mapping[str, Any], key: Path) -> bool:
    return all(item.get(name, DEFAULTS.get(name)) == value for name, value in key)


def _without_empty(owners: Owners) -> Owners:
    return {key: owned for key, owned in owners.items() if owned}
