"""The demo: the whole loop on real data, a few weeks in a few minutes, driven from outside over the servers' APIs.

It starts a stack of its own, asks Airflow for the first life cycle, then plays the days: each night the monitor
decides, each day has its traffic. It decides nothing itself; at the end it checks that every transition was seen.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from rich.markup import escape
from sqlalchemy import Engine

from core import database, decisions, schema
from core.config import Settings
from core.errors import StackError
from core.registry import Event
from core.releases import Release
from pipeline.airflow_api import RUN_TIMEOUT_S, AirflowApi, Run, Task
from pipeline.deploy.local import LocalTarget
from pipeline.replay import Traffic, replay
from pipeline.stack.stack import Stack
from problems import Problem

LIFECYCLE, MONITOR = "lifecycle", "monitor"
TRIGGERED = "asset_triggered"
Say = Callable[[str], None]


@dataclass
class Seen:
    """What the demo observed from outside."""

    traffic: dict[date, Traffic] = field(default_factory=dict)
    served: list[Release] = field(default_factory=list)
    retrainings: list[Run] = field(default_factory=list)
    told: set[tuple[str, str]] = field(default_factory=set)  # (run, task) that ended

    @property
    def failures(self) -> list[str]:
        return [failure for day in self.traffic.values() for failure in day.failures]


@dataclass(frozen=True)
class Demo:
    """Plays days on servers that run. `alive` is called between looks and may raise (Stack.check)."""

    problem: Problem
    engine: Engine
    airflow: AirflowApi
    serving_url: str
    say: Say
    alive: Callable[[], None] = lambda: None

    def play(self, first: date, days: int, run: str | None = None) -> Seen:
        """The first life cycle as of `first`, then that many days of traffic, each followed by its night.

        With `run`, that life cycle has been started already. Without a first champion there is nothing to play.
        """
        seen = Seen()
        self.say(f"[bold]{first}[/bold] first life cycle")
        self._finish(LIFECYCLE, run or self.airflow.trigger(LIFECYCLE, {"as_of": str(first)}), seen)
        self._note_release(seen)
        if not seen.served:
            return seen
        for day in (first + timedelta(days=i) for i in range(days)):
            retraining = self._night(day, seen) if day > first else None
            self._day(day, seen, retraining)
            if retraining:
                self._finish(LIFECYCLE, retraining.run_id, seen)
                self._note_release(seen)
        self._night(first + timedelta(days=days), seen, last=True)
        return seen

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision of the monitor, oldest first."""
        return decisions.history(self.engine, self.problem.spec.name)

    def _night(self, day: date, seen: Seen, last: bool = False) -> Run | None:
        """Run the monitor; when it asked for a retraining, wait until what Airflow's own run of it made is on trial."""
        before = {run.run_id for run in self.airflow.runs(LIFECYCLE)}
        self._finish(MONITOR, self.airflow.trigger(MONITOR, {"as_of": str(day)}))
        made = self.decisions()[-1]
        self.say(f"[bold]{day}[/bold] night: {made['decision']}, {made['reasons'][0]}")
        if made["decision"] != "retrain":
            return None
        run = self._triggered(before)
        seen.retrainings.append(run)
        if last:
            self._finish(LIFECYCLE, run.run_id, seen)
            return None
        self._until(run, "release", seen)
        return run

    def _day(self, day: date, seen: Seen, retraining: Run | None) -> None:
        """The day's traffic. A challenger gets the first rows in shadow, and the others as canary."""
        trial: dict[str, Any] = {}
        if retraining:
            trial = {"first": 2 * self.problem.spec.canary.min_requests}
            trial |= {"between": lambda: self._until(retraining, "shadow", seen)}
        traffic = replay(self.engine, self.problem, self.serving_url, day, **trial)
        seen.traffic[day] = traffic
        failed = f", [red]{len(traffic.failures)} failed[/red]" if traffic.failures else ""
        self.say(f"[bold]{day}[/bold] day: {traffic.requests} requests, {traffic.rows} rows answered{failed}")

    def _triggered(self, before: set[str], timeout_s: float = 60.0) -> Run:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            new = [run for run in self.airflow.runs(LIFECYCLE) if run.run_id not in before]
            if new:
                self.say(f"  Airflow started {new[0].run_id.partition('__')[0]} by itself")
                return new[0]
            time.sleep(0.5)
        raise StackError(f"the monitor asked for a retraining and Airflow started none in {timeout_s:.0f} s")

    def _until(self, run: Run, name: str, seen: Seen, timeout_s: float = RUN_TIMEOUT_S) -> None:
        """Wait until this task has ended, and say what is served then."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            tasks = self.airflow.tasks(LIFECYCLE, run.run_id)
            for task in tasks:
                self._tell(run.run_id, task, seen)
            states = {task.name: task.state for task in tasks}
            if states.get(name) in ("success", "skipped", "failed", "upstream_failed"):
                self._note_release(seen)
                return
            self.alive()
            time.sleep(0.5)
        raise StackError(f"the task {name} of {run.run_id} did not end in {timeout_s:.0f} s")

    def _tell(self, run_id: str, task: Task, seen: Seen) -> None:
        """Say once that a task has ended."""
        if task.state in ("success", "failed", "skipped") and (run_id, task.label) not in seen.told:
            seen.told.add((run_id, task.label))
            self.say(f"  {escape(f'{task.label:<24}')} {task.state} {task.seconds or 0:5.1f} s")

    def _finish(self, dag: str, run_id: str, seen: Seen | None = None) -> None:
        """Wait for a run to end well, telling its tasks when `seen` is given."""
        tell = (lambda task: self._tell(run_id, task, seen)) if seen else None
        self.airflow.wait(dag, run_id, on_change=tell, alive=self.alive)

    def _note_release(self, seen: Seen) -> None:
        now = LocalTarget(self.serving_url).status()
        if now is not None and now.champion and (not seen.served or seen.served[-1] != now):
            seen.served.append(now)
            canary = f", version {now.canary} answers {now.percent:g} %" if now.canary else ""
            shadow = f", version {now.in_shadow} in shadow" if now.in_shadow else ""
            self.say(f"  [green]served: champion version {now.champion}{canary}{shadow}[/green]")


def clean(given: Settings) -> None:
    """Forget an earlier demo: its folder is the demo's own. Raises StackError while one runs."""
    if Stack(given).is_running():
        raise StackError(f"a demo is running in {given.home}; wait for it, or stop it with Ctrl-C where it runs")
    shutil.rmtree(given.home, ignore_errors=True)


