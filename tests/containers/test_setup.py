"""The one-shot steps: secrets that stay, and databases that each belong to one role."""

import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from core import keys
from pipeline.containers import databases, secrets
from tests.containers.test_files import SERVICES


@pytest.fixture
def made(tmp_path: Path) -> Path:
    secrets.main(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_every_service_with_secrets_finds_its_folder(made: Path) -> None:
    mounted = {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", []) if v.startswith("secrets-")}
    assert mounted == {f"secrets-{path.name}" for path in made.iterdir()} - {"secrets-keep"}


def test_secrets_stay_and_a_newer_version_only_adds(made: Path) -> None:
    before = contents(made)
    secrets.main(made)
    assert contents(made) == before
    (made / secrets.KEEP).write_text('{"AIRFLOW_ADMIN_PASSWORD": "mine"}')
    secrets.main(made)
    assert "AIRFLOW_ADMIN_PASSWORD='mine'\n" in (made / "airflow/env").read_text()


def test_the_model_servers_keys_are_admitted_and_those_added_later_stay(made: Path) -> None:
    path = made / secrets.KEYS
    keys.change(path, lambda found: found.added("me", keys.new_key(), ["predict"]))
    secrets.main(made)
    found, known = keys.read(path), secrets.read_or_create(made)
    assert found is not None
    assert {key.name: key.scopes for key in found.keys} == {
        "stack": ("predict", "operate"), "prometheus": ("operate",), "me": ("predict",)
    }  # fmt: skip
    assert found.find(known["LOOP_SERVING_KEY"].encode()) == found.named("stack")[0]
    assert f"LOOP_SERVING_KEY='{known['LOOP_SERVING_KEY']}'\n" in (made / "airflow/env").read_text()


def test_two_stacks_share_no_secret(made: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = secrets.generate()
    assert not set(other.values()) & set(secrets.read_or_create(made).values())


def test_our_images_read_their_secrets_alone(made: Path) -> None:
    for path in (made / "airflow/env", made / "serving/env", made / "mlflow/env", made / secrets.KEEP):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_shell_reads_what_was_generated(made: Path) -> None:
    script = f'. {made}/airflow/env; printf %s "$AIRFLOW__CORE__FERNET_KEY|$LOOP_DATABASE_URL"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    known = secrets.read_or_create(made)
    assert said == f"{known['AIRFLOW__CORE__FERNET_KEY']}|{secrets.database_url('loop', known)}"


def test_a_role_reaches_its_own_database_and_no_other(postgres: str) -> None:
    roles = {"setup_one": "first'password", "setup_two": "second"}
    with psycopg.connect(postgres, autocommit=True) as server:
        databases.create(server, roles)
        databases.create(server, roles)  # repeating it changes nothing
        may = "SELECT has_database_privilege(%s, %s, 'CONNECT')"
        assert server.execute(may, ["setup_one", "setup_one"]).fetchone() == (True,)
        assert server.execute(may, ["setup_one", "setup_two"]).fetchone() == (False,)
