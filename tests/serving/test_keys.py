"""Who gets in: keys, scopes, and a key file that changes while the server runs."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from core import keys
from core.errors import ConfigError
from core.keys import Keys, new_key
from core.schema import ProblemSpec
from serving.keys import KeyRing, is_loopback, refuse_open
from serving.schemas import example
from tests.serving.conftest import Launch, Start
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry

PREDICT, OPERATE, BOTH, OLD = (new_key() for _ in range(4))
OPEN, LOOKING = ("/healthz", "/readyz"), ("/release", "/metrics", "/docs", "/openapi.json", "/no/such/path")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def guarded(start: Start, path: Path) -> ServerHere:
    made = Keys().added("caller", PREDICT, ["predict"]).added("watcher", OPERATE, ["operate"])
    made = made.added("old", OLD, ["predict"], timedelta(microseconds=1))
    keys.change(path, lambda _: made.added("both", BOTH, ["predict", "operate"]))
    return start(keys=str(path))


def ask(server: ServerHere, path: str, key: str | None = None, **headers: str) -> httpx.Response:
    return server.client.get(path, headers=bearer(key) | headers)


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def test_whether_it_lives_and_is_ready_is_told_to_anybody(guarded: ServerHere) -> None:
    assert [ask(guarded, each).status_code for each in OPEN] == [200, 200]


@pytest.mark.parametrize("key", [None, "wrong", "", OLD], ids=["none", "wrong", "empty", "expired"])
def test_without_a_valid_key_there_is_nothing_to_be_had(
    guarded: ServerHere, spec: ProblemSpec, key: str | None
) -> None:
    answers = [guarded.client.post("/predict", json=example(spec), headers=bearer(key))]
    answers += [ask(guarded, each, key) for each in LOOKING]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="closed-loop"')
        assert answer.json()["errors"][0]["field"] == "authorization"


def test_a_key_may_do_what_its_scope_says(guarded: ServerHere, spec: ProblemSpec) -> None:
    row = example(spec)

    def statuses(key: str) -> list[int]:
        posted = guarded.client.post("/predict", json=row, headers=bearer(key))
        return [posted.status_code, ask(guarded, "/release", key).status_code]

    assert statuses(PREDICT) == [200, 403]
    assert statuses(OPERATE) == [403, 200]
    assert statuses(BOTH) == [200, 200]


def test_a_refusal_names_the_scope_that_is_missing(guarded: ServerHere) -> None:
    answer = ask(guarded, "/metrics", PREDICT)
    assert answer.json()["errors"][0]["message"] == "the key 'caller' lacks the scope `operate`, which this path needs"
    assert 'error="insufficient_scope", scope="operate"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("headers", [{"X-API-Key": BOTH}, {"Authorization": f"bearer  {BOTH}"}])
def test_a_key_travels_in_either_header(guarded: ServerHere, headers: dict[str, str]) -> None:
    assert ask(guarded, "/release", **headers).status_code == 200


def test_a_refused_caller_may_go_on_with_the_same_connection(guarded: ServerHere, spec: ProblemSpec) -> None:
    for key, status in ((None, 401), (BOTH, 200), ("wrong", 401), (BOTH, 200)):
        answer = guarded.client.post("/predict", json=example(spec), headers=bearer(key))
        assert answer.status_code == status


def test_a_running_server_takes_a_change_of_the_file(guarded: ServerHere, path: Path) -> None:
    new = new_key()
    keys.change(path, lambda found: found.without("caller").rotated("watcher", new, timedelta(0)))
    wait_until(lambda: ask(guarded, "/release", new).status_code == 200)
    assert ask(guarded, "/release", OPERATE).status_code == 401
    assert ask(guarded, "/predict", PREDICT).status_code == 401


def test_the_first_key_closes_a_running_server(start: Start, path: Path) -> None:
    server = start(keys=str(path))
    assert ask(server, "/release").status_code == 200
    keys.change(path, lambda found: found.added("watcher", OPERATE, ["operate"]))
    wait_until(lambda: ask(server, "/release").status_code == 401)
    assert ask(server, "/release", OPERATE).status_code == 200


def test_a_file_that_is_removed_opens_nothing(guarded: ServerHere, path: Path) -> None:
    path.unlink()
    wait_until(lambda: ask(guarded, "/release", BOTH).status_code == 401)
    assert ask(guarded, "/release").status_code == 401


def test_a_file_that_is_broken_changes_nothing(path: Path) -> None:
    keys.change(path, lambda found: found.added("both", BOTH, ["predict"]))
    ring = KeyRing(path)
    path.write_text("{")
    found = ring.now(time.monotonic())
    assert found is not None
    assert found.find(BOTH.encode()) is not None


def test_a_server_does_not_start_with_a_broken_file(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(ConfigError, match="is no key file"):
        KeyRing(path)


def test_the_file_is_looked_at_once_a_second(path: Path) -> None:
    ring = KeyRing(path)
    assert ring.now(10.0) is None
    keys.change(path, lambda found: found.added("both", BOTH, ["predict"]))
    assert ring.now(10.9) is None
    assert ring.now(11.1) is not None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_beyond_this_machine_nothing_is_served_without_keys(host: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="loop keys add NAME --scope predict"):
        refuse_open(host, path)
    keys.change(path, lambda found: found)  # a file without a key
    with pytest.raises(ConfigError, match="no API key is in"):
        refuse_open(host, path)
    keys.change(path, lambda found: found.added("both", BOTH, ["predict"]))
    refuse_open(host, path)


def test_on_this_machine_no_key_is_needed(path: Path) -> None:
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
        refuse_open(host, path)


def test_a_process_that_would_be_open_to_others_ends_at_once_and_says_what_to_do(launch: Launch) -> None:
    server = launch(ready=False, host="0.0.0.0")
    assert server.process.wait(timeout=30) == 1
    assert "Make one with `loop keys add NAME --scope predict`" in server.log.read_text()


def wait_until(is_so: Callable[[], bool], patience_s: float = 10) -> None:
    until = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_why_a_server_is_not_ready_is_told_to_operators_only(start: Start, path: Path, registry: FakeRegistry) -> None:
    keys.change(path, lambda found: found.added("watcher", OPERATE, ["operate"]).added("caller", PREDICT, ["predict"]))
    registry.release(None)
    server = start(ready=False, keys=str(path))
    server.wait("/healthz", status="ok")
    wait_until(lambda: "no champion" in str(ask(server, "/readyz", OPERATE).json()["reason"]))
    for key in (None, PREDICT):
        answer = ask(server, "/readyz", key)
        assert answer.status_code == 503
        assert "may operate" in answer.json()["reason"]
