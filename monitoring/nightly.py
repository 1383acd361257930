"""The night's decision on the champion that the registry names. Reads the registry; changes nothing in it."""

import json
import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import database
from core.config import settings
from core.releases import ReleaseReader
from core.scored import Trivial
from monitoring.policy import Decision
from monitoring.run import Champion, run
from problems import load

if TYPE_CHECKING:
    import pandas as pd

FACTS, REFERENCE = "training.json", "reference.parquet"


def decide(as_of: date) -> dict[str, Any]:
    """Judge the champion as of this night; returns the decision, its reasons and the version that was judged."""
    given, problem = settings(), load()
    reader = ReleaseReader(given.mlflow_url, problem.spec.name)
    champion, reference = _champion(reader, given.home.resolve() / "monitoring")
    engine = database.connect(given.store_url)
    if given.reports_dir is not None:
        decision = run(engine, problem, as_of, champion, reference, given.reports_dir)
    else:
        with tempfile.TemporaryDirectory() as folder:
            keep = partial(_in_mlflow, given.mlflow_url, problem.spec.name)
            decision = run(engine, problem, as_of, champion, reference, Path(folder), keep)
    judged = champion.version if champion else None
    return {"decision": decision.decision, "reasons": decision.reasons, "champion": judged}


def _in_mlflow(url: str, problem: str, html: Path, decision: Decision) -> str:
    from core.registry import Registry

    tags = {"decision": decision.decision, "reasons": "; ".join(decision.reasons)[:4000]}
    return Registry(url, problem).keep_report(html.stem, [html, html.with_suffix(".json")], tags)


def _champion(reader: ReleaseReader, cache: Path) -> "tuple[Champion, pd.DataFrame] | tuple[None, None]":
    import pandas as pd

    version = reader.release().champion
    if version is None:
        return None, None
    folder = reader.fetch(version, cache, (FACTS, REFERENCE))
    facts, tags = json.loads((folder / FACTS).read_text()), reader.tags(version)
    champion = Champion(
        version=version,
        trained_through=date.fromisoformat(facts["last_day"]),
        released_as_of=date.fromisoformat(tags["as_of"]),
        trivial=Trivial.model_validate(facts["trivial"]),
        previous=tags.get("replaced") or None,
    )
    return champion, pd.read_parquet(folder / REFERENCE)
