"""The first life cycle, once, as soon as Airflow is up: a new stack has no champion.

Every later one comes with the night or from the monitor. `loop up` and compose switch this on; the demo does not.
"""

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task

from core.config import settings

DAY = settings().first_day


@task.short_circuit
def without_champion() -> bool:
    from core.releases import ReleaseReader
    from problems import load

    return ReleaseReader(settings().mlflow_url, load().spec.name).release().champion is None


@dag(
    schedule="@once",
    catchup=False,
    default_args={"retries": 20, "retry_delay": timedelta(seconds=5)},  # until Airflow has read the other DAG
    tags=["closed-loop"],
)
def first() -> None:
    start = TriggerDagRunOperator(
        task_id="start", trigger_dag_id="lifecycle", conf={"as_of": DAY.isoformat() if DAY else None}
    )
    without_champion() >> start


first()
