"""What somebody types into the sign-in page -> the header that counts as theirs from then on."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from api.auth.authenticator import Authenticator, bearer_token
from api.auth.cookies import Headers
from api.auth.principal import Origin
from api.schemas.auth import LoginRequest
from api.services.sessions import SessionService
from api.services.sign_in import SignInService
from api.wiring import Wiring
from omium_core.errors import NotAuthenticated, NotPermitted

_LONGEST_KEY = 200
_READ = "execution:read"


class BrowserSessions:
    """Begins sessions of browsers with an API key or a person's password. One ends by itself, or with its credential."""

    def __init__(self, process: Wiring, authenticator: Authenticator) -> None:
        self._process = process
        self._authenticator = authenticator

    async def begin(self, fields: Mapping[str, str], origin: Origin) -> tuple[str, str]:
        """The header and its value. `fields` hold `api_key`, or `email`, `password` and perhaps `totp_code`.

        Raises `NotAuthenticated`, `MfaRequired`, `TooManyAttempts`; `NotPermitted` for who may not look at executions.
        """
        header = await self._of_person(fields, origin) if "email" in fields else self._of_key(fields)
        caller = await self._authenticator.authenticate([(header[0].encode(), header[1].encode())])
        if not caller.may(_READ):
            raise NotPermitted("With this you may not look at executions.", permission=_READ)
        return header

    async def end(self, credential: Headers, origin: Origin) -> None:
        """Ends the session of a person; a key goes on to work elsewhere."""
        token = bearer_token(credential)
        if token is None:
            return
        try:
            caller = await self._authenticator.authenticate(credential)
        except NotAuthenticated:
            return  # it has ended already
        await SessionService(self._process).end(caller, None, everywhere=False, origin=origin)

    @staticmethod
    def _of_key(fields: Mapping[str, str]) -> tuple[str, str]:
        key = fields.get("api_key", "").strip()
        if not key or len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        return "x-api-key", key

    async def _of_person(self, fields: Mapping[str, str], origin: Origin) -> tuple[str, str]:
        given = {name: fields[name] for name in ("email", "password", "totp_code") if fields.get(name)}
        try:
            wanted = LoginRequest.model_validate(given)
        except ValidationError:
            raise NotAuthenticated("Type the address and the password of your account.") from None
        signed_in = await SignInService(self._process).login(wanted, None, origin)
        return "authorization", f"Bearer {signed_in.tokens.access_token}"
