"""The client address of a connection, also behind proxies and with forged headers."""

import pytest
from sanic.compat import Header

from server.stream.client_ip import X_FORWARDED_FOR, Proxies, client_address


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
    assert client_address(peer, [], proxies=0)[0] == counted


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("127.8.8.8", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
    ],
)
def test_connection_of_this_machine_has_no_address_of_its_own(
    peer: str, address: str | None
) -> None:
    named = Header({X_FORWARDED_FOR: "198.51.100.1"})

    assert Proxies(0, header=X_FORWARDED_FOR).foreign_address(peer, named) == address
    assert Proxies(1, header=X_FORWARDED_FOR).foreign_address(peer, named) == "198.51.100.1"


def test_forwarded_headers_are_ignored_without_trusted_proxies() -> None:
    assert client_address("203.0.113.7", ["198.51.100.1"], proxies=0)[0] == "203.0.113.7"


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
        (["198.51.100.1:80"], 1, "198.51.100.1"),
        (["[2001:db8::1]:443"], 1, "2001:db8::/64"),
        (["[2001:db8::1]"], 1, "2001:db8::/64"),
        (["1.1.1.1:1, 198.51.100.1:2, 10.0.0.1:3"], 2, "198.51.100.1"),
        (["198.51.100.1:x"], 1, "203.0.113.7"),
        (["[198.51.100.1"], 1, "203.0.113.7"),
        (["2001:db8::1:443x"], 1, "203.0.113.7"),
        (["1.1.1.1,"], 1, "203.0.113.7"),
    ],
)
def test_only_the_entry_of_the_outermost_own_proxy_is_believed(
    fields: list[str], proxies: int, counted: str
) -> None:
    address, named = client_address("203.0.113.7", fields, proxies=proxies)

    assert address == counted
    assert named == (counted != "203.0.113.7")


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        (["for=198.51.100.1"], "198.51.100.1"),
        (['For="198.51.100.1:4711"'], "198.51.100.1"),
        (['for="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.43'], "2001:db8:cafe::/64"),
        (['by="203.0.113.43";for=198.51.100.1;proto=http'], "198.51.100.1"),
        (["for=1.1.1.1, for=198.51.100.1"], "198.51.100.1"),
        (["for=1.1.1.1", "for=198.51.100.1"], "198.51.100.1"),
        (['for="1.1.1.1, x";proto=a, for=198.51.100.1'], "198.51.100.1"),
        (["for=unknown"], "203.0.113.7"),
        (["for=_hidden"], "203.0.113.7"),
        (["for=1.1.1.1;for=2.2.2.2"], "203.0.113.7"),
        (["proto=https"], "203.0.113.7"),
        (["198.51.100.1"], "203.0.113.7"),
        # A quote that the client left open must not make its own text the proxy's.
        (['for=1.1.1.1;x=", for="[2001:db8::1]:5"'], "203.0.113.7"),
        (['for="1.1.1.1, for=198.51.100.1'], "203.0.113.7"),
        ([], "203.0.113.7"),
    ],
)
def test_the_forwarded_field_is_read_as_rfc_7239_says(fields: list[str], counted: str) -> None:
    found, _ = client_address("203.0.113.7", fields, proxies=1, header="forwarded")

    assert found == counted
