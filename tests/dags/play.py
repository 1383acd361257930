"""Plays the DAGs in one Airflow process and prints what happened as JSON: Airflow takes ten seconds to start, and it
rearranges logging, so it stays out of the tests' own process.

    python -m tests.dags.play SERVING_URL

Every task finds empty folders. Uses the settings of the environment; the servers are there already.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx

CANDIDATES = ["logistic", "hgb"]
FIRST, SERVED, LATER = date(2013, 2, 6), date(2013, 2, 7), date(2013, 3, 8)
HEAVY = {"pandas", "sklearn", "torch", "evidently", "mlflow", "dvc", "skl2onnx", "onnxruntime"}
POKE_S = 1


def main(serving_url: str) -> None:
    few_candidates()
    bag, loaded = load_dags()
    out: dict[str, Any] = {"heavy": sorted(HEAVY & loaded), "errors": {str(k): v for k, v in bag.import_errors.items()}}
    out["dags"] = {name: described(dag) for name, dag in bag.dags.items()}
    lifecycle, monitor = bag.dags["lifecycle"], bag.dags["monitor"]
    pods = EmptyFolders()
    for task in (*lifecycle.tasks, *monitor.tasks):
        task.on_execute_callback = [pods]
    for sensor in ("shadow", "canary"):
        lifecycle.get_task(sensor).poke_interval = POKE_S
    replay_day = replayer(serving_url)

    out["first"] = run(lifecycle, FIRST)
    out["again"] = registered_again(out["first"]["id"], FIRST)
    out["traffic"] = replay_day(FIRST)
    out["calm"] = run(monitor, SERVED)
    out["nightly"] = run(lifecycle, FIRST)  # the same day once more: nothing is new
    out["unlucky"] = replay_day(date(2013, 3, 7))
    out["aged"] = run(monitor, LATER)
    out["events"] = asset_events()
    with steady_traffic(serving_url, LATER):
        out["second"] = run(lifecycle, LATER)
    out["pods"] = pods.tasks
    print(json.dumps(out))


def few_candidates() -> None:
    """Two that fit fast, instead of all of the problem's; before anything imports `competing` by name."""
    import problems

    problems.competing = lambda spec: CANDIDATES


class EmptyFolders:
    """What a new pod finds: nothing. The folders of the task before are gone, as with its pod."""

    def __init__(self) -> None:
        self.place = tempfile.mkdtemp(prefix="pods-")
        self.tasks = 0

    def __call__(self, _: Any) -> None:
        shutil.rmtree(self.place)
        self.tasks += 1
        for name in ("home", "tmp"):
            Path(self.place, str(self.tasks), name).mkdir(parents=True)
        os.environ["LOOP_HOME"] = f"{self.place}/{self.tasks}/home"
        tempfile.tempdir = f"{self.place}/{self.tasks}/tmp"


def load_dags() -> tuple[Any, set[str]]:
    import airflow.sdk  # noqa: F401  (what Airflow itself imports is not the DAGs' doing)
    from airflow.dag_processing.dagbag import DagBag

    before = set(sys.modules)
    bag = DagBag()
    return bag, set(sys.modules) - before


def described(dag: Any) -> dict[str, Any]:
    condition = dag.timetable.asset_condition
    assets = [asset.name for _, asset in condition.iter_assets()] if condition else []
    return {
        "tasks": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
        "retries": sorted({task.retries for task in dag.tasks}),
        "assets": assets,
        "cron": getattr(dag.timetable, "summary", dag.schedule),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
    }


def run(dag: Any, as_of: date) -> dict[str, Any]:
    started = time.monotonic()
    done = dag.test(run_conf={"as_of": as_of.isoformat()})
    states = {f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id: ti.state for ti in tasks(done)}
    return {"id": done.run_id, "state": done.state, "tasks": states, "seconds": time.monotonic() - started}


def tasks(done: Any) -> list[Any]:
    return list(done.get_task_instances())


def registered_again(run_id: str, as_of: date) -> dict[str, Any]:
    """What Airflow does when the task `register` dies after its work and is retried."""
    import tempfile

    from core import lineage
    from core.config import settings
    from core.registry import Registry
    from pipeline import lifecycle

    registry = Registry(settings().mlflow_url, "flights")
    before = registry.release().champion
    assert before is not None
    with tempfile.TemporaryDirectory() as folder:
        locks = lineage.from_lock_file(registry.download(before, "dvc.lock", Path(folder)).read_text())
    job = {"lifecycle": run_id, "as_of": as_of.isoformat(), "reason": "retry", "raw": lineage.raw_entry(locks)}
    version = lifecycle.register(job, locks)
    return {"before": before, "version": version, "release": registry.release().__dict__, "stages": list(locks)}


def replayer(url: str) -> Any:
    from core.config import settings
    from core.database import connect
    from pipeline.replay import replay
    from problems import load

    engine, problem = connect(settings().store_url), load()
    return lambda day: replay(engine, problem, url, day).__dict__


def asset_events() -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(select(AssetModel.name, AssetEvent.extra).join(AssetEvent.asset)).all()
        return [{"asset": name, "extra": extra} for name, extra in found]


@contextmanager
def steady_traffic(url: str, day: date) -> Iterator[None]:
    """Requests of the day over and over, so that a canary has something to answer."""
    from core.columns import to_rows
    from problems import load

    problem, stop = load(), threading.Event()
    rows = to_rows(problem.spec, problem.data.partition(day)["events"])

    def send() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.wait(1):
                client.post("/predict/batch", json={"rows": rows}).raise_for_status()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    yield
    stop.set()
    sender.join()


if __name__ == "__main__":
    main(sys.argv[1])
