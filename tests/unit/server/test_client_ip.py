"""The client address of a connection, also behind proxies and with forged headers."""

import pytest

from server.stream.client_ip import client_address


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_customer(peer: str, counted: str) -> None:
    assert client_address(peer, [], proxies=0) == counted


def test_forwarded_headers_are_ignored_without_trusted_proxies() -> None:
    assert client_address("203.0.113.7", ["198.51.100.1"], proxies=0) == "203.0.113.7"


@pytest.mark.parametrize(
    ("fields", "proxies", "counted"),
    [
        (["198.51.100.1"], 1, "198.51.100.1"),
        (["1.1.1.1, 198.51.100.1"], 1, "198.51.100.1"),
        (["1.1.1.1", "198.51.100.1, 10.0.0.1"], 2, "198.51.100.1"),
        (["1.1.1.1, 2001:db8::1"], 1, "2001:db8::/64"),
        ([], 1, "203.0.113.7"),
        (["198.51.100.1"], 2, "203.0.113.7"),
        (["nonsense"], 1, "203.0.113.7"),
        (["198.51.100.1:80"], 1, "203.0.113.7"),
        (["1.1.1.1,"], 1, "203.0.113.7"),
    ],
)
def test_only_the_entry_of_the_outermost_own_proxy_is_believed(
    fields: list[str], proxies: int, counted: str
) -> None:
    assert client_address("203.0.113.7", fields, proxies=proxies) == counted
