"""The stack as one thing: start it and wait until it is healthy, find it again from another shell, stop it."""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from core import keys
from core.config import PREFIX, Frozen, Settings
from core.errors import StackError
from core.private import write_private
from pipeline.airflow_api import AirflowApi
from pipeline.stack import credentials, signals
from pipeline.stack.processes import GRACE_S, Record, Service, is_alive, log_tail, spawn, stop_all
from pipeline.stack.services import Ports, all_services, choose_ports, shared_environment

log = logging.getLogger(__name__)
STATE = "stack.json"
LOOK_EVERY_S = 0.5
Plan = Callable[[Settings, Ports, Mapping[str, str]], list[Service]]
Progress = Callable[[str, float], None]


class State(Frozen):
    """What runs (home/stack.json): written whenever a process starts, removed when all have stopped."""

    urls: dict[str, str]
    records: tuple[Record, ...] = ()


class Stack:
    """The processes that belong to one home. `with Stack(settings):` starts them and always stops them.

    `plan` says what to start; tests give a smaller one. `progress` is told each service that became healthy,
    with the seconds it took.
    """

    def __init__(self, settings: Settings, plan: Plan = all_services, progress: Progress | None = None) -> None:
        self.settings = settings
        self.home = settings.home.resolve()
        self._plan = plan
        self._progress = progress or (lambda name, seconds: log.info("%s is healthy after %.1f s", name, seconds))
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._signals = ExitStack()

    def __enter__(self) -> "Stack":
        self._signals.enter_context(signals.unwind())
        try:
            self.start()
        except BaseException:
            self._signals.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            self._signals.close()

    @property
    def state(self) -> State:
        return load(self.home)

    @property
    def urls(self) -> dict[str, str]:
        """Addresses by name: airflow, mlflow, serving."""
        return self.state.urls

    @property
    def env(self) -> dict[str, str]:
        """What a program needs to work with this stack as its own processes do (of the secrets the server's key)."""
        return shared_environment(self.settings, self.urls, self.secrets)

    @property
    def secrets(self) -> dict[str, str]:
        return credentials.read_or_create(self.home)

    @property
    def login(self) -> tuple[str, str]:
        """User and password of Airflow's pages."""
        return credentials.USER, self.secrets[credentials.PASSWORD]

    def airflow(self) -> AirflowApi:
        return AirflowApi(self.urls["airflow"], *self.login, logs=self.home / "airflow" / "logs")

    def health(self) -> list[tuple[Record, str | None]]:
        """Each process with what is wrong with it, None if nothing is."""
        return [(record, trouble(record)) for record in self.state.records]

    @property
    def pids(self) -> list[int]:
        return [record.pid for record in self.state.records]

    def is_running(self) -> bool:
        return any(is_alive(record) for record in self.state.records)

    def start(self) -> None:
        """Start everything and return when all of it is healthy. On any failure stop again and raise StackError."""
        if self.is_running():
            raise StackError(f"a stack is already running in {self.home}; `loop status` shows it, `loop down` stops it")
        ports = choose_ports(self.settings)
        services = self._plan(self.settings, ports, self.secrets)
        keys.admit(self.settings.keys_path, credentials.STACK, self.secrets[credentials.SERVING_KEY])
        self._save(State(urls=ports.urls()))
        try:
            self._bring_up(services)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all that runs for this home, whoever started it. Does nothing where nothing runs."""
        with signals.ignored():
            stop_all(self.state.records, GRACE_S)
            for child in self._children.values():
                child.wait()
            self._children.clear()
            (self.home / STATE).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise StackError with the end of its log if a process is no longer there."""
        for record in self.state.records:
            if not is_alive(record):
                raise StackError(f"{record.name} has died{ending(record.log)}")

    def _bring_up(self, services: list[Service]) -> None:
        started: dict[str, tuple[Service, Record, float]] = {}
        waiting, done = list(services), set[str]()
        while len(done) < len(services):
            for service in [each for each in waiting if done.issuperset(each.after)]:
                waiting.remove(service)
                started[service.name] = (service, self._spawn(service), time.monotonic())
            for service, record, since in [each for name, each in started.items() if name not in done]:
                if self._is_up(service, record, time.monotonic() - since):
                    done.add(service.name)
                    self._progress(service.name, time.monotonic() - since)
            time.sleep(LOOK_EVERY_S)

    def _spawn(self, service: Service) -> Record:
        with signals.ignored():  # a process that runs is always on record
            child, record = spawn(service, self.home / "logs" / f"{service.name}.log")
            self._children[service.name] = child
            state = self.state
            self._save(state.model_copy(update={"records": (*state.records, record)}))
        return record

    def _is_up(self, service: Service, record: Record, seconds: float) -> bool:
        """Whether a starting service is there, or a step is done. Raises StackError where it will not be."""
        code = self._children[service.name].poll()
        if code == 0 and service.probe is None:
            self._forget(record)
            return True
        if code is not None:
            raise StackError(f"{service.name} ended with exit code {code} while starting{ending(record.log)}")
        wrong = service.probe.trouble(record.created) if service.probe else "it has not finished"
        if wrong and seconds > service.timeout_s:
            raise StackError(f"{service.name} is not healthy after {seconds:.0f} s: {wrong}{ending(record.log)}")
        return wrong is None

    def _forget(self, record: Record) -> None:
        del self._children[record.name]
        left = tuple(each for each in self.state.records if each.pid != record.pid)
        self._save(self.state.model_copy(update={"records": left}))

    def _save(self, state: State) -> None:
        write_private(self.home / STATE, state.model_dump_json(indent=2))


def load(home: Path) -> State:
    path = home / STATE
    return State.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else State(urls={})


def trouble(record: Record) -> str | None:
    if not is_alive(record):
        return "has died"
    return record.probe.trouble(record.created) if record.probe else None


def ending(path: Path) -> str:
    """The end of a message about a process: its last lines, and what to do."""
    tail = log_tail(path)
    advice = "mend the cause that the log names, then start again"
    if "address already in use" in tail.lower():
        advice = (
            f"another program took its port in this moment: start again, or set {PREFIX}..._PORT (see .env.example)"
        )
    return f".\nIts log ends with:\n{tail}\nThe whole log: {path}\nWhat to do: {advice}."


def adopt(home: Path) -> None:
    """Point this process at the stack that runs in `home`, unless the environment already says where to look."""
    found = load(home.resolve())
    if not any(is_alive(record) for record in found.records):
        return
    for variable, name in (("LOOP_MLFLOW_URL", "mlflow"), ("LOOP_SERVING_URL", "serving")):
        os.environ.setdefault(variable, found.urls[name])
    key = credentials.serving_key(home)
    if key and os.environ["LOOP_SERVING_URL"] == found.urls["serving"]:  # no other server is told it
        os.environ.setdefault(credentials.SERVING_KEY, key)
