"""Plays the loop in containers once and breaks what it stands on; what happened is noted, the tests look at it.

The champion is of 12 April, as in the demo. Traffic of the eight days before the 23rd, whose night finds calibration
off and asks for a retraining. The night after that finds answers which are worse than a constant: the test has turned
them round in the database.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

from core.errors import StackError
from pipeline.airflow_api import AirflowApi
from pipeline.demo import LIFECYCLE, MONITOR, TRIGGERED
from tests.compose.load import Load, row
from tests.compose.project import Project

FIRST_DAY, TRAFFIC_FROM, DAYS_BEFORE, BAD_NIGHT = "2013-04-12", "2013-04-15", 7, "2013-04-24"
SPOIL = "UPDATE predictions SET score = 1 - score, model_version = '2' WHERE day >= '2013-04-15' AND role <> 'shadow'"
PLAY = ("python", "-m", "pipeline.containers.play")
PATIENCE_S = 900.0  # a busy machine is four times slower
BACK_S = 45.0  # within this a killed server answers again


@dataclass
class Seen:
    """What was observed from outside. Times are seconds since the start of `up`; killed_at is of time.monotonic."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, dict[str, float]] = field(default_factory=dict)  # by moment and service
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)  # what the server said, and since when it runs
    killed_at: float = 0.0
    printed: str = ""
    states: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)


class Story:
    def __init__(self, project: Project) -> None:
        self.project, self.seen = project, Seen()
        self.seen.seconds["build"] = project.build()
        self.started, self.began = time.monotonic(), time.time()
        self.airflow: AirflowApi
        self.load: Load

    def play(self) -> None:
        self.seen.seconds["healthy"] = self.project.up()
        self.project.watch()
        self.airflow = self.project.airflow()
        self.first_life_cycle()
        key = self.project.add_key("load", "predict")
        self.wait("the server takes the key", lambda: self.project.predicts(key, row(0)))
        with Load(self.project.url("LOOP_SERVING_PORT"), key) as self.load:
            self.finish(self.project.start("demo", *PLAY, str(DAYS_BEFORE), TRAFFIC_FROM))
            self.restart_the_database()
            self.drift_and_retraining()
            self.bad_answers_and_roll_back()
        self.wait("the spool is shipped", lambda: self.release().get("pending_rows") == 0)
        self.seen.memory_mb["at rest"] = self.project.memory()

    def first_life_cycle(self) -> None:
        """Airflow starts it by itself; the server takes what it made."""
        self.wait("Airflow starts the first life cycle", lambda: self.airflow.runs(LIFECYCLE))
        first = self.airflow.runs(LIFECYCLE)[-1]
        self.seen.states["first"] = self.airflow.wait(LIFECYCLE, first.run_id, timeout_s=PATIENCE_S).state
        self.wait("the model answers", lambda: self.project.predicts(self.key, row(0)))
        self.seen.seconds["first prediction"] = time.monotonic() - self.started
        self.note_release("first")

    def restart_the_database(self) -> None:
        self.project.compose("restart", "postgres")
        self.wait("Airflow answers", lambda: self.airflow.runs(LIFECYCLE))
        self.wait("its parts are back", lambda: self.healthy("airflow-scheduler") and self.healthy("airflow-dags"))

    def drift_and_retraining(self) -> None:
        """One more day; its night asks for a retraining. The scheduler dies in training, the server in the canary."""
        before = {run.run_id for run in self.airflow.runs(LIFECYCLE)}
        play = self.project.start("demo", *PLAY, "1")
        run_id = self.wait("Airflow retrains", lambda: self.new_run(before), play)
        self.wait("training runs", lambda: self.state(run_id, "train") == "running", play)
        self.seen.memory_mb["in training"] = self.project.memory()
        self.project.kill("airflow-scheduler")
        self.wait("the canary answers", lambda: self.release().get("canary"), play)
        self.note_release("canary")
        self.seen.killed_at = time.monotonic()
        self.project.kill("serving")
        self.wait("the server is back", lambda: self.release().get("champion"), play)
        self.seen.seconds["server back after"] = time.monotonic() - self.seen.killed_at
        self.note_release("back")
        run = self.airflow.wait(LIFECYCLE, run_id, timeout_s=PATIENCE_S)
        self.seen.states["second"] = run.state
        self.seen.attempts = {task.label: task.attempt for task in self.airflow.tasks(LIFECYCLE, run_id)}
        self.finish(play)
        self.note_release("promoted")

    def bad_answers_and_roll_back(self) -> None:
        """As if the new champion had answered the opposite for a week: the monitor's DAG takes it back."""
        self.project.sql(SPOIL)
        run = self.airflow.wait(MONITOR, self.airflow.trigger(MONITOR, {"as_of": BAD_NIGHT}), timeout_s=PATIENCE_S)
        self.seen.decision = self.airflow.result(MONITOR, run.run_id, "decide")
        self.note_release("rolled back")

    # inside -------------------------------------------------------------------------------------------------------

    @cached_property
    def key(self) -> str:
        """Of the stack itself: it may operate."""
        return self.project.secret("LOOP_SERVING_KEY")

    def release(self) -> dict[str, Any]:
        return self.project.release(self.key)

    def note_release(self, name: str) -> None:
        state = self.project.containers()["serving"]["State"]
        self.seen.releases[name] = self.release() | {"since": state["StartedAt"]}

    def new_run(self, before: set[str]) -> str | None:
        new = [run.run_id for run in self.airflow.runs(LIFECYCLE) if run.run_id not in before]
        return next((run_id for run_id in new if TRIGGERED in run_id), None)

    def state(self, run_id: str, task: str) -> str:
        """Of a task; of a group of tasks, "running" if any runs."""
        tasks = self.airflow.tasks(LIFECYCLE, run_id)
        states = {each.state for each in tasks if each.name.partition(".")[0] == task}
        return "running" if "running" in states else ", ".join(sorted(states))

    def healthy(self, service: str) -> bool:
        return bool(self.project.containers()[service]["State"]["Health"]["Status"] == "healthy")

    def finish(self, play: "subprocess.Popen[str]") -> None:
        """The traffic of the demo's container must end well."""
        printed, _ = play.communicate(timeout=PATIENCE_S)
        self.seen.printed += printed
        assert play.returncode == 0, printed[-4000:]

    def wait(self, what: str, asked: Callable[[], Any], play: "subprocess.Popen[str] | None" = None) -> Any:
        """Ask until the answer is true; return it. What cannot be asked at the moment is asked again."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.ask(asked)):
            assert time.monotonic() < deadline, f"not in {PATIENCE_S:.0f} s: {what}\n{self.seen}"
            if play is not None and play.poll() is not None:
                raise AssertionError(f"the traffic ended before: {what}\n{play.communicate()[0][-4000:]}")
            time.sleep(1)
        return found

    def ask(self, asked: Callable[[], Any]) -> Any:
        try:
            return asked()
        except (StackError, httpx.HTTPError):
            return None
