"""The client of a command, and what becomes of its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omium.cli.output import fail
from omium.errors import AuthenticationError, InvalidArgument, OmiumError

if TYPE_CHECKING:
    from omium.client import OmiumClient


@contextmanager
def connect() -> Iterator[OmiumClient]:
    """A configured client. An error of the SDK ends the command with one sentence on stderr and exit code 1."""
    from omium.client import OmiumClient

    try:
        with OmiumClient() as client:
            yield client
    except InvalidArgument as error:
        fail(str(error), code=2)
    except AuthenticationError as error:
        fail(f"{error}. The key in use is the one that `omium config show` names.")
    except OmiumError as error:
        fail(str(error))
