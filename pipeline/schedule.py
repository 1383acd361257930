"""What an Airflow run is about: which day, and why. Takes the task context as a plain mapping; imports no Airflow."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from core.clock import replayed
from problems import load


def lifecycle_job(context: Mapping[str, Any]) -> dict[str, Any]:
    """The job of a life cycle: id, day, reason. The day is the caller's, the monitor's, or the schedule's."""
    asked = [event.extra for events in (context.get("triggering_asset_events") or {}).values() for event in events]
    asked = [extra for extra in asked if extra.get("as_of")]
    if asked and not context["params"]["as_of"]:
        newest = max(asked, key=lambda extra: str(extra["as_of"]))
        return _job(context, newest["as_of"], f"monitor: {'; '.join(newest.get('reasons', []))}")
    return _job(context, _day(context), "asked for by hand" if context["params"]["as_of"] else "nightly")


def monitor_job(context: Mapping[str, Any]) -> dict[str, Any]:
    return _job(context, _day(context), "nightly")


def _day(context: Mapping[str, Any]) -> str:
    asked: str | None = context["params"]["as_of"]
    run = context["dag_run"]
    moment, clock = run.logical_date or run.run_after, load().spec.clock
    return asked or replayed(clock, moment.astimezone(ZoneInfo(clock.timezone)).date()).isoformat()


def _job(context: Mapping[str, Any], as_of: str, reason: str) -> dict[str, Any]:
    return {"lifecycle": context["dag_run"].run_id, "as_of": date.fromisoformat(as_of).isoformat(), "reason": reason}
