"""Who is signed in on this machine: tokens beside the configuration file, readable by their owner alone.

They are sent to the address that gave them and to no other. A refresh token works once, and ends the session when it is sent
a second time, so processes refresh one at a time and read again what another one may have got.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from omium.config import file_path
from omium.errors import ConfigurationError

#: A token of whose life less than this part is left is refreshed before a command begins: some commands take a while.
_MARGIN = 0.5


@dataclass(frozen=True)
class Login:
    """`expires_at` and `lifetime` (of the access token) are in seconds."""

    base_url: str
    email: str
    tenant: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    lifetime: float

    @property
    def is_fresh(self) -> bool:
        return time.time() < self.expires_at - self.lifetime * _MARGIN

    def with_tokens(self, tokens: Mapping[str, Any]) -> Login:
        lifetime = float(tokens["expires_in"])
        return Login(
            self.base_url,
            self.email,
            self.tenant,
            str(tokens["access_token"]),
            str(tokens["refresh_token"]),
            time.time() + lifetime,
            lifetime,
        )


def from_answer(base_url: str, answer: Mapping[str, Any]) -> Login:
    """What `client.auth.login` answered, to be kept."""
    empty = Login(base_url, answer["user"]["email"], answer["tenant"]["slug"], "", "", 0, 0)
    return empty.with_tokens(answer)


def read(base_url: str) -> Login | None:
    """The login for an address; None without one, or where the file is of another version."""
    try:
        login = Login(**json.loads(_path().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"Cannot read {_path()}: {error.strerror}.") from error
    except (ValueError, TypeError):
        return None
    return login if login.base_url == base_url else None


def write(login: Login) -> Path:
    """Keeps a login instead of the one before. Raises `ConfigurationError`."""
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # a new file each time (its mode is 0600 from birth), so that a crash leaves the old or the new, never half
        with NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as draft:
            json.dump(asdict(login), draft)
            written = Path(draft.name)
        try:
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from error
    return path


def forget() -> None:
    """Nobody is signed in here any more."""
    _path().unlink(missing_ok=True)


def refreshed(login: Login, refresh: Callable[[str], Mapping[str, Any]]) -> Login:
    """The login with an access token that lasts a while; `refresh` asks the API, if nobody else has done so."""
    with _alone():
        present = read(login.base_url) or login
        if present.is_fresh:
            return present
        fresh = present.with_tokens(refresh(present.refresh_token))
        write(fresh)
        return fresh


@contextmanager
def _alone() -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        # without locks of this kind, two commands at the same moment may cost a sign-in
        yield
        return
    with _path().with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path() -> Path:
    return file_path().with_name("login.json")
