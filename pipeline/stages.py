"""Run the stages of dvc.yaml, one at a time, for a life cycle. Imports DVC and nothing of the stages themselves."""

from collections.abc import Iterable
from typing import Any

from core import lineage
from core.config import Params, settings
from core.lineage import Locks
from problems import competing, load

# lifecycle (its id), as_of (ISO date), reason; from the ingest on also raw, the data version's lock entry
Job = dict[str, Any]


def run_stage(stage: str, job: Job, before: Iterable[Locks]) -> Locks:
    """Run one DVC stage on what the stages before it made."""
    locks = merge(before)
    spec = load().spec
    given = Params(problem=spec.name, as_of=job["as_of"], candidates=competing(spec))
    return {stage: lineage.run_stage(stage, given, job["raw"], locks, settings().remote_url)}


def merge(parts: Iterable[Locks]) -> Locks:
    return {name: entry for part in parts for name, entry in part.items()}
