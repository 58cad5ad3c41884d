"""Bytes stored by a 20-step run that adds a small record to a 1 MB state per step: object store, database, Temporal.

    .venv/bin/python -m benchmarks.state [--steps 20] [--megabytes 1]

The state is random hexadecimal text in one value, which database compression cannot shrink. The baseline is measured in
the same run: the same state handed from activity to activity as Temporal payloads.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import asyncpg
from temporalio.client import Client

from benchmarks.common import api, ended, register, show, stack
from benchmarks.raw_state_worker import QUEUE


def growing(steps: int) -> dict[str, Any]:
    """A graph of one node that appends a record of about 120 bytes to a list, `steps` times."""
    return {
        "nodes": [
            {
                "id": "add",
                "type": "template",
                "set": {
                    "records": {"id": "record {{ count }}", "note": "a small record that a step adds to a large state", "n": "{{ count }}"},
                    "count": 1,
                },
            }
        ],
        "edges": [
            {"from": "START", "to": "add"},
            {"from": "add", "to": "add", "when": f"count < {steps}"},
            {"from": "add", "to": "END", "when": f"count >= {steps}"},
        ],
        "state": {
            "document": {"type": "string"},
            "records": {"type": "array", "reducer": "append"},
            "count": {"type": "integer", "reducer": "add"},
        },
        "max_steps": steps + 1,
    }  # fmt: skip


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def sizes(described: dict[str, Any]) -> dict[str, int]:
    """Bytes in use in each of the three stores."""
    connection = await asyncpg.connect(described["database_url"])
    await connection.execute("CHECKPOINT")
    database = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    data = Path(described["data_dir"])
    temporal = sum(path.stat().st_size for path in data.glob("temporal.db*"))
    return {"object_store": size_of(data / "objects"), "database": int(database), "temporal": temporal}


def added(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    grown = {name: after[name] - before[name] for name in before}
    return {**grown, "total": sum(grown.values())}


async def measure(described: dict[str, Any], steps: int, megabytes: float) -> dict[str, Any]:
    client = await Client.connect(described["temporal_address"])
    document = secrets.token_hex(int(megabytes * 500_000))
    async with api(described) as http:
        # a first run of each kind brings files and tables to the size they start with
        for inputs in ({"document": "x"}, {"document": document}):
            workflow_id = await register(http, growing(steps))
            before = await sizes(described)
            answer = await http.post(f"/workflows/{workflow_id}/execute", json={"inputs": inputs})
            execution_id = answer.json()["execution_id"]
            run = (await http.get(f"/executions/{execution_id}")).json()["temporal"]["workflow_id"]
            await ended(client, run)
            after = await sizes(described)
        ours = added(before, after)
        execution = (await http.get(f"/executions/{execution_id}")).json()
        assert execution["checkpoint_count"] == steps, execution
        assert len(execution["outputs"]["records"]) == steps
    before = await sizes(described)
    await client.execute_workflow("RawState", args=[document, steps], id=f"raw-{uuid.uuid4()}", task_queue=QUEUE)
    raw = added(before, await sizes(described))
    return {
        "benchmark": "state",
        "steps": steps,
        "state_megabytes": megabytes,
        "bytes": ours,
        "megabytes": round(ours["total"] / 1e6, 2),
        "raw_temporal_megabytes": round(raw["total"] / 1e6, 2),
        "ratio": round(ours["total"] / raw["total"], 4),
        "bars": {"megabytes": "<= 3, aim 1.3"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--megabytes", type=float, default=1.0)
    options = parser.parse_args()
    with stack() as described:
        raw = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.raw_state_worker", described["temporal_address"]], stdout=subprocess.PIPE
        )
        try:
            assert raw.stdout is not None
            raw.stdout.readline()
            show(asyncio.run(measure(described, options.steps, options.megabytes)))
        finally:
            raw.terminate()


if __name__ == "__main__":
    main()
