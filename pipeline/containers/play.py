"""`python -m pipeline.containers.play`: the demo's days on the compose stack, from its first life cycle's day on.

It drives the servers from outside, as `loop demo` does, and stops nothing. Days that the monitor has judged already are
not played again, so a second start goes on where the first one ended.
"""

import os
import sys
import time
from datetime import date

from core import database, decisions
from core.config import settings
from core.errors import LoopError, StackError
from pipeline.airflow_api import AirflowApi
from pipeline.commands.console import complaints
from pipeline.commands.demo import say
from pipeline.demo import LIFECYCLE, Demo
from pipeline.stack import credentials
from problems import load

AIRFLOW_URL = "http://airflow-api:8080"
DAYS = 14  # where the problem has no demo of its own
PATIENCE_S = 120.0


def main() -> None:
    try:
        play(AirflowApi(AIRFLOW_URL, credentials.USER, os.environ[credentials.PASSWORD]))
    except LoopError as error:
        complaints.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


def play(airflow: AirflowApi) -> None:
    """Wait for the first life cycle, which Airflow starts by itself, then play. Raises StackError where it failed."""
    given, problem = settings(), load()
    engine = database.connect(given.store_url)
    run = first_run(airflow)
    demo = Demo(problem, engine, airflow, given.serving_url, say(time.monotonic()))
    airflow.wait(LIFECYCLE, run)
    judged = decisions.history(engine, problem.spec.name)
    first = judged[-1]["as_of"] if judged else date.fromisoformat(airflow.result(LIFECYCLE, run, "ingest")["as_of"])
    seen = demo.play(first, problem.spec.demo.days if problem.spec.demo else DAYS, run)
    if not seen.served:
        raise StackError("there is no first champion; Airflow's page of the run says why")
    if seen.failures:
        raise StackError(f"{len(seen.failures)} requests failed: {seen.failures[0]}")


def first_run(airflow: AirflowApi) -> str:
    """The oldest life cycle, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while not (runs := airflow.runs(LIFECYCLE)):
        if time.monotonic() > deadline:
            raise StackError(f"Airflow has started no life cycle in {PATIENCE_S:.0f} s; is the DAG `first` switched on?")
        time.sleep(1)
    return runs[-1].run_id


if __name__ == "__main__":
    main()
