"""The Airflow client against a hand-written fake server that answers as Airflow 3 does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.errors import StackError
from pipeline.airflow_api import AirflowApi, Task

RUN = {"dag_run_id": "r1", "run_type": "manual", "conf": {"as_of": "2013-04-01"}, "start_date": "2026-01-01T00:00:00Z"}


def task(name: str, state: str | None, index: int = -1) -> dict[str, Any]:
    label = f"{name}@hgb" if index >= 0 else None
    return {"task_id": name, "state": state, "map_index": index, "rendered_map_index": label, "try_number": 2}


class FakeAirflow(BaseHTTPRequestHandler):
    """One DAG, `lifecycle`; `looks` are the states that a waiting client sees, one after the other."""

    token = "t1"
    parsed_after = 0
    import_errors: ClassVar[list[dict[str, str]]] = []
    looks: ClassVar[list[tuple[str, list[dict[str, Any]]]]] = []
    paused = True

    def do_GET(self) -> None:
        self.serve({})

    def do_POST(self) -> None:
        self.serve(self.body())

    def do_PATCH(self) -> None:
        self.serve(self.body())

    def serve(self, body: dict[str, Any]) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/v2/")
        if path == "/auth/token":
            good = body == {"username": "admin", "password": "secret"}
            self.answer(201 if good else 401, {"access_token": self.token})
        elif self.headers["authorization"] != f"Bearer {self.token}":
            self.answer(401, {})
        else:
            self.answer(*self.found(path, body))

    def found(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        fake = type(self)
        if path == "importErrors":
            return 200, {"import_errors": fake.import_errors}
        if path == "dags/lifecycle" and self.command == "GET":
            fake.parsed_after -= 1
            return (404, {}) if fake.parsed_after >= 0 else (200, {})
        if path == "dags/lifecycle":
            fake.paused = body["is_paused"]
            return 200, {}
        if path == "dags/lifecycle/dagRuns":
            return 200, {**RUN, "state": "queued", "dag_run_id": body["dag_run_id"]}
        if path.endswith("/taskInstances"):
            return 200, {"task_instances": fake.looks.pop(0)[1] if len(fake.looks) > 1 else fake.looks[0][1]}
        return 200, {**RUN, "state": fake.looks[0][0]}

    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, code: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeAirflow]:
    monkeypatch.setattr("pipeline.airflow_api.POLL_S", 0.01)
    return type("Fake", (FakeAirflow,), {"import_errors": [], "looks": []})


@pytest.fixture
def url(fake: type[FakeAirflow]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), fake) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def api(url: str, tmp_path: Path) -> Iterator[AirflowApi]:
    with AirflowApi(url, "admin", "secret", logs=tmp_path) as api:
        yield api


def test_a_dag_is_switched_on_once_it_is_parsed(api: AirflowApi, fake: type[FakeAirflow]) -> None:
    fake.parsed_after = 2
    api.unpause("lifecycle")
    assert not fake.paused


def test_a_dag_that_cannot_be_imported_is_an_error_at_once(api: AirflowApi, fake: type[FakeAirflow]) -> None:
    fake.parsed_after = 1000
    fake.import_errors.append({"filename": "lifecycle.py", "stack_trace": "Traceback\nKeyError: 'typo'\n"})
    with pytest.raises(StackError, match=r"cannot import lifecycle.py: KeyError: 'typo'"):
        api.unpause("lifecycle")


def test_a_dag_that_never_appears_is_an_error(api: AirflowApi, fake: type[FakeAirflow]) -> None:
    fake.parsed_after = 1000
    with pytest.raises(StackError, match="has not found the DAG lifecycle"):
        api.unpause("lifecycle", timeout_s=0.05)


def test_an_expired_token_is_renewed(api: AirflowApi, fake: type[FakeAirflow]) -> None:
    api.unpause("lifecycle")
    fake.token = "t2"
    assert api.trigger("lifecycle", {"as_of": "2013-04-01"}, run_id="r7") == "r7"


def test_a_wrong_password_is_an_error_that_names_the_user(url: str) -> None:
    with AirflowApi(url, "admin", "wrong") as api, pytest.raises(StackError, match="refuses the user admin"):
        api.runs("lifecycle")


def test_an_airflow_that_does_not_answer_is_an_error() -> None:
    with AirflowApi("http://127.0.0.1:9", "admin", "x") as api, pytest.raises(StackError, match="does not answer"):
        api.runs("lifecycle")


def test_waiting_reports_each_change_once_and_returns_the_run(api: AirflowApi, fake: type[FakeAirflow]) -> None:
    fake.looks += [
        ("running", [task("plan", "running"), task("train", None, 0)]),
        ("running", [task("plan", "running"), task("train", None, 0)]),
        ("success", [task("plan", "success"), task("train", "success", 0)]),
    ]
    seen: list[tuple[str, str]] = []

    def note(changed: Task) -> None:
        seen.append((changed.label, changed.state))

    assert api.wait("lifecycle", "r1", note).state == "success"
    assert seen == [("plan", "running"), ("plan", "success"), ("train[train@hgb]", "success")]


def test_a_failed_run_names_the_task_its_error_and_its_log(
    api: AirflowApi, fake: type[FakeAirflow], tmp_path: Path
) -> None:
    folder = tmp_path / "dag_id=lifecycle" / "run_id=r1" / "task_id=train" / "map_index=0"
    folder.mkdir(parents=True)
    detail = {"event": "Task failed", "error_detail": [{"exc_type": "DataError", "exc_value": "too few days"}]}
    (folder / "attempt=2.log").write_text(f"{json.dumps({'event': 'start'})}\n{json.dumps(detail)}\n")
    fake.looks.append(("failed", [task("deploy", "upstream_failed"), task("train", "failed", 0)]))
    with pytest.raises(StackError, match=r"(?s)failed in train.train@hgb.: DataError: too few days.*attempt=2.log"):
        api.wait("lifecycle", "r1")


def test_a_run_that_takes_too_long_is_an_error_that_says_what_is_at_work(
    api: AirflowApi, fake: type[FakeAirflow]
) -> None:
    fake.looks.append(("running", [task("train", "running", 0)]))
    with pytest.raises(StackError, match=r"not done after 0 s .at work: train"):
        api.wait("lifecycle", "r1", timeout_s=0.05)
