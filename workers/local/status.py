"""Is a stack well? Each part is asked itself; nothing is believed because a file says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from workers.local import temporal_server
from workers.local.datadir import DataDir
from workers.local.processes import recorded

_TIMEOUT = 5.0


@dataclass(frozen=True)
class PartStatus:
    """One row: `pid` and `age` (seconds) are None when the process is gone; `problem` is empty when all is well."""

    name: str
    pid: int | None
    address: str
    age: float | None
    problem: str

    @property
    def up(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class StackStatus:
    """All parts of one stack. `healthy` only when every part is up."""

    data_dir: str
    parts: list[PartStatus]

    @property
    def healthy(self) -> bool:
        return bool(self.parts) and all(part.up for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        parts = {part.name: {**asdict(part), "up": part.up} for part in self.parts}
        return {"healthy": self.healthy, "data_dir": self.data_dir, "parts": parts}


async def examine(directory: DataDir, stack: dict[str, Any]) -> StackStatus:
    """Looks at every part of the stack that `stack.json` describes."""
    alive = recorded(directory)
    addresses = {
        "up": "",
        "postgres": stack["database_url"].rpartition("@")[2],
        "temporal": stack["temporal_address"],
        "api": stack["api_url"],
        "worker": "",
    }
    if "model" in stack["ports"]:
        addresses["model"] = f"127.0.0.1:{stack['ports']['model']}"
    checks: dict[str, Callable[[dict[str, Any]], Awaitable[str]]] = {
        "postgres": _postgres,
        "temporal": _temporal,
        "api": _api,
    }

    async def one(name: str) -> PartStatus:
        process = alive.get(name)
        if process is None:
            return PartStatus(name, None, addresses[name], None, "not running")
        problem = await _ask(checks[name], stack) if name in checks else ""
        if not problem and name in ("worker", "model") and not (directory.run / f"{name}.ready").exists():
            problem = "still starting"
        try:
            age = time.time() - process.create_time()
        except psutil.NoSuchProcess:
            return PartStatus(name, None, addresses[name], None, "not running")
        return PartStatus(name, process.pid, addresses[name], round(age, 1), problem)

    return StackStatus(str(directory.root), list(await asyncio.gather(*(one(name) for name in addresses))))


async def _ask(check: Callable[[dict[str, Any]], Awaitable[str]], stack: dict[str, Any]) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await check(stack)
    except TimeoutError:
        return f"no answer within {_TIMEOUT:.0f} s"


async def _postgres(stack: dict[str, Any]) -> str:
    import asyncpg

    try:
        connection = await asyncpg.connect(stack["database_url"], ssl=False)
    except (OSError, asyncpg.PostgresError) as error:
        return f"does not accept connections: {error}"
    await connection.close()
    return ""


async def _temporal(stack: dict[str, Any]) -> str:
    from temporalio.service import ConnectConfig, RPCError, ServiceClient

    try:
        service = await ServiceClient.connect(ConnectConfig(target_host=stack["temporal_address"]))
        if not await service.check_health():
            return "says that it does not serve"
    except (RPCError, RuntimeError) as error:
        return f"does not answer: {error}"
    http_port = stack["ports"]["temporal_http"]
    missing = await asyncio.to_thread(temporal_server.missing_search_attributes, http_port)
    if missing:
        return f"search attributes are not registered: {', '.join(missing)}"
    if not await asyncio.to_thread(temporal_server.cancels_at_once, http_port):
        return "did not take its settings: steps in flight would not be cancelled at once"
    return ""


async def _api(stack: dict[str, Any]) -> str:
    import httpx

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT) as client:
            answer = await client.get(f"{stack['api_url']}/health/ready")
    except httpx.HTTPError as error:
        return f"does not answer: {error}"
    return "" if answer.status_code == 200 else f"/health/ready answers {answer.status_code}: {answer.text[:200]}"
