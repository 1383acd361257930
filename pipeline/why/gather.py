"""Everything that store and registry know about one prediction, as one record. How it looks is pipeline.why.show's."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from core import decisions, predictions
from core.errors import DataError, ModelRefused
from core.releases import DIGEST_TAG, ReleaseReader
from core.runtime import CONTRACT, Contract
from core.schema import MISSING_CATEGORY, ProblemSpec

FACTS, VERDICT = "training.json", "verdict.json"
Document = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One number or category that the model saw, or that is watched beside it."""

    name: str
    value: float | str | None
    source: str  # sent, derived, or the look-up
    as_of: str | None  # since when the look-up's row was known
    notes: list[str]
    fed: bool  # to the model


@dataclass(frozen=True)
class Origin:
    """Where a model version is from. None: it was registered without."""

    version: str
    run: str
    candidate: str | None
    lifecycle: str | None
    revision: str | None
    data_version: str | None
    as_of: str | None  # night of the training
    first_day: str | None  # of the events that it was trained on
    last_day: str | None
    rows: int | None
    options: Document
    digest: str | None


@dataclass(frozen=True)
class Why:
    """What is known. `prediction` is the log's row; `verdict` and `drift` are None when there was none."""

    problem: str
    prediction: Document
    seen: list[Seen]
    origin: Origin
    verdict: Document | None  # the gate's
    drift: Document | None  # the monitor's newest decision when the prediction was made


def why(engine: Engine, reader: ReleaseReader, spec: ProblemSpec, spool: Path, id: str) -> Why:
    """Gather it. Raises DataError for a prediction that is not there, RegistryError when its model is not."""
    logged = find(engine, spec, spool, id)
    version, drift = logged["model_version"], drift_at(engine, spec.name, logged["served_at"])
    with tempfile.TemporaryDirectory() as folder:
        bundle = reader.fetch(version, Path(folder), (CONTRACT,))
        contract = Contract.model_validate_json((bundle / CONTRACT).read_text())
        origin, verdict = _origin(reader, version, Path(folder)), _verdict(reader, version, Path(folder))
    return Why(spec.name, logged, seen(spec, contract, logged, drift or {}), origin, verdict, drift)


def find(engine: Engine, spec: ProblemSpec, spool: Path, id: str) -> Document:
    """The log's row. `spool`: the folder of a server on this machine, which may have it and not have shipped it yet."""
    logged = predictions.find(engine, id)
    if logged is None and any(_holds(path, id) for path in spool.glob("*.jsonl")):
        raise DataError(f"prediction {id} is in the server's spool and not in the store yet; ask again in some seconds")
    if logged is None:
        raise DataError(f"the store has no prediction {id}; an answer's prediction_id is meant")
    if logged["problem"] != spec.name:
        raise DataError(f"prediction {id} is of problem {logged['problem']}; set LOOP_PROBLEM={logged['problem']}")
    return logged


def _holds(segment: Path, id: str) -> bool:
    try:
        return f'"{id}"'.encode() in segment.read_bytes()
    except FileNotFoundError:  # shipped and thrown away meanwhile
        return False


def drift_at(engine: Engine, problem: str, moment: float) -> Document | None:
    """The newest decision of the monitor at that moment, seconds since 1970: what was known of drift then."""
    made = [row for row in decisions.history(engine, problem) if row["made_at"] <= moment]
    return max(made, key=lambda row: row["made_at"], default=None)


def seen(spec: ProblemSpec, contract: Contract, logged: Mapping[str, Any], drift: Mapping[str, Any]) -> list[Seen]:
    """The model's features but for arrays, in its order; then what is watched besides. Embeddings are left out."""
    names = [name for name, kind in contract.features.items() if kind != "array"]
    watched = [name for name in spec.watched if name in logged["features"] and name not in names]
    lookup_of = {value: name for name, about in spec.lookups.items() for value in about.values}
    psi = drift.get("evidence", {}).get("drifted", {})

    def one(name: str) -> Seen:
        sent, lookup = logged["inputs"].get(name) is not None, lookup_of.get(name)
        source = "sent" if sent or name in spec.columns else f"look-up {lookup}" if lookup else "derived"
        as_of = logged["as_of"].get(lookup) if source.startswith("look-up") else None
        notes = [
            *_noted(contract, logged["features"], name),
            *([f"drift {psi[name]:.2f}"] if name in psi else []),
        ]
        return Seen(name, logged["features"].get(name), source, as_of, notes, name in names)

    return [one(name) for name in (*names, *watched)]


def _noted(contract: Contract, features: Mapping[str, Any], name: str) -> list[str]:
    if name not in features:
        return ["not logged"]
    if features[name] in (None, MISSING_CATEGORY):
        return ["missing"]
    known = contract.categories.get(name)
    return ["unknown"] if known is not None and features[name] not in known else []


def _origin(reader: ReleaseReader, version: str, folder: Path) -> Origin:
    tags, facts = reader.tags(version), _facts(reader, version, folder)
    return Origin(
        version=version,
        run=reader.run_of(version),
        candidate=tags.get("candidate"),
        lifecycle=tags.get("lifecycle"),
        revision=tags.get("revision"),
        data_version=tags.get("data_version"),
        as_of=tags.get("as_of"),
        first_day=facts.get("first_day"),
        last_day=facts.get("last_day"),
        rows=facts.get("rows"),
        options=facts.get("options", {}),
        digest=tags.get(DIGEST_TAG),
    )


def _facts(reader: ReleaseReader, version: str, folder: Path) -> Document:
    try:
        return _read(reader.fetch(version, folder, (FACTS,)) / FACTS)
    except ModelRefused:  # registered without them
        return {}


def _verdict(reader: ReleaseReader, version: str, folder: Path) -> Document | None:
    try:
        return _read(reader.attached(version, VERDICT, folder))
    except ModelRefused:  # it was never judged
        return None


def _read(path: Path) -> Document:
    return dict(json.loads(path.read_text()))
