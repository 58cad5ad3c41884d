"""Which ports a stack listens on: fixed ones, or free ones that stay the same over a restart."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from workers.local.errors import StackError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Wanted:
    """A port that some part needs. Without `fixed` any free one will do, always."""

    name: str
    owner: str
    fixed: int | None = None

    @property
    def variable(self) -> str:
        return f"OMIUM_{self.name.upper()}_PORT"


API = Wanted("api", "the API", 8000)
TEMPORAL = Wanted("temporal", "Temporal", 7233)
TEMPORAL_UI = Wanted("temporal_ui", "the Temporal Web UI", 8233)
POSTGRES = Wanted("postgres", "PostgreSQL", 5432)
MODEL = Wanted("model", "the local model", 8081)
TEMPORAL_HTTP = Wanted("temporal_http", "Temporal's HTTP door")
TEMPORAL_METRICS = Wanted("temporal_metrics", "Temporal's metrics")

ALWAYS = (API, TEMPORAL, TEMPORAL_UI, POSTGRES, TEMPORAL_HTTP, TEMPORAL_METRICS)


class Mode(StrEnum):
    """How ports are chosen where the environment does not name one."""

    FIXED = "fixed"
    #: Free ones, the ones of before if possible.
    AUTO = "auto"
    #: The fixed one where it is free, else as with AUTO.
    PREFER_FIXED = "prefer-fixed"


def choose(wanted: tuple[Wanted, ...], mode: Mode, remembered: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name.

    A port named in the environment (`OMIUM_API_PORT`) is taken as said, whatever the mode. `remembered` are the ports that
    this stack had before. Raises `StackError` when a port that must be had is taken.
    """
    said = {want.name: _from_environment(want) for want in wanted}
    chosen: dict[str, int] = {}
    for want in wanted:
        must = said[want.name]
        if must is None and mode is Mode.FIXED:
            must = want.fixed
        if must is not None:
            if must in chosen.values() or not is_free(must):
                raise StackError(_taken(want, must))
            chosen[want.name] = must
            continue
        liked = [want.fixed] if mode is Mode.PREFER_FIXED else []
        liked.append(remembered.get(want.name))
        fitting = (port for port in liked if port is not None and port not in chosen.values() and is_free(port))
        chosen[want.name] = next(fitting, None) or any_free(set(chosen.values()))
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as servers do: a connection that is still winding down is no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _from_environment(want: Wanted) -> int | None:
    text = os.environ.get(want.variable)
    if want.fixed is None or not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"{want.variable} is {text!r}: it must be a port number from 1 to 65535.")
    return int(text)


def any_free(avoid: Collection[int] = ()) -> int:
    """A port of the loopback interface that nobody uses now, and that no client will be given. Raises `StackError`."""
    # Not from the range that the system hands to outgoing connections: while a part is being restarted, a client that
    # tries again and again would sooner or later get the part's own port and keep it.
    low, high = 15000, min(_first_ephemeral(), 32768) - 1
    for port in random.sample(range(low, high), k=min(200, high - low)):
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"No free port was found between {low} and {high}: stop something that listens there.")


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768
    return first if first > 16000 else 32768


def _taken(want: Wanted, port: int) -> str:
    return (
        f"Port {port}, which {want.owner} wants, is taken{_by_whom(port)}: stop what listens there "
        f"(`omium down`, if it is another stack), take free ports with `--ports auto`, or set {want.variable}."
    )


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        return ""  # other users' processes cannot be seen everywhere; the message does without
    return ""
