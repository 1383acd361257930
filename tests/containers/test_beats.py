"""The probe of an Airflow process without a port: its heartbeat in the database, fresh or not."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from core.config import ROOT

JOB = "DagProcessorJob"


@pytest.fixture
def database(postgres: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(postgres, autocommit=True) as found:
        found.execute("CREATE TABLE job (job_type text, state text, latest_heartbeat timestamptz)")
        yield found
        found.execute("DROP TABLE job")


def beats(place: str, *words: str) -> tuple[int, str]:
    """Exit code, and what it says."""
    env = os.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": place.replace("postgresql://", "postgresql+psycopg://")}
    command = [sys.executable, str(ROOT / "docker" / "beats"), JOB, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("job", "state", "seconds", "alive"),
    [
        (JOB, "running", 5, True),
        (JOB, "running", 300, False),
        (JOB, "success", 5, False),
        ("SchedulerJob", "running", 5, False),
    ],
)
def test_only_a_running_job_with_a_fresh_heartbeat_is_alive(
    postgres: str, database: "psycopg.Connection[tuple[object, ...]]", job: str, state: str, seconds: int, alive: bool
) -> None:
    database.execute("INSERT INTO job VALUES (%s, %s, now() - make_interval(secs => %s))", [job, state, seconds])
    assert beats(postgres) == ((0, "") if alive else (1, f"no {JOB} has a heartbeat"))


def test_a_database_that_is_down_is_no_reason_to_restart() -> None:
    nowhere = "postgresql://me@/airflow?host=/nowhere"
    assert beats(nowhere) == (1, "the database does not answer")
    assert beats(nowhere, "--unless-database-is-down") == (0, "")
