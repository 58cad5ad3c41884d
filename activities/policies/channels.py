"""Where notifications go: channels as users write them, and what may be shown of them."""

from __future__ import annotations

import copy
import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import httpx
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from activities.policies.parts import Part, missing
from activities.tools.addresses import Address, AddressPolicy, can_be_host, can_be_port
from omium_core.errors import Problem

#: Stands for a secret wherever a policy is shown.
MASK: Final = "********"
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS: Final = re.compile(
    r"x-omium-.*|content-(type|length|encoding)|host|connection|transfer-encoding|upgrade|te|trailer|expect|keep-alive"
    r"|accept-encoding|idempotency-key|user-agent|proxy-.*",
    re.IGNORECASE,
)


def _address(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise PydanticCustomError("address", "Is no address.") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise PydanticCustomError("address", "Must begin with http:// or https:// and name a host.")
    if parts.userinfo:
        raise PydanticCustomError("address", "Must hold no user name or password; use a header.")
    if not (can_be_host(parts.raw_host) and can_be_port(parts.port)):
        raise PydanticCustomError("address", "Names a host or a port that cannot be.")
    return url


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _OWN_HEADERS.fullmatch(name):
            raise PydanticCustomError("header", "The header {name} cannot be set.", {"name": repr(name[:100])})
        if not _VALUE.fullmatch(value):
            raise PydanticCustomError("header", "The header {name} must be plain ASCII text.", {"name": repr(name)})
        _secret(value)
    return headers


def _secret(value: str) -> str:
    if value == MASK:
        raise PydanticCustomError("mask", "Is what is shown in place of a secret: give the secret itself.")
    return value


class Channel(Part):
    """Where notifications go: to a `webhook`, by POST, or into the `log` of the worker."""

    type: Literal["webhook", "log"] = "webhook"
    url: Annotated[str, Field(max_length=2000), AfterValidator(_address)] | None = None
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=2000)]], Field(max_length=20), AfterValidator(_headers)
    ] = Field(default_factory=dict, description="Go along with each request, to say who asks for example.")
    secret: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_secret)] | None = Field(
        default=None, description="Signs the body of each request."
    )

    @model_validator(mode="after")
    def _is_clear(self) -> Channel:
        if self.type == "webhook" and self.url is None:
            raise missing("url")
        if self.type == "log" and (given := self.model_fields_set - {"type"}):
            raise PydanticCustomError("alone", "A log has no settings.", {"at": min(given)})
        return self

    @property
    def host(self) -> str:
        """What may be shown of the address: its path may be as good as a password."""
        return "" if self.url is None else httpx.URL(self.url).host


def _by_name(value: Any) -> Any:
    """A log may be written as its name alone."""
    return {"type": "log"} if value == "log" else value


Channels = Annotated[
    list[Annotated[Channel, BeforeValidator(_by_name, json_schema_input_type=Channel | Literal["log"])]],
    Field(max_length=10),
]


def address_problems(channels: Any, allowed: AddressPolicy, path: str) -> list[Problem]:
    """Channels, right otherwise, that can be seen to lead to a private address; names are looked up when something is sent."""
    problems = []
    for place, given in enumerate(channels or ()):
        host = Channel.model_validate(_by_name(given)).host
        address = _literal(host)
        if address is not None and not allowed.allows(host, address):
            problems.append(Problem(f"{path}[{place}].url", f"{host} is not a public address."))
    return problems


def _literal(host: str) -> Address | None:
    """The address that a host is, without asking anybody; None for a name."""
    if f".{host.rstrip('.').lower()}".endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001: forms that only the resolver reads as an address
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A notification policy as it may be shown: without secrets, and without the values of headers."""
    shown = copy.deepcopy(dict(config))
    for channel in _dicts(shown):
        if channel.get("secret"):
            channel["secret"] = MASK
        if channel.get("headers"):
            channel["headers"] = dict.fromkeys(channel["headers"], MASK)
    return shown


def unmasked(config: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """A policy that was shown and comes back: what is masked is as it was, for a channel of the same address."""
    given = copy.deepcopy(dict(config))
    known = {channel.get("url"): channel for channel in _dicts(stored)}
    for channel in _dicts(given):
        url = channel.get("url")
        before = known.get(url, {}) if isinstance(url, str) else {}
        if channel.get("secret") == MASK:
            channel["secret"] = before.get("secret", MASK)
        headers = channel.get("headers")
        if isinstance(headers, dict):
            kept = before.get("headers", {})
            channel["headers"] = {
                name: kept.get(name, MASK) if value == MASK else value for name, value in headers.items()
            }
    return given


def _dicts(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    channels = config.get("channels")
    return [channel for channel in channels if isinstance(channel, dict)] if isinstance(channels, list) else []
