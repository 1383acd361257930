"""A small client of Airflow's REST API: unpause, trigger, look, wait. It imports nothing of Airflow."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from core.errors import StackError

POLL_S = 0.5
PARSE_TIMEOUT_S = 90.0
RUN_TIMEOUT_S = 1800.0  # a life cycle takes a minute; one of neural nets on a busy laptop twenty
ENDED = {"success", "failed"}
BROKEN = {"failed", "upstream_failed"}


@dataclass(frozen=True)
class Run:
    """One DAG run. `kind` is Airflow's run type: manual, scheduled, asset_triggered."""

    run_id: str
    state: str
    kind: str
    conf: Mapping[str, Any]
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class Task:
    """One task instance of a run. `label` tells mapped ones apart (the rendered map index); else it is the name."""

    name: str
    label: str
    map_index: int
    attempt: int
    state: str
    seconds: float | None


OnChange = Callable[[Task], None]


class AirflowApi:
    """Talks to one Airflow as one user. `logs` is its log folder, if it is on this machine."""

    def __init__(self, url: str, user: str, password: str, logs: Path | None = None) -> None:
        self.url = url
        self._user = {"username": user, "password": password}
        self._logs = logs
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def __enter__(self) -> "AirflowApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def unpause(self, dag_id: str, timeout_s: float = PARSE_TIMEOUT_S) -> None:
        """Switch a DAG on; waits until Airflow has parsed its file. Raises StackError with its import error."""
        end = time.monotonic() + timeout_s
        while (answer := self._send("GET", f"dags/{quote(dag_id)}")).status_code == 404:
            self._raise_import_errors()
            if time.monotonic() > end:
                raise StackError(
                    f"Airflow has not found the DAG {dag_id} in {timeout_s:.0f} s; is dags/{dag_id}.py there?"
                )
            time.sleep(POLL_S)
        self._content(answer)
        self._content(self._send("PATCH", f"dags/{quote(dag_id)}", json={"is_paused": False}))

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> str:
        """Start a run and return its id. An id that was used before is an error (Airflow answers 409)."""
        body = {
            "logical_date": logical_date.isoformat() if logical_date else None,
            "conf": dict(conf or {}),
            **({"dag_run_id": run_id} if run_id else {}),
        }
        return str(self._content(self._send("POST", f"dags/{quote(dag_id)}/dagRuns", json=body))["dag_run_id"])

    def runs(self, dag_id: str, limit: int = 100) -> list[Run]:
        """The latest runs, newest first."""
        query = {"limit": limit, "order_by": "-run_after"}
        found = self._content(self._send("GET", f"dags/{quote(dag_id)}/dagRuns", params=query))
        return [as_run(item) for item in found["dag_runs"]]

    def run(self, dag_id: str, run_id: str) -> Run:
        return as_run(self._content(self._send("GET", run_path(dag_id, run_id))))

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Every task instance of a run; one that was never scheduled has state "none"."""
        found = self._content(self._send("GET", f"{run_path(dag_id, run_id)}/taskInstances", params={"limit": 1000}))
        return [as_task(item) for item in found["task_instances"]]

    def result(self, dag_id: str, run_id: str, task: str, map_index: int = -1) -> Any:
        """What a task returned (its XCom)."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{quote(task)}/xcomEntries/return_value"
        found = self._content(self._send("GET", path, params={"map_index": map_index, "deserialize": True}))
        return found["value"]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        on_change: OnChange | None = None,
        timeout_s: float = RUN_TIMEOUT_S,
        alive: Callable[[], None] | None = None,
    ) -> Run:
        """Wait until a run has ended well; `on_change` is told each task whose state changed.

        `alive` is called between looks and may raise (Stack.check). Raises StackError that names the failed task
        and its log, or the time that ran out.
        """
        end = time.monotonic() + timeout_s
        seen: dict[tuple[str, int], Task] = {}
        while True:
            run, tasks = self.run(dag_id, run_id), self.tasks(dag_id, run_id)
            report_changes(tasks, seen, on_change)
            if run.state in ENDED:
                return self._ended_well(dag_id, run, tasks)
            if time.monotonic() > end:
                open_tasks = ", ".join(task.label for task in tasks if task.state in {"running", "queued"}) or "none"
                raise StackError(f"{dag_id} {run_id} is not done after {timeout_s:.0f} s (at work: {open_tasks})")
            if alive:
                alive()
            time.sleep(POLL_S)

    def _ended_well(self, dag_id: str, run: Run, tasks: list[Task]) -> Run:
        if run.state == "success":
            return run
        failed = next((task for task in tasks if task.state == "failed"), None)
        if failed is None:
            raise StackError(f"{dag_id} {run.run_id} failed; see {self.url}/dags/{quote(dag_id)}")
        raise StackError(f"{dag_id} {run.run_id} failed in {failed.label}{self._evidence(dag_id, run.run_id, failed)}")

    def _evidence(self, dag_id: str, run_id: str, task: Task) -> str:
        """The failed task's last error, and where its log is."""
        page = f"{self.url}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}/tasks/{quote(task.name)}"
        if self._logs is None:
            return f"; see {page}"
        folder = self._logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task.name}"
        path = (
            folder / f"map_index={task.map_index}" if task.map_index >= 0 else folder
        ) / f"attempt={task.attempt}.log"
        return f": {last_error(path)}\nIts log: {path}\nor {page}"

    def _raise_import_errors(self) -> None:
        found = self._content(self._send("GET", "importErrors"))["import_errors"]
        if found:
            last = str(found[0]["stack_trace"]).strip().splitlines()[-1]
            raise StackError(f"Airflow cannot import {found[0]['filename']}: {last}")

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send with the token; get one first, or a fresh one when Airflow says that it is no longer good."""
        try:
            if "authorization" not in self._http.headers:
                self._log_in()
            answer = self._http.request(method, f"/api/v2/{path}", **arguments)
            if answer.status_code == 401:
                self._log_in()
                answer = self._http.request(method, f"/api/v2/{path}", **arguments)
        except httpx.TransportError as error:
            raise StackError(f"Airflow does not answer at {self.url} ({error}); see `loop status`") from error
        return answer

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._user)
        if answer.status_code != 201:
            raise StackError(f"Airflow at {self.url} refuses the user {self._user['username']}: {answer.text[:200]}")
        self._http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            asked = f"{answer.request.method} {answer.request.url.path}"
            raise StackError(f"Airflow answered {answer.status_code} to {asked}: {answer.text[:300]}")
        return dict(answer.json())


def run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def as_run(item: Mapping[str, Any]) -> Run:
    return Run(
        run_id=item["dag_run_id"],
        state=item["state"],
        kind=item["run_type"],
        conf=item.get("conf") or {},
        started=moment(item.get("start_date")),
        ended=moment(item.get("end_date")),
    )


def as_task(item: Mapping[str, Any]) -> Task:
    index = item["map_index"]
    mapped = item.get("rendered_map_index") or index
    return Task(
        name=item["task_id"],
        label=f"{item['task_id']}[{mapped}]" if index >= 0 else item["task_id"],
        map_index=index,
        attempt=item["try_number"],
        state=item["state"] or "none",
        seconds=item.get("duration"),
    )


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def report_changes(tasks: list[Task], seen: dict[tuple[str, int], Task], on_change: OnChange | None) -> None:
    """Call on_change for each task whose state or attempt is new; remembers them in `seen`."""
    for task in tasks:
        before = seen.get((task.name, task.map_index))
        seen[task.name, task.map_index] = task
        if (
            on_change
            and task.state != "none"
            and (before is None or (before.state, before.attempt) != (task.state, task.attempt))
        ):
            on_change(task)


def last_error(path: Path) -> str:
    """The last exception in a task's log (JSON lines), shortened to one line."""
    if not path.exists():
        return "no log was written"
    found = "no exception in its log"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{") and '"error_detail"' in line:
            detail = json.loads(line).get("error_detail") or [{}]
            found = f"{detail[0].get('exc_type')}: {detail[0].get('exc_value')}"
    return found[:500]
