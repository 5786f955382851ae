"""A MySQL address as the harness hands it to its driver, with and without TLS."""

import ssl

import pymysql
import pytest

from harness.evidence.database import mysql_parameters, words_of

ADDRESS = "mysql://u:p%23@db:3307/scores"


def test_plain_address_names_only_what_the_driver_knows() -> None:
    parameters = mysql_parameters(ADDRESS)

    assert parameters == {
        "host": "db",
        "port": 3307,
        "user": "u",
        "password": "p#",
        "database": "scores",
        "ssl_disabled": True,
    }
    # It would refuse a name that it does not know here.
    assert pymysql.Connection(**parameters, defer_connect=True).db == "scores"


@pytest.mark.parametrize(
    ("mode", "checks_host", "checks_certificate"),
    [
        ("REQUIRED", False, ssl.CERT_NONE),
        ("VERIFY_CA", False, ssl.CERT_REQUIRED),
        ("VERIFY_IDENTITY", True, ssl.CERT_REQUIRED),
    ],
)
def test_tls_is_checked_as_far_as_the_address_asks(
    mode: str, checks_host: bool, checks_certificate: ssl.VerifyMode
) -> None:
    context = mysql_parameters(f"{ADDRESS}?ssl_mode={mode}")["ssl"]

    assert (context.check_hostname, context.verify_mode) == (checks_host, checks_certificate)


def test_certificate_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"^/nowhere/ca\.pem: No such file"):
        mysql_parameters(f"{ADDRESS}?ssl_mode=VERIFY_CA&ssl_ca=/nowhere/ca.pem")


def test_reason_of_a_refused_connection_has_no_numbers() -> None:
    told = "Can't connect to MySQL server on 'h' ([Errno 111] Connection refused)"

    assert words_of(pymysql.err.OperationalError(2003, told)) == (
        "Can't connect to MySQL server on 'h' (Connection refused)"
    )
