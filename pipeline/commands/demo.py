"""`loop demo`: the whole loop, on a stack of its own, with a report at the end."""

import time
from typing import TYPE_CHECKING, Any

import typer

from core.errors import ConfigError
from pipeline.commands.console import complaints, out

if TYPE_CHECKING:
    from pathlib import Path

    from core.config import Settings
    from core.registry import Registry
    from pipeline.demo import Demo, Seen
    from pipeline.stack.stack import Stack
    from problems import Problem


def demo() -> None:
    """Run the whole life cycle on real data and show what happened. Takes some minutes; stops what it started."""
    import os

    from core.registry import Registry
    from pipeline import demo as driver
    from pipeline.stack.memory import MemorySampler
    from pipeline.stack.stack import Stack
    from problems import load

    problem, given = load(), _settings()
    if problem.spec.demo is None:
        raise ConfigError(f"problems/{problem.spec.name}/problem.yaml has no demo: {{first_day, days}}")
    driver.clean(given)
    started = time.monotonic()
    out.print(f"Starting Airflow, MLflow and the model server in {given.home}")
    with Stack(given, progress=_healthy) as stack, MemorySampler(lambda: [*stack.pids, os.getpid()]) as memory:
        os.environ.update(stack.env)
        try:
            player, seen = _play(stack, problem, started)
            registry = Registry(stack.urls["mlflow"], problem.spec.name)
            report = _report(stack.home, player, registry, time.monotonic() - started, memory.peak_bytes)
            lacking = driver.missing(seen, player.decisions(), registry.history(), problem.spec.demo)
        finally:
            out.print("Stopping what was started")
    _conclude(seen, lacking, report, time.monotonic() - started, memory.peak_bytes)


def _play(stack: "Stack", problem: "Problem", started: float) -> "tuple[Demo, Seen]":
    from pipeline import demo as driver

    assert problem.spec.demo is not None
    with stack.airflow() as airflow:
        for dag in (driver.LIFECYCLE, driver.MONITOR):
            airflow.unpause(dag)
        player = driver.Demo(
            problem, driver.open_engine(stack), airflow, stack.urls["serving"], say(started), stack.check
        )
        return player, player.play(problem.spec.demo.first_day, problem.spec.demo.days)


def _settings() -> "Settings":
    """The demo's own folder, store, keys and remote, whatever the environment says; nothing nightly for hours."""
    from datetime import UTC, datetime, timedelta

    from core.config import ROOT, settings

    home, hour = ROOT / ".loop" / "demo", (datetime.now(UTC) + timedelta(hours=12)).hour
    own = {
        "home": home,
        "database_url": f"sqlite:///{home}/loop.db",
        "dvc_remote": str(home / "remote"),
        "reports": str(home / "reports"),
        "keys": str(home / "keys.json"),
        "nightly": f"0 {hour} * * *",
        "nightly_monitor": f"30 {hour} * * *",
    }
    return settings().model_copy(update=own)


def _report(home: "Path", player: "Demo", registry: "Registry", seconds: float, peak_bytes: int) -> "Path":
    """Print the timeline and write the page, both from what the platform itself recorded."""
    from pipeline.report import candidates, page, timeline

    spec = player.problem.spec
    out.print()
    out.print(candidates.table(registry.lifecycles()[-1].comparison, spec))
    out.print()
    out.print(timeline.table(timeline.timeline(player.engine, spec), spec))
    facts = {"Duration": f"{seconds / 60:.1f} min", "Peak memory": f"{peak_bytes / 2**30:.2f} GB"}
    return page.write(home / "report.html", player.engine, registry, spec, facts)


def _conclude(seen: "Seen", lacking: list[str], report: "Path", seconds: float, peak_bytes: int) -> None:
    out.print(f"\n{seconds / 60:.1f} minutes, at most {peak_bytes / 2**30:.2f} GB of memory for everything together")
    out.print(f"The report: file://{report}", soft_wrap=True)
    for what in lacking:
        complaints.print(f"not seen: {what}", style="red")
    for failure in seen.failures[:10]:
        complaints.print(failure, style="red")
    if lacking:
        raise typer.Exit(1)


def _healthy(name: str, seconds: float) -> None:
    out.print(f"  {name} is healthy after {seconds:.0f} s")


def say(started: float) -> Any:
    def with_seconds(text: str) -> None:
        out.print(f"[dim]{time.monotonic() - started:5.0f} s[/dim]  {text}", soft_wrap=True)

    return with_seconds