def missing(seen: Seen, made: list[dict[str, Any]], events: list[Event], span: schema.Demo) -> list[str]:
    """Transitions that were not observed, in words; an empty list is a loop that closed."""
    if not seen.served:
        return [f"a first champion: {event.reason}" for event in events[-1:]] or ["a first champion"]
    kinds = [row["decision"] for row in made]
    by_airflow = [run for run in seen.retrainings if TRIGGERED in run.run_id]
    checks = {
        f"{span.days} nights were judged": len(made) >= span.days,
        "some nights were ignored": "ignore" in kinds,
        "the monitor asked for a retraining": "retrain" in kinds or not span.expect_retrain,
        "Airflow started a life cycle after every retrain decision": len(by_airflow) == kinds.count("retrain"),
        "every challenger was promoted, or kept out with reasons": all(_ended(run, events) for run in seen.retrainings),
        "no request failed": not seen.failures,
    }
    return [what for what, held in checks.items() if not held]


def _ended(run: Run, events: list[Event]) -> bool:
    """Whether this life cycle came to its end: what it made was promoted or kept out, and it says why."""
    mine = (event for event in events if event.actor == f"lifecycle {run.run_id}")
    return any(event.action in ("promote", "keep out") and event.reason for event in mine)


def open_engine(stack: Stack) -> Engine:
    return database.connect(stack.settings.store_url)
