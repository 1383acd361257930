"""One life cycle: ingest → validate → features → train → evaluate → refit → register → gate → release → deploy.

It runs every night, or when the monitor updates RETRAIN. The stages are those of dvc.yaml (a test compares); what a
step does is in pipeline.lifecycle.
"""

from typing import Any

from airflow.sdk import Param, PokeReturnValue, TaskGroup, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable

from core.config import settings
from dags import pods
from dags.assets import RETRAIN
from problems import competing, load

NIGHTLY = CronTriggerTimetable(settings().nightly, timezone=load().spec.clock.timezone)


@task
def ingest(**context: Any) -> dict[str, Any]:
    from pipeline import daily, schedule

    return daily.ingest_window(schedule.lifecycle_job(context))


@task
def stage(stage: str, job: Any, before: Any, trained: Any = ()) -> dict[str, Any]:
    from pipeline import stages

    return stages.run_stage(stage, job, [*before, *trained])


@task
def register(job: Any, before: Any, trained: Any) -> dict[str, Any]:
    from pipeline import lifecycle, stages

    locks = stages.merge([*before, *trained])
    return {"version": lifecycle.register(job, locks), "locks": locks}


@task
def gate(job: Any, registered: Any) -> dict[str, Any]:
    from pipeline import lifecycle

    return lifecycle.judge(job, registered["locks"], registered["version"])


@task
def release(job: Any, verdict: Any) -> str:
    from pipeline import release

    released = release.release(job, verdict["version"], verdict)
    if released == "kept out":
        raise AirflowSkipException(f"version {verdict['version']} is kept out: {verdict['reason']}")
    return released


@task.sensor(poke_interval=5, timeout=172800.0, mode=pods.WAITING)
def shadow(released: Any, job: Any, verdict: Any) -> PokeReturnValue:
    from pipeline import release

    judgement = release.leave_shadow(job, verdict["version"])
    return PokeReturnValue(is_done=judgement["state"] != "wait", xcom_value=judgement)


@task.sensor(poke_interval=5, timeout=172800.0, mode=pods.WAITING)
def canary(shadowed: Any, verdict: Any) -> PokeReturnValue:
    from pipeline import release

    judgement = release.judged(verdict["version"])
    return PokeReturnValue(is_done=judgement["state"] != "wait", xcom_value=judgement)


@task
def promote(job: Any, verdict: Any, judgement: Any) -> str | None:
    from pipeline import release

    return release.finish(job, verdict["version"], judgement)


@task
def deploy(champion: Any) -> str | None:
    from pipeline import deploy

    return deploy.deploy()


@dag(
    schedule=AssetOrTimeSchedule(timetable=NIGHTLY, assets=[RETRAIN]),  # type: ignore[list-item]
    catchup=False,
    max_active_runs=1,
    default_args=pods.default_args(load().spec),
    params={"as_of": Param(None, type=["null", "string"], format="date", description="Default: today.")},
    tags=["closed-loop"],
)
def lifecycle() -> None:
    spec, job = load().spec, ingest()
    validated = stage.override(task_id="validate")("validate", job, [])
    featured = stage.override(task_id="features")("features", job, [validated])
    data = [validated, featured]

    with TaskGroup("train"):  # a task for each candidate; on Kubernetes a pod with what this one needs
        trained = [
            stage.override(task_id=name, executor_config=pods.of(spec, name))(f"train@{name}", job, data)
            for name in competing(spec)
        ]
    evaluated = stage.override(task_id="evaluate")("evaluate", job, data, trained)
    every = pods.of(spec, *competing(spec))  # the winner, whichever it is, must fit
    refitted = stage.override(task_id="refit", executor_config=every)("refit", job, [*data, evaluated], trained)
    registered = register(job, [*data, evaluated, refitted], trained)
    verdict = gate(job, registered)
    judgement = canary(shadow(release(job, verdict), job, verdict), verdict)
    deploy(promote(job, verdict, judgement))


lifecycle()
