"""Ports: configured, usual or free."""

import socket
from collections.abc import Iterator

import pytest

from core.errors import StackError
from pipeline.stack.ports import any_free, choose, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_usual_port_is_taken_when_it_is_free() -> None:
    usual = any_free()
    assert choose("mlflow", None, usual) == usual


def test_another_port_is_found_when_the_usual_one_is_taken(taken: int) -> None:
    found = choose("mlflow", None, taken)
    assert found != taken
    assert is_free(found)


def test_a_configured_port_wins(taken: int) -> None:
    configured = any_free()
    assert choose("mlflow", configured, taken) == configured


def test_a_configured_port_that_is_taken_is_an_error_that_names_its_setting(taken: int) -> None:
    with pytest.raises(StackError, match=f"{taken} .LOOP_MLFLOW_PORT. is taken"):
        choose("mlflow", taken, 5001)
