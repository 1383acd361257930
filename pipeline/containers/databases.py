"""`python -m pipeline.containers.databases`: roles, each with a database of its own. It may be repeated.

A role reaches no other role's database. Tables are made by those who use them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from pipeline.containers.secrets import FOLDER, SUPERUSER

HOST = "postgres"


def main(folder: Path = FOLDER / "postgres", host: str = HOST) -> None:
    password = (folder / "password").read_text(encoding="utf-8")
    roles = json.loads((folder / "roles.json").read_text(encoding="utf-8"))
    with psycopg.connect(host=host, user=SUPERUSER, password=password, dbname="postgres", autocommit=True) as server:
        create(server, roles)


def create(server: "psycopg.Connection[tuple[object, ...]]", roles: Mapping[str, str]) -> None:
    """Make what is missing; set every password to the one given."""
    for role, password in roles.items():
        name = sql.Identifier(role)
        if not _exists(server, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        server.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(password)))
        if not _exists(server, "SELECT 1 FROM pg_database WHERE datname = %s", role):
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
        server.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))


def _exists(server: "psycopg.Connection[tuple[object, ...]]", question: LiteralString, name: str) -> bool:
    return server.execute(question, [name]).fetchone() is not None


if __name__ == "__main__":
    main()
