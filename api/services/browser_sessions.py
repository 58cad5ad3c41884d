"""What somebody types into the sign-in page -> the header that counts as theirs from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.keys import KeyAuthenticator
from api.auth.principal import Origin
from api.wiring import Wiring
from omium_core.errors import NotAuthenticated, NotPermitted

_LONGEST = 4_000


class BrowserSessions:
    """One use case: begin a session. It ends by itself, or with the credential that it began with."""

    def __init__(self, process: Wiring, state: Any) -> None:
        self._process = process
        self._authenticator: KeyAuthenticator = state.authenticator

    @staticmethod
    def takes_passwords(process: Wiring) -> bool:
        return False

    async def begin(self, fields: Mapping[str, str], origin: Origin) -> tuple[str, str]:
        """The header and its value. Raises `NotAuthenticated`; `NotPermitted` for who may not look at runs."""
        key = fields.get("api_key", "").strip()
        if not key or len(key) > _LONGEST or not key.isascii():
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        header = ("x-api-key", key)
        caller = await self._authenticator.authenticate([(header[0].encode(), key.encode())])
        if not caller.may("execution:read"):
            raise NotPermitted("This credential may not look at executions.", permission="execution:read")
        return header
