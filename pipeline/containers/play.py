"""`python -m pipeline.containers.play [DAYS [FIRST]]`: days of traffic, from that of the first life cycle on.

It drives the servers from outside, as `loop demo` does, and stops nothing. Days that the monitor has judged already are
not played again, so a second start goes on where the first one ended.
"""

import sys
import time
from datetime import date

from core import database, decisions
from core.config import settings
from core.errors import LoopError, StackError
from pipeline.airflow_api import AirflowApi
from pipeline.commands.console import complaints
from pipeline.commands.demo import say
from pipeline.containers import inside
from pipeline.demo import LIFECYCLE, Demo
from problems import load

DAYS = 14  # where the problem has no demo of its own
PATIENCE_S = 120.0


def main() -> None:
    try:
        days = int(sys.argv[1]) if sys.argv[1:] else None
        first = date.fromisoformat(sys.argv[2]) if sys.argv[2:] else None
        play(inside.airflow(), days, first)
    except LoopError as error:
        complaints.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


def play(airflow: AirflowApi, days: int | None = None, first: date | None = None) -> None:
    """Wait for the first life cycle, which Airflow starts by itself, then play. Raises StackError where it failed.

    Without `days` as many as the problem's demo has.
    """
    given, problem = settings(), load()
    engine = database.connect(given.store_url)
    run = first_run(airflow)
    demo = Demo(problem, engine, airflow, given.serving_url, say(time.monotonic()))
    airflow.wait(LIFECYCLE, run)
    if first is None:
        judged = decisions.history(engine, problem.spec.name)
        first = judged[-1]["as_of"] if judged else date.fromisoformat(airflow.result(LIFECYCLE, run, "ingest")["as_of"])
    span = problem.spec.demo.days if problem.spec.demo else DAYS
    seen = demo.play(first, days or span, run)
    if not seen.served:
        raise StackError("there is no first champion; Airflow's page of the run says why")
    if seen.failures:
        raise StackError(f"{len(seen.failures)} requests failed: {seen.failures[0]}")


def first_run(airflow: AirflowApi) -> str:
    """The oldest life cycle, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while not (runs := airflow.runs(LIFECYCLE)):
        if time.monotonic() > deadline:
            raise StackError(
                f"Airflow has started no life cycle in {PATIENCE_S:.0f} s; its page of the DAG `first` says why"
            )
        time.sleep(1)
    return runs[-1].run_id


if __name__ == "__main__":
    main()
