"""Addresses of stores: every part of a URL is used or refused with the nearest name."""

import pytest

from scoreboard.addresses import MySqlAddress, mysql_address, redis_files, redis_url

PLAIN = {"host": "h", "port": 3306, "user": "u", "password": "p", "database": "d"}


@pytest.mark.parametrize(
    ("parts", "tls"),
    [
        ("", {}),
        ("?ssl_mode=DISABLED", {}),
        ("?ssl_mode=required", {"ssl_mode": "REQUIRED"}),
        ("?ssl_ca=/ca.pem", {"ssl_mode": "VERIFY_IDENTITY", "ssl_ca": "/ca.pem"}),
        ("?ssl-mode=VERIFY_CA&ssl-ca=/ca", {"ssl_mode": "VERIFY_CA", "ssl_ca": "/ca"}),
        (
            "?ssl_cert=/c&ssl_key=/k",
            {"ssl_mode": "VERIFY_IDENTITY", "ssl_cert": "/c", "ssl_key": "/k"},
        ),
    ],
)
def test_mysql_by_tls(parts: str, tls: dict[str, str]) -> None:
    address = mysql_address(f"mysql://u:p@h/d{parts}")

    assert address == MySqlAddress(**PLAIN, **tls)  # type: ignore[arg-type]
    assert set(address.files) == {v for name, v in tls.items() if name != "ssl_mode"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:p@h/d?ssl_mod=REQUIRED", "the nearest is ssl_mode"),
        ("mysql://u:p@h/d?sslmode=REQUIRED", "the nearest is ssl_mode"),
        ("mysql://u:p@h/d?charset=utf8", "known: ssl_mode, ssl_ca, ssl_cert, ssl_key"),
        ("mysql://u:p@h/d?ssl_mode=PREFERRED", "an ssl_mode of DISABLED, REQUIRED"),
        ("mysql://u:p@h/d?ssl_mode=", "once, with a value"),
        ("mysql://u:p@h/d?ssl_ca=/a&ssl_ca=/b", "once, with a value"),
        ("mysql://u:p@h/d?ssl_mode=DISABLED&ssl_ca=/a", "ssl_mode=DISABLED"),
        ("mysql://u:p@h/d?ssl_cert=/a", "both ssl_cert and ssl_key"),
        ("mysql://u:p@h/d#x", "%23"),
        ("mysql://u:p@h/d/e", "the database's name"),
        ("mysql://u:p@h:0/d", "port from 1"),
        ("mysql://u:p@h:99999/d", "port from 1"),
        ("mysqls://u:p@h/d", "must look like mysql://"),
        ("mysql://u:p@h", "must look like mysql://"),
    ],
)
def test_a_mysql_url_with_more_than_is_understood_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as refused:
        mysql_address(url)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://u:p%40@h:6380/2?client_name=board",
        "redis://h/0?prefix=board:7",
        "rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=false",
        "redis+sentinel://u:p@a:1,b:2,[::1]:3/mymaster",
        "rediss+sentinel://a/mymaster/3?sentinel_username=s&sentinel_password=t&ssl_ca_certs=/c",
        "redis+cluster://u:p@a,b:7001",
    ],
)
def test_a_redis_url_of_each_form_is_taken(url: str) -> None:
    assert redis_url(url) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rediss://h?ssl_ca_cert=/ca", "the nearest is ssl_ca_certs"),
        ("redis://h?perfix=a", "the nearest is prefix"),
        ("redis://h?max_connections=1", "known: prefix"),
        ("redis://h?prefix={a}", "letters, digits"),
        ("redis://h?ssl_ca_certs=/ca", "must begin with rediss"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("redis://a,b/0", "redis+sentinel:// or redis+cluster://"),
        ("redis://h/a", "must look like"),
        ("redis://h/0/1", "must look like"),
        ("redis+sentinel://a:1", "host:port/name/0"),
        ("redis+cluster://a:1/3", "must look like redis+cluster"),
        ("redis://a:0", "port from 1"),
        ("redis+sentinel://a:99999/m", "port from 1"),
        ("redis://", "must look like"),
        ("redis+sentinal://a/m", "the nearest is redis+sentinel://"),
        ("redis://h?sentinel_username=a", "must not have the part"),
        ("redis://:p#w@h", "must"),
    ],
)
def test_a_redis_url_with_more_than_is_understood_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as refused:
        redis_url(url)

    assert reason in str(refused.value)


def test_the_files_of_a_redis_url_are_known() -> None:
    assert redis_files("rediss://h?ssl_ca_certs=/ca&prefix=x&ssl_keyfile=/k") == ("/ca", "/k")
