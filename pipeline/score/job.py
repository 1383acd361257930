"""What `loop score` was asked for, to a run that is begun or gone on with: the table, the model, the journal."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import database, online, tables
from core.config import settings
from core.errors import DataError, RegistryError
from core.releases import ReleaseReader
from core.runtime import OnnxModel
from core.schema import ProblemSpec
from pipeline.score import answers
from pipeline.score.decode import Dialect
from pipeline.score.journal import Journal
from pipeline.score.run import Job, rejected_path
from pipeline.score.source import CHUNK, Files, Query, Source
from problems import Problem, load


@dataclass(frozen=True)
class Asked:
    """`table`: of a SQL URL, a table or a query. `now`: the moment of rows without a time; None is the present."""

    input: str
    output: Path
    table: str | None = None
    version: str | None = None
    now: datetime | None = None
    force: bool = False


def prepare(asked: Asked) -> tuple[Job, Journal]:
    """Raises DataError where another table or version was begun with, or the output is there already."""
    given, problem = settings(), load()
    source, dialect = open_source(asked, problem)
    engine = database.connect(given.store_url)
    journal = Journal(
        asked.output.with_name(f"{asked.output.name}.progress"), answers.raw_schema(answers.width(problem.spec))
    )
    begun = None if asked.force else journal.header()
    _check_output(asked, begun)
    reader = ReleaseReader(given.mlflow_url, problem.spec.name)
    version = asked.version or (begun["version"] if begun else None) or _champion(reader)
    now = asked.now or datetime.now(UTC)
    header = {"version": version, "now": int(now.timestamp()), "chunk": CHUNK, **_about(problem.spec, source)}
    if begun is None:
        header["lookups"] = online.newest(engine, problem.spec.name)
        journal.begin(header)
    else:
        _check_same(begun, header, asked)
    model = OnnxModel.load(reader.fetch(version, given.home / "score" / problem.spec.name), problem.spec)
    return Job(problem, source, asked.output, version, model, engine, dialect, begun or header), journal


def open_source(asked: Asked, problem: Problem) -> tuple[Source, Dialect]:
    """The table, and how a problem made by `loop init` says that its source is written."""
    dialect = Dialect(getattr(problem.data, "CSV", {}), getattr(problem.data, "FORMS", {}))
    if "://" not in asked.input:
        if asked.table is not None:
            raise DataError("--table is for a SQL URL; a file or folder is one table")
        return Files(asked.input, dialect.csv), dialect
    if asked.table is None:
        raise DataError("say with --table which table or query of the database is meant")
    column = problem.spec.columns[problem.spec.id]
    return Query(tables.driver(asked.input), asked.table, (problem.spec.id, column.source)), dialect


def _about(spec: ProblemSpec, source: Source) -> dict[str, Any]:
    return {"problem": spec.name, "input": source.identity()}


def _champion(reader: ReleaseReader) -> str:
    champion = reader.release().champion
    if champion is None:
        raise RegistryError(f"{reader.model} has no champion yet; name a version with --version")
    return champion


def _check_output(asked: Asked, begun: dict[str, Any] | None) -> None:
    if not asked.output.parent.is_dir():
        raise DataError(f"{asked.output.parent} is no folder; make it first")
    if begun is None and asked.output.exists() and not asked.force:
        raise DataError(f"{asked.output} exists; name another file, or replace it with --force")
    if begun is None:
        rejected_path(asked.output).unlink(missing_ok=True)


def _check_same(begun: dict[str, Any], header: dict[str, Any], asked: Asked) -> None:
    odd = [name for name in ("problem", "version", "input", "chunk") if begun[name] != header[name]]
    if asked.now is not None and begun["now"] != header["now"]:
        odd.append("now")
    if odd:
        raise DataError(
            f"{asked.output} was begun with another {', '.join(odd)}; finish it so, or begin anew with --force"
        )
