"""Which addresses are public, and what an operator can allow besides."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.tools.addresses import AddressPolicy, is_public
from omium_core.errors import ConfigurationError


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "192.88.99.1"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2001:0:7f00:1::"),
        *("fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
def test_an_ipv6_cloak_changes_nothing(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::", "::"):
        cloaked = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(address))
        assert not is_public(cloaked)


def test_allowed_networks_and_hosts() -> None:
    policy = AddressPolicy(["10.0.0.0/8", "fd00::/8", "192.168.1.5", "Intranet.example"])
    private = ipaddress.ip_address("172.16.0.1")
    assert policy.allows("anything", ipaddress.ip_address("10.2.3.4"))
    assert policy.allows("anything", ipaddress.ip_address("::ffff:10.2.3.4"))
    assert policy.allows("anything", ipaddress.ip_address("fd00::1"))
    assert policy.allows("anything", ipaddress.ip_address("192.168.1.5"))
    assert policy.allows("intranet.EXAMPLE.", private)
    assert not policy.allows("sub.intranet.example", private)
    assert not policy.allows("anything", ipaddress.ip_address("192.168.1.6"))
    assert not policy.allows("anything", ipaddress.ip_address("127.0.0.1"))


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "http://intranet", "*.example", "a b", ""])
def test_entry_that_means_nothing_stops_the_start(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="OMIUM_HTTP_ALLOW_PRIVATE"):
        AddressPolicy([entry])
