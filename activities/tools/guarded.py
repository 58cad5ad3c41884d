"""HTTP to addresses that tenants name: every connection goes to an address that was judged, and to nothing private.

`httpx-secure` opens the connection to the very address that was judged, so a name that resolves differently the second
time gains nothing. Redirects are never followed here: whoever follows one judges its address like the first.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection

from activities.adapters.base import ToolFailed
from activities.tools.addresses import Address, AddressPolicy, can_be_host, can_be_port

#: Seconds for which a client that is kept goes to the address that it judged, without asking for the name again.
_PINNED_SECONDS = 60.0


class AddressRefused(ToolFailed):
    """The address is none that may be reached."""


class HostNotFound(ToolFailed):
    """The host's name leads nowhere."""


class Guard:
    """Judges addresses, and makes clients that open no connection to one that was not judged."""

    def __init__(self, allow_private: Sequence[str]) -> None:
        self._policy = AddressPolicy(allow_private)

    def client(self, timeout: float | httpx.Timeout, *, limits: httpx.Limits | None = None) -> httpx.AsyncClient:
        """A client that raises `httpx_secure.SSRFProtectionError` for what may not be reached (see `refusal`)."""
        # Without the environment: a proxy would open connections where nobody judges them.
        client = httpx.AsyncClient(
            trust_env=False, verify=ssl_context(), timeout=timeout, limits=limits or httpx.Limits()
        )
        return httpx_ssrf_protection(
            client,
            check_globally_reachable=False,
            custom_validator=lambda host, address, _port: self._policy.allows(host, address),
            dns_cache_ttl=_PINNED_SECONDS,
        )

    @asynccontextmanager
    async def bounded(self, host: str, timeout: float) -> AsyncIterator[httpx.AsyncClient]:
        """A client for at most so many seconds, whose errors are told as `ToolFailed`."""
        try:
            async with asyncio.timeout(timeout), self.client(timeout) as client:
                yield client
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ToolFailed(f"{host} did not answer within {timeout:g} seconds.") from error
        except SSRFProtectionError as error:
            raise refusal(error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolFailed(f"The request to {host} failed: {error or type(error).__name__}") from error

    async def judge(self, url: httpx.URL, *, schemes: Sequence[str] = ("http", "https")) -> list[Address]:
        """Refuses what can be refused without opening a connection: even a refused one would tell which ports are open.

        Gives the addresses of the host. Raises `AddressRefused`, and `ToolFailed` for an address that cannot be used.
        """
        if url.scheme not in schemes:
            begins = " or ".join(f"{scheme}://" for scheme in schemes)
            raise AddressRefused(f"The address must begin with {begins}, not with {url.scheme or 'nothing'!r}.")
        if url.userinfo:
            raise AddressRefused("The address must hold no user name or password; use a header.")
        if not url.host:
            raise ToolFailed("The address names no host.")
        if not can_be_host(url.raw_host):
            raise ToolFailed(f"The address names the host {url.host[:300]!r}, which cannot be.")
        if not can_be_port(url.port):
            raise ToolFailed(f"The address names the port {url.port}, which cannot be.")
        found = await _addresses(url)
        for address in found:
            if not self._policy.allows(url.host, address):
                raise _refused(url.host, address)
        return found


def refusal(error: SSRFProtectionError) -> AddressRefused:
    """What a client of `Guard` refused, in words for whoever gave the address."""
    return _refused(error.hostname, error.ip_addr)


def _refused(host: str, address: Address | None) -> AddressRefused:
    where = host if address is None or str(address) == host else f"{host} ({address})"
    return AddressRefused(
        f"{where} is not a public address, so it may not be reached. "
        "The operator can allow it with OMIUM_HTTP_ALLOW_PRIVATE."
    )


async def _addresses(url: httpx.URL) -> list[Address]:
    port = url.port or (443 if url.scheme in ("https", "wss") else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostNotFound(f"The host {url.host!r} cannot be found: {error}") from error
    return [ipaddress.ip_address(entry[4][0]) for entry in found]


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """One for all requests: reading the certificates takes longer than most requests."""
    return httpx.create_ssl_context()
