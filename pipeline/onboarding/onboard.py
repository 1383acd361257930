"""The whole of `loop init`: infer, write, and prove that what was written works, or leave nothing behind."""

import logging
from datetime import date
from pathlib import Path

import problems
from core.columns import from_frame
from core.errors import ConfigError, DataError
from pipeline import features, raw, validate
from pipeline.onboarding.names import problem_name
from pipeline.onboarding.plan import Plan, Wishes, infer
from pipeline.onboarding.write import written
from problems import load

log = logging.getLogger(__name__)


def onboard(wishes: Wishes, name: str | None, today: date, force: bool = False) -> Plan:
    """Write problems/NAME and return what was inferred. Raises a LoopError, and then nothing has changed."""
    name = problem_name(name or _name(wishes))
    if (folder := problems.FOLDER / name).exists() and not force:
        raise ConfigError(f"{folder} exists; --force replaces it, --name N makes another one")
    plan = infer(wishes, name, today)
    with written(plan, problems.FOLDER):
        prove(plan)
    return plan


def prove(plan: Plan) -> None:
    """Read the demo's days as the loop will: valid, and with every feature. Raises DataError with the reasons."""
    problem = load(plan.name)
    days = [day for day in plan.arrangement.days.all if day >= plan.rhythm.demo_first]
    with plan.source.as_setting():
        partitions = {str(day): problem.data.partition(day) for day in days}
    bad = {day: reasons for day, reasons in validate.check(problem.spec, partitions).items() if reasons}
    if bad:
        day, reasons = next(iter(bad.items()))
        raise DataError(f"{len(bad)} of {len(days)} days would be quarantined; {day}: {'; '.join(reasons)}")
    events = from_frame(problem.spec, partitions[str(days[0])][raw.EVENTS])
    features.features(problem, events, {})
    log.info("%d days are valid", len(days))


def _name(wishes: Wishes) -> str:
    """The file's, the folder's or the table's."""
    if wishes.table:
        return wishes.table.rpartition(".")[2]
    return Path(wishes.data.partition("?")[0]).name.partition(".")[0]
