"""Generates every password and key at the first start, and gives each service a volume with its own and no other.

`python -m pipeline.containers.secrets` is the first step of `docker compose up`. What was generated stays: a later
start adds only what a newer version needs. With a NAME it prints that one and does nothing else.
"""

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from core import keys
from core.private import write_private
from pipeline.stack import credentials

FOLDER = Path("/secrets")  # one volume below it for each service, and `keep`, which no service mounts
KEEP = "keep/secrets.json"
ROLES = ("airflow", "mlflow", "loop")  # of PostgreSQL: each owns the database of its name
SUPERUSER = "postgres"
SHARED = ("postgres/", "observability/")  # read under the user ids of images that are not ours: the volume is the guard
WEAK = 0o444
KEYS = "serving/keys.json"  # of the model server: what is added to it later stays
WATCHER, WATCHERS_KEY = "prometheus", "PROMETHEUS_KEY"
GRAFANA = "GRAFANA_PASSWORD"
HOST = "DATABASE_HOST"  # where it is not `postgres`


def main(folder: Path = FOLDER) -> None:
    known = read_or_create(folder)
    for name, text in files(known).items():
        write_private(folder / name, text)
        if name.startswith(SHARED):
            (folder / name).chmod(WEAK)
    keys.change(folder / KEYS, lambda found: admitted(found, known))


def read_or_create(folder: Path) -> dict[str, str]:
    """Every secret by its name."""
    path = folder / KEEP
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = generate() | kept
    if known != kept:
        write_private(path, json.dumps(known, indent=1))
    return known


def generate() -> dict[str, str]:
    passwords = {password_of(role): secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)}
    return credentials.generate() | passwords | {WATCHERS_KEY: keys.new_key(), GRAFANA: secrets.token_urlsafe(15)}


def admitted(found: keys.Keys, known: Mapping[str, str]) -> keys.Keys:
    """With the keys of Airflow's tasks and of Prometheus: a server that other containers reach is never open."""
    ours = found.admitted(credentials.STACK, known[credentials.SERVING_KEY])
    return ours.admitted(WATCHER, known[WATCHERS_KEY], ["operate"])


def files(known: Mapping[str, str]) -> dict[str, str]:
    """The file of each service, by path below the folder."""
    return {
        "postgres/password": known[password_of(SUPERUSER)],
        "postgres/roles.json": json.dumps(passwords(known)),
        "mlflow/env": lines(of_mlflow(known)),
        "airflow/env": lines(of_airflow(known) | of_tasks(known) | {credentials.PASSWORD: known[credentials.PASSWORD]}),
        "airflow/passwords.json": of_people(known),
        "serving/env": lines(of_serving(known)),
        "observability/grafana": known[GRAFANA],
        "observability/key": known[WATCHERS_KEY],
    }


def of_mlflow(known: Mapping[str, str]) -> dict[str, str]:
    return {"MLFLOW_BACKEND_STORE_URI": database_url("mlflow", known)}


def of_airflow(known: Mapping[str, str]) -> dict[str, str]:
    """What Airflow's own processes share; its tasks need none of it."""
    own = {name: known[name] for name in known if name.startswith("AIRFLOW__")}
    return own | {
        f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN{kind}": database_url("airflow", known) for kind in ("", "_ASYNC")
    }


def of_tasks(known: Mapping[str, str]) -> dict[str, str]:
    return {
        "LOOP_DATABASE_URL": database_url("loop", known),
        credentials.SERVING_KEY: known[credentials.SERVING_KEY],
    }


def of_serving(known: Mapping[str, str]) -> dict[str, str]:
    return {"LOOP_DATABASE_URL": database_url("loop", known), credentials.SALT: known[credentials.SALT]}


def of_people(known: Mapping[str, str]) -> str:
    """Airflow's file of passwords."""
    return json.dumps({credentials.USER: known[credentials.PASSWORD]})


def passwords(known: Mapping[str, str]) -> dict[str, str]:
    """By role of PostgreSQL."""
    return {role: known[password_of(role)] for role in ROLES}


def password_of(role: str) -> str:
    return f"{role.upper()}_DATABASE_PASSWORD"


def database_url(role: str, known: Mapping[str, str]) -> str:
    return f"postgresql+psycopg://{role}:{known[password_of(role)]}@{known.get(HOST, 'postgres')}:5432/{role}"


def lines(variables: Mapping[str, str]) -> str:
    """As a shell reads them: no value that is generated holds a quote or a space."""
    return "".join(f"{name}='{value}'\n" for name, value in variables.items())


def show(name: str, folder: Path = FOLDER) -> None:
    known = read_or_create(folder)
    if name not in known:
        sys.exit(f"there is no secret {name}; there are {', '.join(sorted(known))}")
    print(known[name])


if __name__ == "__main__":
    show(sys.argv[1]) if sys.argv[1:] else main()
