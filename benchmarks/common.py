"""What the benchmarks share: a stack of their own, a graph of N steps without model calls, and how results are printed."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.common import RawValue


@contextmanager
def stack(**settings: str) -> Iterator[dict[str, Any]]:
    """A running local stack without a model; the object is what `omium up --json` prints."""
    import os

    folder = Path(tempfile.mkdtemp(prefix="omium-benchmark-"))
    omium = Path(sys.executable).with_name("omium")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMIUM_")}
    environment = {**kept, "OMIUM_LOG_LEVEL": "WARNING", **settings}
    options = ["--data-dir", str(folder / "data"), "--ports", "auto", "--no-model", "--json"]
    process = subprocess.Popen([omium, "up", *options], stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert process.stdout is not None
        described = json.loads(process.stdout.readline())
        yield described
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def ended(client: Client, workflow_id: str) -> None:
    """Waits for a run's end. What it returned is sealed for all but the platform, and is not looked at."""
    await client.get_workflow_handle(workflow_id, result_type=RawValue).result()


def api(stack: dict[str, Any]) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=50)
    return httpx.AsyncClient(
        base_url=f"{stack['api_url']}/api/v1", headers={"X-API-Key": stack["api_key"]}, timeout=120, limits=limits
    )


def chain(steps: int) -> dict[str, Any]:
    """A LangGraph definition of `steps` template nodes, one after the other."""
    nodes = [
        {"id": f"step_{n}", "type": "template", "template": f"{{{{ topic }}}} {n}", "output": "text"}
        for n in range(steps)
    ]
    names = ["START", *(node["id"] for node in nodes), "END"]
    edges = [{"from": before, "to": after} for before, after in itertools.pairwise(names)]
    return {"nodes": nodes, "edges": edges, "state": {"topic": {"type": "string"}, "text": {"type": "string"}}}


async def register(client: httpx.AsyncClient, definition: dict[str, Any]) -> str:
    answer = await client.post(
        "/workflows", json={"name": "benchmark", "framework": "langgraph", "workflow_definition": definition}
    )
    answer.raise_for_status()
    return str(answer.json()["id"])


def spread(values: Sequence[float], unit: float = 1000.0) -> dict[str, float]:
    """Median, 95th percentile and extremes; in milliseconds unless told otherwise."""
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered) * unit, 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * unit, 2),
        "min": round(ordered[0] * unit, 2),
        "max": round(ordered[-1] * unit, 2),
        "n": len(ordered),
    }


def show(result: dict[str, Any]) -> None:
    print(json.dumps(result, indent=2))
