"""Data by version: the exact data of a registered model, and a day's window in a developer's checkout."""

import re
import tempfile
from datetime import date
from pathlib import Path

import yaml

from core import database, lineage
from core.config import ROOT, settings
from core.errors import DataError
from core.releases import ReleaseReader
from pipeline import raw
from problems import load

LOCK = "dvc.lock"
TRAINING = ("data/validation.json", "data/features.parquet")


def restore(version: str, folder: Path) -> str:
    """Bring a version's raw partitions and training table into `folder`, from the DVC remote alone.

    Returns the data version. The lock comes with the registered version; it lies beside the data afterwards.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; name a new folder, so that nothing in it is mixed up")
    given = settings()
    reader = ReleaseReader(given.mlflow_url, load().spec.name)
    with tempfile.TemporaryDirectory() as cache:
        text = (reader.fetch(version, Path(cache), (LOCK,)) / LOCK).read_text()
    locks = lineage.from_lock_file(text)
    entry = lineage.raw_entry(locks)
    lineage.pull(folder.resolve(), [entry, *lineage.outputs(locks, *TRAINING)], given.remote_url)
    (folder / LOCK).write_text(text)
    return str(entry["md5"])


def check_out(as_of: date) -> str:
    """Put the window before `as_of` into data/raw of this checkout and set as_of, ready for `dvc repro`."""
    given, problem = settings(), load()
    engine = database.connect(given.store_url)
    raw.ingest(
        engine, problem, given.remote_url, raw.missing_days(engine, problem, *raw.window(problem.spec.split, as_of))
    )
    entry = raw.data_version(engine, problem, given.remote_url, as_of)
    lineage.pull(ROOT, [entry], given.remote_url)
    (ROOT / f"{lineage.RAW}.dvc").write_text(yaml.safe_dump({"outs": [{**entry, "path": Path(lineage.RAW).name}]}))
    path = ROOT / "params.yaml"
    path.write_text(re.sub(r"(?m)^as_of:.*$", f'as_of: "{as_of}"', path.read_text()))
    return str(entry["md5"])


def ingest(days: list[date]) -> raw.Ingested:
    """Fetch these days again. A day whose rows changed makes a new data version; the result says which."""
    given, problem = settings(), load()
    return raw.ingest(database.connect(given.store_url), problem, given.remote_url, days)
