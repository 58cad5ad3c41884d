"""The client of a command, and what becomes of its errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omium.cli.output import fail
from omium.errors import AuthenticationError, InvalidArgument, OmiumError

if TYPE_CHECKING:
    from omium.client import OmiumClient


@contextmanager
def connect() -> Iterator[OmiumClient]:
    """A configured client: that of the person who signed in here, unless OMIUM_API_KEY is set, else that of a key.

    An error of the SDK ends the command with one sentence on stderr and exit code 1.
    """
    from omium.client import OmiumClient

    try:
        with OmiumClient(access_token=access_token()) as client:
            yield client
    except InvalidArgument as error:
        fail(str(error), code=2)
    except AuthenticationError as error:
        fail(f"{error}. `omium auth whoami` and `omium config show` tell who is asking.")
    except OmiumError as error:
        fail(str(error))


@contextmanager
def connect_openly() -> Iterator[OmiumClient]:
    """A client without a credential, for signing in; errors as with `connect`."""
    from omium.client import OmiumClient

    try:
        with OmiumClient() as client:
            yield client
    except InvalidArgument as error:
        fail(str(error), code=2)
    except OmiumError as error:
        fail(str(error))


def access_token() -> str | None:
    """The token of the person who signed in here, lasting a while; None where a key is to be used."""
    from omium import login as logins
    from omium.config import VARIABLES, resolve

    if os.environ.get(VARIABLES["api_key"]):
        return None
    login = logins.read(resolve().base_url)
    if login is None or login.is_fresh:
        return login.access_token if login is not None else None
    from omium.client import OmiumClient

    try:
        with OmiumClient() as client:
            return logins.refreshed(login, client.auth.refresh).access_token
    except AuthenticationError:
        logins.forget()
        fail("Your session is over. Sign in again: `omium auth login`.")
