"""Starting and stopping a stack of small real processes."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from core import keys
from core.config import ROOT, Settings
from core.errors import StackError
from pipeline.client import headers
from pipeline.stack import credentials
from pipeline.stack.processes import members
from pipeline.stack.services import all_services, choose_ports
from pipeline.stack.stack import STATE, Stack, adopt, load
from tests.stack.standins import MakeStack, never_healthy, one_breaks, one_stubborn, tells_its_environment, two_servers

INTERRUPTED = """
import sys, time
from pathlib import Path
from core.config import Settings
from pipeline.stack.stack import Stack
from tests.stack.standins import two_servers
with Stack(Settings(home=Path(sys.argv[1])), two_servers):
    print("up", flush=True)
    time.sleep(60)
"""


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def everything_of(stack: Stack) -> list[psutil.Process]:
    return [process for record in stack.state.records for process in members(record)]


def test_a_stack_starts_healthy_and_stops_with_all_that_it_started(make_stack: MakeStack) -> None:
    stack = make_stack(two_servers)
    stack.start()
    processes = everything_of(stack)
    assert [record.name for record in stack.state.records] == ["mlflow", "airflow"]
    assert len(processes) == 4  # each server and its child, which has a process group of its own
    assert [trouble for _, trouble in stack.health()] == [None, None]
    with urllib.request.urlopen(stack.urls["airflow"]) as answer:
        assert answer.status == 200
    stack.stop()
    assert all(is_gone(process) for process in processes)
    assert not (stack.home / STATE).exists()


def test_another_shell_finds_the_stack_and_stops_it(make_stack: MakeStack) -> None:
    here, elsewhere = make_stack(two_servers), make_stack(two_servers)
    here.start()
    assert elsewhere.is_running()
    assert elsewhere.urls == here.urls
    elsewhere.stop()
    assert not here.is_running()


def test_a_second_start_is_refused_and_says_what_to_do(make_stack: MakeStack) -> None:
    make_stack(two_servers).start()
    with pytest.raises(StackError, match=r"already running .* `loop down` stops it"):
        make_stack(two_servers).start()


def test_a_stopped_stack_starts_again(make_stack: MakeStack) -> None:
    stack = make_stack(two_servers)
    for _ in range(2):
        stack.start()
        stack.stop()
    assert (stack.home / "logs" / "mlflow.log.1").exists()


def test_a_process_that_fails_is_named_with_the_end_of_its_log_and_the_rest_is_stopped(make_stack: MakeStack) -> None:
    stack = make_stack(one_breaks)
    with pytest.raises(StackError, match=r"(?s)migrate ended with exit code 3.*the disk is on fire.*What to do"):
        stack.start()
    assert not stack.is_running()


def test_a_process_that_does_not_become_healthy_is_an_error(make_stack: MakeStack) -> None:
    with pytest.raises(StackError, match=r"(?s)mlflow is not healthy after 1 s: no good answer.*waiting for Godot"):
        make_stack(never_healthy).start()


def test_a_process_that_ignores_the_request_is_killed(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stack.stack.GRACE_S", 0.5)
    stack = make_stack(one_stubborn)
    stack.start()
    processes = everything_of(stack)
    stack.stop()
    assert all(is_gone(process) for process in processes)


def test_a_process_that_died_is_noticed(make_stack: MakeStack) -> None:
    stack = make_stack(two_servers)
    stack.start()
    stack.check()
    os.kill(stack.state.records[0].pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(stack.state.records[0].pid)], timeout=5)
    with pytest.raises(StackError, match="mlflow has died"):
        stack.check()
    assert stack.health()[0][1] == "has died"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_program_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        processes = [process for record in load(tmp_path).records for process in members(record)]
        program.send_signal(number)
        assert program.wait(timeout=30) != 0
    assert len(processes) == 4
    assert all(is_gone(process) for process in processes)


def test_processes_are_told_where_everything_is(make_stack: MakeStack) -> None:
    stack = make_stack(tells_its_environment)
    stack.start()
    told = (stack.home / "logs" / "teller.log").read_text().split()
    assert told == [str(stack.home), stack.urls["mlflow"], "true"]


def test_the_command_line_adopts_a_running_stack(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_SERVING_URL", "http://elsewhere:8000")
    monkeypatch.setenv("LOOP_MLFLOW_URL", "to be removed")
    monkeypatch.delenv("LOOP_MLFLOW_URL")
    stack = make_stack(two_servers)
    stack.start()
    adopt(stack.home)
    assert os.environ["LOOP_MLFLOW_URL"] == stack.urls["mlflow"]
    assert os.environ["LOOP_SERVING_URL"] == "http://elsewhere:8000"
    assert "LOOP_SERVING_KEY" not in os.environ


def test_the_command_line_sends_the_key_of_the_stack_that_it_adopts(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOP_SERVING_URL", "LOOP_MLFLOW_URL", "LOOP_SERVING_KEY"):
        monkeypatch.setenv(name, "to be removed")
        monkeypatch.delenv(name)
    stack = make_stack(two_servers)
    stack.start()
    adopt(stack.home)
    assert headers() == {"Authorization": f"Bearer {stack.secrets['LOOP_SERVING_KEY']}"}


def test_where_there_are_keys_a_stack_that_starts_has_one(make_stack: MakeStack, settings: Settings) -> None:
    make_stack(two_servers).start()
    assert keys.read(settings.keys_path) is None  # no file: open, on this machine
    make_stack(two_servers).stop()
    keys.change(settings.keys_path, lambda found: found.added("one", keys.new_key(), ["predict"]))
    stack = make_stack(two_servers)
    stack.start()
    found = keys.read(settings.keys_path)
    assert found is not None
    own = found.find(stack.secrets["LOOP_SERVING_KEY"].encode())
    assert own is not None
    assert (own.name, own.scopes) == ("stack", ("predict", "operate"))


def test_the_real_plan_keeps_airflows_secrets_from_the_other_servers(settings: Settings) -> None:
    secrets = credentials.generate()
    services = {each.name: each for each in all_services(settings, choose_ports(settings), secrets)}
    assert "AIRFLOW__CORE__FERNET_KEY" in services["airflow-scheduler"].env
    assert not [name for name in services["serving"].env if name.startswith("AIRFLOW")]
    assert not [name for name in services["mlflow"].env if name.startswith("AIRFLOW")]


def test_the_real_plan_gives_the_salt_to_the_model_server_and_its_key_to_those_who_ask(settings: Settings) -> None:
    secrets = credentials.generate()
    services = {each.name: each for each in all_services(settings, choose_ports(settings), secrets)}
    assert [name for name, each in services.items() if "LOOP_SALT" in each.env] == ["serving"]
    assert services["airflow-scheduler"].env["LOOP_SERVING_KEY"] == secrets["LOOP_SERVING_KEY"]
    assert services["serving"].env["LOOP_KEYS"] == str(settings.keys_path)
