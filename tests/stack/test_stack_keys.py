"""The stack's model server: open on this machine until there is a key, and then its own clients still get in."""

import time
from collections.abc import Mapping

import httpx
import pytest
from typer.testing import CliRunner

from core.config import Settings
from pipeline.client import client
from pipeline.commands.keys import app
from pipeline.stack import credentials
from pipeline.stack.processes import Service
from pipeline.stack.services import Ports, model_server, shared_environment
from pipeline.stack.stack import Stack, adopt
from tests.stack.standins import MakeStack


def only_the_model_server(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    salt = {credentials.SALT: secrets[credentials.SALT]}
    return [model_server(ports.serving, shared_environment(settings, ports.urls(), secrets) | salt)]


def test_the_first_key_closes_a_running_stack_to_all_but_itself(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_stack(only_the_model_server)
    stack.start()
    assert status(stack) == 200
    for name in ("LOOP_SERVING_URL", "LOOP_MLFLOW_URL", "LOOP_SERVING_KEY", "LOOP_HOME"):
        monkeypatch.setenv(name, "to be removed")
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOOP_HOME", str(stack.home))
    made = CliRunner().invoke(app, ["add", "web", "--scope", "predict"], catch_exceptions=False)
    until = time.monotonic() + 10
    while status(stack) != 401:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "loop_" in made.output
    adopt(stack.home)
    with client(stack.urls["serving"]) as http:
        assert http.get("/release").status_code == 200
    stack.stop()
    stack.start()  # and with the file there from the start
    assert status(stack) == 401
    with client(stack.urls["serving"]) as http:
        assert http.get("/release").status_code == 200


def status(stack: Stack) -> int:
    """Of somebody without a key."""
    return httpx.get(f"{stack.urls['serving']}/release", trust_env=False).status_code
