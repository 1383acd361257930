"""Everything that is inferred about a table, in one object: what `write` renders and `say` prints.

The order of the decisions is here; each is taken in the module of its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from core.days import ARRIVED_AT
from core.errors import DataError
from core.schema import TaskName
from pipeline.onboarding import arrange, candidates, kinds, roles, source, target
from pipeline.onboarding.arrange import Arrangement
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.names import chosen, identifiers
from pipeline.onboarding.rhythm import Rhythm
from pipeline.onboarding.roles import MADE_ID, Role
from pipeline.onboarding.source import Source
from pipeline.onboarding.target import Target

SEASONS_DAYS = 180  # from this span on the month is a feature: it stands for a season, not for a few days


@dataclass(frozen=True)
class Wishes:
    """What was said on the command line. Columns go by their name in the table or by their identifier."""

    data: str
    target: str
    time: str | None = None
    id: str | None = None
    group: str | None = None
    table: str | None = None
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    task: TaskName | None = None


@dataclass(frozen=True)
class Plan:
    """One problem as inferred. `columns` hold every column of the table but the target, by identifier."""

    name: str
    source: Source
    decimal: str
    columns: dict[str, Column]
    roles: dict[str, Role]
    target: Target
    target_name: str
    id: str
    arrangement: Arrangement
    rhythm: Rhythm
    candidates: dict[str, dict[str, Any]]
    today: date
    notes: list[str] = field(default_factory=list)

    @property
    def time(self) -> str:
        """The problem's time column: one of the table's, or the moment of arrival."""
        given = self.arrangement
        return ARRIVED_AT if given.batch or given.time is None else given.time

    @property
    def requested(self) -> dict[str, Column]:
        """The table's columns that become columns of the problem."""
        return {name: self.columns[name] for name, role in self.roles.items() if role.use != roles.LEFT_OUT}

    @property
    def features(self) -> dict[str, str]:
        """Feature -> kind."""
        return {name: kind for role in self.roles.values() for name, kind in role.features.items()}

    @property
    def slices(self) -> list[str]:
        """A few categories with a few values."""
        few = [n for n, kind in self.features.items() if kind == "category" and 2 <= self.columns[n].distinct <= 12]
        return few[:4]


def infer(wishes: Wishes, name: str, today: date) -> Plan:
    """Look at the table and decide. Raises DataError when something would mislead, with what to do about it."""
    found = source.open_source(wishes.data, wishes.table)
    kinds.check(found.frame)
    names = identifiers([str(column) for column in found.frame.columns])
    asked = _Asked.of(wishes, names)
    decimal = kinds.decimal_mark(found.frame)
    found = _without_fillers(found, decimal)
    goal = target.look(found.frame[asked.target], asked.target, decimal, wishes.task)
    columns = {names[s]: kinds.look(s, names[s], found.frame[s], decimal, asked.about(s)) for s in asked.others(names)}
    time, time_notes = arrange.event_time(columns, asked.time, today)
    id_name, id_note = roles.event_id(columns, asked.id, {time, asked.group})
    arrangement = arrange.arrange(columns, goal, time, asked.group, today)
    _check_order(found, arrangement, id_name)
    rhythm = Rhythm.of(arrangement.days, arrangement.batch is not None, goal)
    fixed = roles.Fixed(id_name, time, asked.group, short=arrangement.batch is None and rhythm.span < SEASONS_DAYS)
    given = roles.decide(columns, goal, fixed, asked.keep)
    if not any(role.features for role in given.values()):
        raise DataError("no column is left that a model could learn from; --keep COL keeps one that was left out")
    return Plan(
        name=name,
        source=found,
        decimal=decimal,
        columns=columns,
        roles=given,
        target=goal,
        target_name=names[asked.target],
        id=id_name or MADE_ID,
        arrangement=arrangement,
        rhythm=rhythm,
        candidates=candidates.listed(goal.task, rhythm.train_rows),
        today=today,
        notes=[*goal.notes, *time_notes, id_note, *arrangement.notes],
    )


@dataclass(frozen=True)
class _Asked:
    """The columns that were named: target and `dropped` by source, the others by identifier."""

    target: str
    time: str | None
    id: str | None
    group: str | None
    keep: frozenset[str]
    dropped: frozenset[str]
    by_name: Mapping[str, str]

    @classmethod
    def of(cls, wishes: Wishes, names: Mapping[str, str]) -> "_Asked":
        """Raises DataError for a name that is not in the table."""
        by_name = {name: source for source, name in names.items()}

        def source_of(asked: str, what: str) -> str:
            return by_name[asked] if asked in by_name else chosen(asked, names, what, "the table")

        def name_of(asked: str | None, what: str) -> str | None:
            return None if asked is None else names[source_of(asked, what)]

        return cls(
            target=source_of(wishes.target, "the target"),
            time=name_of(wishes.time, "the column of --time"),
            id=name_of(wishes.id, "the column of --id"),
            group=name_of(wishes.group, "the column of --group"),
            keep=frozenset(names[source_of(name, "the column of --keep")] for name in wishes.keep),
            dropped=frozenset(source_of(name, "the column of --drop") for name in wishes.drop),
            by_name=by_name,
        )._checked()

    def others(self, names: Mapping[str, str]) -> list[str]:
        return [source for source in names if source != self.target and source not in self.dropped]

    def about(self, source: str) -> str:
        """What the user says about a column, as kinds.look takes it."""
        said = {self.by_name[name]: what for what, name in (("time", self.time), ("id", self.id)) if name}
        return said.get(source, "id" if self.group and self.by_name[self.group] == source else "")

    def _checked(self) -> "_Asked":
        roles_of: dict[str, str] = {self.target: "the target"}
        for what, name in (("--time", self.time), ("--id", self.id)):
            if name and (before := roles_of.setdefault(self.by_name[name], what)) != what:
                raise DataError(f"{self.by_name[name]!r} cannot be {before} and {what} at once")
        if clash := self.dropped & {self.target, *(self.by_name[n] for n in (self.time, self.id, self.group) if n)}:
            raise DataError(f"--drop {min(clash)!r} is named for another part as well; drop it or use it")
        if self.group and self.by_name[self.group] == self.target:
            raise DataError("--group cannot be the target")
        return self


def _without_fillers(found: Source, decimal: str) -> Source:
    """A CSV in which marks such as ? are missing values."""
    if found.table is not None or not (marks := kinds.fillers(found.frame, decimal)):
        return found
    frame: pd.DataFrame = found.frame.mask(found.frame.isin(marks))
    return Source(found.written, found.shown, frame, csv={**found.csv, "na_values": marks})


def _check_order(found: Source, arrangement: Arrangement, id_name: str | None) -> None:
    if found.table is not None and arrangement.time is None and id_name is None:
        raise DataError(
            "the rows of a SQL table have no order of their own, so batches of them would change from night to night; "
            "name a column with --id or --time"
        )
