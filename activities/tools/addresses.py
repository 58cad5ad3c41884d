"""Which addresses tools, connections and notifications may reach: public ones, and what the operator allows besides.

A private service that answers whoever is inside the network (a database, a metadata service, this platform's own gateway)
must not be within reach of a sentence that a model was talked into.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from omium_core.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Globally routed or unclassified for `ipaddress`, and still no place for a tool.
_DENIED: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # metadata and health service of a large cloud, at a public address
            "192.0.0.0/24",  # protocol assignments; another cloud's metadata service lies here
            "192.88.99.0/24",  # relays into 6to4
            "::/96",  # IPv4-compatible
            "64:ff9b:1::/48",  # NAT64 of the local network
            "2001::/23",  # Teredo and other protocol assignments
            "2002::/16",  # 6to4: carries an IPv4 address
            "3fff::/20",  # documentation
            "fec0::/10",  # site-local
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_IN_ADDRESS = re.compile(rf"(?:{_HOST.pattern}\.?|[0-9A-Fa-f:.]+)".encode())


def can_be_host(raw_host: bytes) -> bool:
    """Whether there can be such a host. `raw_host` is how an address is sent: ASCII, without brackets."""
    return _IN_ADDRESS.fullmatch(raw_host) is not None


def can_be_port(port: int | None) -> bool:
    return port is None or 0 < port < 65536


class AddressPolicy:
    """Judges hosts and addresses. `allowed_private` lists host names, addresses and networks such as `10.0.0.0/8`."""

    def __init__(self, allowed_private: Sequence[str]) -> None:
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in allowed_private:
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if not _HOST.fullmatch(entry):
                    raise ConfigurationError(
                        f"OMIUM_HTTP_ALLOW_PRIVATE names {entry!r}, which is neither a host name nor a network such as 10.0.0.0/8."
                    ) from None
                self._hosts.add(_plain_host(entry))

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection to `address`, which was asked for as `host`, may be opened."""
        return (
            is_public(address)
            or _plain_host(host) in self._hosts
            or any(_unwrapped(address) in network for network in self._networks)
        )


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; an IPv6 address that stands for an IPv4 one is judged as that."""
    address = _unwrapped(address)
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local)
        and not any(address in network for network in _DENIED)
    )


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[-4:])
    return address


def _plain_host(host: str) -> str:
    return host.rstrip(".").lower()
