"""Logs of a process that handles what others send."""

import logging
import sys

from core.logs import FORMAT, Discreet


def test_a_discreet_log_says_where_an_error_was_and_not_what_it_said() -> None:
    try:
        try:
            raise KeyError("Erika Mustermann")
        except KeyError as error:
            raise ValueError("Erika, again") from error
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "following failed", (), sys.exc_info())
    text = Discreet(FORMAT).format(record)
    assert "following failed" in text
    assert "test_logs.py" in text
    assert "ValueError (its message is left out)" in text
    assert "Erika M" not in text.replace('raise KeyError("Erika Mustermann")', "")
