"""Time from SIGKILL of the worker that runs a step, with another worker up, until the run goes on.

    .venv/bin/python -m benchmarks.recovery [--kills 8]

A step asks a model that holds its answer back; the worker is killed; the clock stops when the other worker asks again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import show, spread, stack

GRAPH = {
    "nodes": [{"id": "ask", "type": "llm", "prompt": "{{ topic }}", "output": "answer"}],
    "edges": [{"from": "START", "to": "ask"}, {"from": "ask", "to": "END"}],
    "state": {"topic": {"type": "string"}, "answer": {"type": "string"}},
}
ANSWER = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "held",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


class HoldingModel:
    """Notes when each call arrives; answers a call only while `open` is set."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.arrived = threading.Condition()
        self.open = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with model.arrived:
                    model.arrivals.append(time.monotonic())
                    model.arrived.notify_all()
                model.open.wait(60)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(ANSWER)))
                self.end_headers()
                try:
                    self.wfile.write(ANSWER)
                except OSError:
                    return  # the worker that asked is dead

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> float:
        with self.arrived:
            self.arrived.wait_for(lambda: len(self.arrivals) >= count, timeout=60)
            return self.arrivals[count - 1]


class Workers:
    """Two workers beside the stack's own, which is stopped from taking work by having no queue of this framework."""

    def __init__(self, described: dict[str, Any], model_url: str) -> None:
        secrets = described["database_url"].replace("postgresql://", "postgresql+asyncpg://", 1)
        self._folder = Path(tempfile.mkdtemp(prefix="omium-recovery-"))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OMIUM_")},
            "OMIUM_DATABASE_URL": secrets,
            "OMIUM_TEMPORAL_ADDRESS": described["temporal_address"],
            "OMIUM_STORE_PATH": str(Path(described["data_dir"]) / "objects"),
            "OMIUM_FRAMEWORKS": "langgraph",
            "OMIUM_LLM_BASE_URL": model_url,
            "OMIUM_LOG_LEVEL": "ERROR",
        }
        self.running: list[subprocess.Popen[bytes]] = []
        self._count = 0

    def add(self) -> None:
        """Starts a worker and waits until it serves its queue."""
        self._count += 1
        ready = self._folder / f"ready-{self._count}"
        environment = {**self._environment, "OMIUM_READY_FILE": str(ready)}
        self.running.append(subprocess.Popen([sys.executable, "-m", "workers.main"], env=environment))
        while not ready.exists():
            time.sleep(0.05)
        # its framework is still being imported: wait until it has settled, as a worker that is up has
        time.sleep(4)

    def stop(self) -> None:
        for worker in self.running:
            worker.kill()


def busy_worker(workers: Workers, model: HoldingModel) -> subprocess.Popen[bytes]:
    """The worker that holds a connection to the model."""
    import psutil

    port = model.server.server_port
    for worker in workers.running:
        for connection in psutil.Process(worker.pid).net_connections("tcp"):
            if connection.raddr and connection.raddr.port == port and connection.status == "ESTABLISHED":
                return worker
    raise RuntimeError("no worker is asking the model")


def measure(described: dict[str, Any], workers: Workers, model: HoldingModel, kills: int) -> list[float]:
    http = httpx.Client(
        base_url=f"{described['api_url']}/api/v1", headers={"X-API-Key": described["api_key"]}, timeout=30
    )
    body = {"name": "recovery", "framework": "langgraph", "workflow_definition": GRAPH}
    workflow_id = http.post("/workflows", json=body).raise_for_status().json()["id"]
    seconds = []
    for number in range(kills):
        model.open.clear()
        seen = len(model.arrivals)
        url = f"/workflows/{workflow_id}/execute"
        execution_id = http.post(url, json={"inputs": {"topic": str(number)}}).raise_for_status().json()["execution_id"]
        model.wait_for(seen + 1)
        victim = busy_worker(workers, model)
        # not always at the same distance from a heartbeat
        time.sleep(0.3 + 0.35 * (number % 4))
        killed = time.monotonic()
        victim.send_signal(signal.SIGKILL)
        workers.running.remove(victim)
        seconds.append(model.wait_for(seen + 2) - killed)
        model.open.set()
        while http.get(f"/executions/{execution_id}").json()["status"] != "completed":
            time.sleep(0.05)
        victim.wait()
        workers.add()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=8)
    options = parser.parse_args()
    model = HoldingModel()
    with stack(OMIUM_FRAMEWORKS="crewai") as described:
        workers = Workers(described, model.url)
        try:
            workers.add()
            workers.add()
            seconds = measure(described, workers, model, options.kills)
        finally:
            workers.stop()
    show({"benchmark": "recovery", "seconds": spread(seconds, 1.0), "bars": {"max": "<= 5"}})


if __name__ == "__main__":
    main()
