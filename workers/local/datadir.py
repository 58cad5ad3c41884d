"""The data directory of one stack: its layout, its lock, its secrets, and `stack.json`.

Layout: `stack.json` (addresses, for programs), `secrets.json`, `temporal.db`, `objects/`, `postgres/`, `logs/`,
and `run/` (who runs now: the lock, and a record of each process).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import string
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omium_core.keyring import new_master_key
from workers.local.errors import StackError

_KEY_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Secrets:
    """Made once per data directory. `stack_id` names what belongs to this stack and must lie elsewhere."""

    stack_id: str
    database_password: str
    api_key_pepper: str
    api_key: str
    #: Password of the login that API and workers use, which owns nothing.
    service_password: str
    master_key: str

    @classmethod
    def new(cls) -> Secrets:
        key = "".join(secrets.choice(_KEY_LETTERS) for _ in range(32))
        return cls(
            stack_id=secrets.token_hex(8),
            database_password=secrets.token_urlsafe(24),
            api_key_pepper=secrets.token_urlsafe(32),
            api_key=f"omium_local_{key}",
            service_password=secrets.token_urlsafe(24),
            master_key=new_master_key(),
        )


class DataDir:
    """Paths and small files of one stack. `root` is absolute."""

    def __init__(self, root: Path) -> None:
        # the real path: records of processes name it, and must match however it was written
        self.root = root.expanduser().resolve()
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.objects = self.root / "objects"
        self.stack_file = self.root / "stack.json"
        self.secrets_file = self.root / "secrets.json"
        self._lock_file = self.run / "up.lock"
        self._lock: int | None = None

    def create(self) -> None:
        """Makes the folders. Raises `StackError` when the directory cannot be used."""
        if self.root.exists() and not self.root.is_dir():
            raise StackError(f"{self.root} is a file, not a directory: choose another one with --data-dir.")
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True)
                # root's PostgreSQL runs as another user, who must be able to pass through, not to look around
                self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.logs, self.run, self.objects):
                folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass  # a read-only file system shows only when something is written
        except OSError as error:
            raise StackError(
                f"{self.root} cannot be used as a data directory ({error.strerror}): "
                "choose one that you may write to with --data-dir."
            ) from error

    def lock(self) -> None:
        """Takes the directory for this process until it ends. Raises `StackError` when another one has it."""
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        if not _flock(handle, patience=0.5):
            os.close(handle)
            raise StackError(
                f"A stack already runs on {self.root} (process {self.holder() or 'unknown'}): look at it with "
                f"`omium status --data-dir {self.root}`, stop it with `omium down --data-dir {self.root}`."
            )
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """Process id of the supervisor that has the lock now, or None."""
        try:
            handle = os.open(self._lock_file, os.O_RDWR)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            written = b"" if _flock(handle) else os.read(handle, 32)
        finally:
            os.close(handle)
        return int(written) if written else None

    def load_secrets(self) -> Secrets:
        """The secrets of this directory, made at the first call."""
        try:
            stored = json.loads(self.secrets_file.read_text())
            # one that an older release made lacks what came later
            made = Secrets(**{**asdict(Secrets.new()), **stored})
        except FileNotFoundError:
            stored, made = None, Secrets.new()
        except (ValueError, TypeError) as error:
            raise StackError(f"{self.secrets_file} cannot be read ({error}): restore it, or start anew.") from error
        if stored != asdict(made):
            write_private(self.secrets_file, asdict(made))
        return made

    def read_stack(self) -> dict[str, Any] | None:
        """What `stack.json` says, or None when there is none that can be read."""
        return read_json(self.stack_file)

    def write_stack(self, stack: dict[str, Any]) -> None:
        write_private(self.stack_file, stack)


def _flock(handle: int, *, patience: float = 0.0) -> bool:
    """Takes the lock, if it is free within `patience` seconds: somebody may just be looking who has it."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None when the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Writes JSON so that a reader sees the old text or the new one, and nobody else may read it (mode 0600)."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
