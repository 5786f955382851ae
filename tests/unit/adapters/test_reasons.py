"""Why a service failed: the server's number and words in one line, never a password."""

import pymysql
import pytest
import redis.exceptions
from temporalio.service import RPCError, RPCStatusCode

from adapters.reasons import REASON_MAX_CHARS, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            pymysql.err.OperationalError(1045, "Access denied for user 'app'@'%'", "28000"),
            "OperationalError: 1045 Access denied for user 'app'@'%'",
        ),
        (
            pymysql.err.OperationalError(2003, "Can't connect to MySQL server on '10.0.0.1'"),
            "OperationalError: 2003 Can't connect to MySQL server on '10.0.0.1'",
        ),
        (
            redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
            "ReadOnlyError: You can't write against a read only replica.",
        ),
        (
            redis.exceptions.ConnectionError("Error 111 connecting to h:1. Connect call failed."),
            "ConnectionError: connecting to h:1. Connect call failed.",
        ),
        (
            RPCError("Namespace later is not found.", RPCStatusCode.NOT_FOUND, b""),
            "RPCError: NOT_FOUND Namespace later is not found.",
        ),
        (
            ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"),
            "ConnectionRefusedError: Connect call failed ('127.0.0.1', 1)",
        ),
        (TimeoutError(), "TimeoutError: no answer in time"),
        (RuntimeError("line\nother line"), "RuntimeError: line"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_the_servers_own_words_are_kept(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_cause_that_the_wrapper_does_not_repeat_is_added() -> None:
    refused = pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'db'")
    refused.__cause__ = OSError(1, "certificate verify failed: unable to get issuer")
    repeated = redis.exceptions.ConnectionError("Error 111 connecting to h:1. no route")
    repeated.__cause__ = OSError(111, "no route")

    assert reason_of(refused) == (
        "OperationalError: 2003 Can't connect to MySQL server on 'db'"
        " (PermissionError: certificate verify failed: unable to get issuer)"
    )
    assert reason_of(repeated) == "ConnectionError: connecting to h:1. no route"


def test_a_wrapper_without_words_gives_its_causes() -> None:
    wrapper = redis.exceptions.ConnectionError()
    wrapper.__cause__ = OSError(101, "Network is unreachable")

    assert reason_of(wrapper) == "ConnectionError: (OSError: Network is unreachable)"


def test_credentials_in_an_address_are_hidden() -> None:
    reason = reason_of(ValueError("cannot reach rediss://app:pa:ss%40word@cache:6379/0"))

    assert reason == "ValueError: cannot reach rediss://app:***@cache:6379/0"


def test_a_reason_has_a_bound() -> None:
    assert len(reason_of(ValueError("x" * 10_000))) == REASON_MAX_CHARS
