"""What the control plane costs a read: GET of an execution, with a key, against a bare FastAPI route with the same SELECT.

    .venv/bin/python -m benchmarks.api [--seconds 3] [--repeats 7] [--connections 8]

Both are uvicorn processes on the database of one local stack, asked in turns by the same client over connections that stay
open. The bare route checks nobody, opens nothing that is sealed, and limits nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.common import api, chain, register, show, spread, stack


class Connection(asyncio.Protocol):
    """One connection that asks the same again and again. As little work as can be: the client must not be what is measured."""

    def __init__(self, request: bytes, until: float, seconds: list[float]) -> None:
        self._request, self._until, self._seconds = request, until, seconds
        self._received = b""
        self._asked = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._received[:500].decode(errors="replace")))
            self._transport.close()
            return
        now = time.perf_counter()
        self._seconds.append(now - self._asked)
        if now < self._until:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def _ask(self) -> None:
        self._received = b""
        self._asked = time.perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def load(url: str, headers: dict[str, str], connections: int, seconds: float) -> list[float]:
    """The times of all answers, in seconds."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path} HTTP/1.1", f"host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    request = "\r\n".join([*lines, "", ""]).encode()
    found: list[float] = []
    until = time.perf_counter() + seconds
    assert parts.hostname is not None
    assert parts.port is not None
    host, port, loop = parts.hostname, parts.port, asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(request, until, found), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for connection in opened))
    return found


async def measure(described: dict[str, Any], bare: str, options: argparse.Namespace) -> dict[str, Any]:
    async with api(described) as client:
        workflow_id = await register(client, chain(options.steps))
        started = await client.post(f"/workflows/{workflow_id}/execute", json={"inputs": {"topic": "x"}})
        execution_id = started.json()["execution_id"]
        url = f"/executions/{execution_id}"
        while (execution := (await client.get(url)).json())["status"] != "completed":  # noqa: ASYNC110 - it is far away
            await asyncio.sleep(0.2)
        answer_bytes = len((await client.get(url)).content)
    tenant = execution["temporal"]["workflow_id"].partition("/")[0]
    sides = {
        "bare": (f"{bare}/tenants/{tenant}/executions/{execution_id}", {}),
        "omium": (f"{described['api_url']}/api/v1/executions/{execution_id}", {"X-API-Key": described["api_key"]}),
    }
    for url, headers in sides.values():
        await load(url, headers, options.connections, 1.0)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    slow: dict[str, list[float]] = {name: [] for name in sides}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(options.repeats):
        # whoever is first in a turn is second in the next
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            url, headers = sides[name]
            answers = await load(url, headers, options.connections, options.seconds)
            rates[name].append(len(answers) / options.seconds)
            slow[name].append(spread(answers)["p95"])
            times[name] += answers
    ratios = [ours / theirs for ours, theirs in zip(rates["omium"], rates["bare"], strict=True)]
    tails = [ours / theirs for ours, theirs in zip(slow["omium"], slow["bare"], strict=True)]
    return {
        "benchmark": "api",
        "steps": options.steps,
        "connections": options.connections,
        "answer_bytes": answer_bytes,
        "requests_per_second": {name: spread(values, 1.0) for name, values in rates.items()},
        "answer_ms": {name: spread(values) for name, values in times.items()},
        "rate_ratio": round(statistics.median(ratios), 3),
        "p95_ratio": round(statistics.median(tails), 3),
        "bars": {"rate_ratio": ">= 0.6", "p95_ratio": "<= 1.5"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    with stack(OMIUM_FRAMEWORKS="langgraph") as described, socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        database = described["database_url"].replace("postgresql://", "postgresql+asyncpg://")
        command = [sys.executable, "-m", "benchmarks.bare_api", str(port), database]
        process = subprocess.Popen(command)
        try:
            _wait_for(port)
            show(uvloop.run(measure(described, f"http://127.0.0.1:{port}", options)))
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the bare route did not start")


if __name__ == "__main__":
    main()
