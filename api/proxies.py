"""Who sent a request, and how: the word of a proxy counts only if the proxy is one of OMIUM_TRUSTED_PROXIES."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from starlette.types import Scope

Address: TypeAlias = IPv4Address | IPv6Address

_MOST_HOPS = 32


class Proxies:
    """Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = [ip_network(entry, strict=False) for entry in trusted]

    def sender(self, scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str | None, str]:
        """The address of the sender, and the scheme that it used.

        Each proxy writes the address that it saw behind those it was given. So the list is read from its end, and the first
        address that is no trusted proxy is the sender's: what stands before it may be invented.
        """
        peer = (scope.get("client") or (None,))[0]
        scheme: str = scope.get("scheme", "http")
        hop = _address(peer) if peer else None
        if hop is None:
            return peer, scheme
        if not self._networks or not self._trusts(hop):
            return str(hop), scheme
        hops = _listed(headers, b"x-forwarded-for")[-_MOST_HOPS:]
        place = len(hops)
        while place > 0 and self._trusts(hop):
            named = _address(hops[place - 1])
            if named is None:
                break
            hop = named
            place -= 1
        return str(hop), _scheme(_listed(headers, b"x-forwarded-proto"), place, len(hops)) or scheme

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


def _scheme(schemes: Sequence[str], place: int, hops: int) -> str | None:
    """The scheme that was written beside the sender's address; where there are not as many, the last one."""
    if not schemes:
        return None
    chosen = schemes[place] if len(schemes) == hops and place < hops else schemes[-1]
    return chosen.lower() if chosen.lower() in ("http", "https") else None


def _listed(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    values = b",".join(value for header, value in headers if header == name)
    return [part.strip() for part in values.decode("latin-1").split(",") if part.strip()]


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    """An address as proxies write it: with a port or without, IPv6 in brackets or bare, with the zone of an interface."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # the same machine, seen through a socket that speaks both
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
