"""What the stages of one life cycle made, brought into a folder, and the gate's evidence made of it."""

import json
import re
import zlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage
from core.columns import Columns
from core.errors import LoopError, ModelRefused
from core.lineage import Locks
from core.registry import Registry
from core.releases import BUNDLE
from core.runtime import OnnxModel, digest
from core.schema import ProblemSpec
from core.task import of
from pipeline import gate
from pipeline.evaluate import BASELINE, from_column
from pipeline.features import CLUSTER, DAY, ID, holdout_rows, inputs
from pipeline.train import FACTS, ROWS

LONGEST = 60  # letters of a slice's column or value in the name of an MLflow metric


class Results:
    """What the stages of one life cycle made, pulled into a folder."""

    def __init__(self, folder: Path, locks: Locks, remote: str) -> None:
        trained = [name.partition("@")[2] for name in locks if name.startswith("train@")]
        paths = ["data/features.parquet", "data/validation.json", "evaluation", "refit"]
        paths += [path for name in trained for path in (f"models/{name}", f"timings/{name}.json")]
        lineage.pull(folder, lineage.outputs(locks, *paths), remote)
        self.folder, self.refit, self.candidates = folder, folder / "refit", sorted(trained)
        self.comparison = json.loads((folder / "evaluation/metrics.json").read_text())
        self.winner: str = self.comparison["winner"]

    def cost(self, name: str) -> dict[str, float]:
        return dict(json.loads((self.folder / f"timings/{name}.json").read_text()))

    def facts(self, folder: Path) -> dict[str, Any]:
        return dict(json.loads((folder / FACTS).read_text()))

    def metrics(self, name: str) -> dict[str, float]:
        """Flat, as MLflow wants them: METRIC, METRIC_low, METRIC_high, and what the candidate cost."""
        described = self.comparison["metrics"].get(name, {})
        slices = self.comparison["slices"] if name == self.winner else {}
        return flat(described, slices) | self.cost(name)

    def tags(self, name: str) -> dict[str, str]:
        return {"refused": self.comparison["refused"].get(name, ""), "winner": str(name == self.winner).lower()}


def flat(
    described: Mapping[str, Mapping[str, float | None]], slices: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """METRIC, METRIC_low, METRIC_high where they are known, and slice/COLUMN/VALUE/METRIC."""
    ends = {f"{m}_{end}".removesuffix("_value"): v for m, found in described.items() for end, v in found.items()}
    known = {name: value for name, value in ends.items() if value is not None}
    for slice_name, values in slices.items():
        column, _, value = slice_name.partition("=")
        known |= {f"slice/{legal(column)}/{legal(value)}/{m}": v for m, v in values.items()}
    return known


def legal(text: str) -> str:
    """One part of an MLflow metric's name: letters, digits, and _-. and spaces. What must change gets a checksum of
    what it was, so that no two names become one."""
    clean = re.sub(r"[^A-Za-z0-9_\-. ]", "_", text)[:LONGEST]
    return text if clean == text and text.strip(".") else f"{clean}-{zlib.crc32(text.encode()):08x}"


def evidence(spec: ProblemSpec, registry: Registry, found: Results, as_of: date, folder: Path) -> gate.Evidence:
    held_out = holdout_rows(spec, pd.read_parquet(found.folder / "data/features.parquet"), as_of)
    scored = pd.read_parquet(found.folder / "evaluation/predictions.parquet")
    facts, judged = found.facts(found.refit), found.folder / "models" / found.winner
    released = OnnxModel.load(found.refit, spec) if facts["refused"] is None else None
    columns = inputs(spec, held_out)
    gathered: dict[str, Any] = {
        "y": scored[spec.target].to_numpy(),
        "days": scored[DAY].to_numpy(),
        "clusters": scored[CLUSTER].to_numpy(),
        "hashes": pd.util.hash_array(scored[ID].to_numpy(object), categorize=False),
        "challenger": from_column(scored[found.winner]),
        "baseline": from_column(scored[BASELINE]),
        "scale": found.facts(judged)["trivial"]["scale"],
        "trained_on": np.load(judged / ROWS),
        "parity": facts["parity"],
        "refused": facts["refused"],
        "p99_ms": found.cost(found.winner)["p99_ms"],
        "refit_mean": float(of(spec).score(released.predict(columns)).mean()) if released else float("nan"),
        "slices": found.comparison["slices"],
        "digest": digest(found.refit) if released else "",
        "newest_day": _newest_quarantined(found, as_of),
    }
    return gate.Evidence(**gathered, **_champion(registry, spec, columns, folder))


def _champion(registry: Registry, spec: ProblemSpec, inputs: Columns, folder: Path) -> dict[str, Any]:
    """The champion's predictions on the holdout and the rows it was trained on; nothing when there is none."""
    version = registry.release().champion
    if version is None:
        return {}
    bundle = registry.download(version, BUNDLE, folder)
    model = _loaded(version, bundle, spec)
    unknown = [name for name in model.contract.features if name not in inputs]
    if unknown:
        raise _not_comparable(version, f"needs features that are no longer made ({', '.join(unknown)})")
    return {
        "champion": model.predict(inputs),
        "champion_trained_on": np.load(bundle / ROWS),
        "champion_digest": digest(bundle),
    }


def _loaded(version: str, bundle: Path, spec: ProblemSpec) -> OnnxModel:
    try:
        return OnnxModel.load(bundle, spec)
    except ModelRefused as reason:
        raise _not_comparable(version, f"does not load ({reason})") from reason


def _not_comparable(version: str, why: str) -> LoopError:
    return LoopError(
        f"champion {version} {why}, so it cannot be compared. Look at the challenger's metrics in MLflow and promote "
        f"it by hand: loop promote VERSION"
    )


def _newest_quarantined(found: Results, as_of: date) -> str | None:
    quarantined = json.loads((found.folder / "data/validation.json").read_text())["quarantined"]
    newest = str((pd.Timestamp(as_of) - pd.Timedelta(days=1)).date())
    if newest not in quarantined:
        return None
    return f"the newest partition, {newest}, is quarantined: {'; '.join(quarantined[newest])}"
