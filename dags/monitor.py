"""One day's monitoring: bring in the day and its matured labels, look at the evidence, decide, act.

*Retrain* updates RETRAIN, and Airflow starts the life cycle. *Roll back* goes to the registry at once.
"""

from datetime import date
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from core.config import settings
from dags import pods
from dags.assets import RETRAIN
from problems import load


@task
def ingest(**context: Any) -> dict[str, Any]:
    from pipeline import daily, schedule

    job = schedule.monitor_job(context)
    return {**job, **daily.ingest(date.fromisoformat(job["as_of"]))}


@task
def decide(job: Any) -> dict[str, Any]:
    from monitoring import nightly

    return nightly.decide(date.fromisoformat(job["as_of"]))


@task(outlets=[RETRAIN])
def act(job: Any, decision: Any, *, outlet_events: Any = None) -> None:
    if decision["decision"] == "roll back":
        from pipeline import release

        release.roll_back(decision["champion"], decision["reasons"])
    if decision["decision"] != "retrain":
        raise AirflowSkipException(f"{decision['decision']}: {'; '.join(decision['reasons'])}")
    outlet_events[RETRAIN].extra = {"as_of": job["as_of"], "reasons": decision["reasons"]}


@dag(
    schedule=CronTriggerTimetable(settings().nightly_monitor, timezone=load().spec.clock.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=pods.default_args(load().spec),
    params={"as_of": Param(None, type=["null", "string"], format="date", description="Default: today.")},
    tags=["closed-loop"],
)
def monitor() -> None:
    job = ingest()
    act(job, decide(job))


monitor()
