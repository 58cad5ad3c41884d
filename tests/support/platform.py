"""The whole platform under test: a real stack, with a scripted model server as its provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from omium import OmiumClient

from models.database import Database
from omium_core.keyring import MasterKeys
from tests.support.model_server import ModelServer
from tests.support.stack import Stack, start_stack, wait_until
from workers.local.datadir import DataDir
from workers.local.postgres import service_url

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TERMINAL = ("completed", "failed", "cancelled")


def sample(name: str) -> dict[str, Any]:
    """A sample workflow as it is posted."""
    loaded: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return loaded


class Platform:
    """A stack and its model. `client` is the SDK's, `http` speaks to the API directly."""

    def __init__(self, stack: Stack, model: ModelServer, folder: Path, env: Mapping[str, str]) -> None:
        self.model = model
        self._folder = folder
        self._env = env
        self._connect(stack)

    def _connect(self, stack: Stack) -> None:
        self.stack = stack
        self.client = OmiumClient(api_key=stack["api_key"], base_url=stack["api_url"])
        self.http = httpx.Client(base_url=f"{stack['api_url']}/api/v1", headers=stack.headers, timeout=100)

    def restart_stack_after_kill(self) -> None:
        """Kills the supervisor, which takes everything with it, and starts the stack again on the same directory."""
        self.stack.kill("up")
        self._connect(start_stack(self._folder, env=self._env))

    def database(self) -> Database:
        """The stack's database, as the service enters it. For the caller to close."""
        secrets = DataDir(self.stack.data_dir).load_secrets()
        url = service_url(secrets, self.stack["ports"]["postgres"])
        return Database(url, MasterKeys(secrets.master_key), pool_size=2)

    def register(self, workflow: Mapping[str, Any]) -> str:
        """Id of a new workflow."""
        answer = self.http.post("/workflows", json=dict(workflow))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def start(self, workflow: Mapping[str, Any] | str, inputs: Mapping[str, Any], **more: Any) -> str:
        """Id of a new execution. `more` are other fields of the request."""
        workflow_id = workflow if isinstance(workflow, str) else self.register(workflow)
        answer = self.http.post(f"/workflows/{workflow_id}/execute", json={"inputs": dict(inputs), **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["execution_id"])

    def get(self, execution_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/executions/{execution_id}")
        assert answer.status_code == 200, answer.text
        execution: dict[str, Any] = answer.json()
        return execution

    def answered(self, execution_id: str) -> int:
        """How many of its model calls are in the journal."""
        return sum(agent["llm_calls"] for agent in self.get(execution_id)["agents"])

    def finish(self, execution_id: str, *, timeout: float = 90.0) -> dict[str, Any]:
        """The execution when it has ended; parts of the stack may be down in between."""
        execution: dict[str, Any] = self.client.executions.wait_for_completion(
            execution_id, timeout=timeout, poll_interval=0.1
        )
        return execution

    def run(
        self, workflow: Mapping[str, Any] | str, inputs: Mapping[str, Any], *, timeout: float = 90.0
    ) -> dict[str, Any]:
        """Runs to the end and expects it to be a good one."""
        execution = self.finish(self.start(workflow, inputs), timeout=timeout)
        assert execution["status"] == "completed", execution
        return execution

    def wait_for_status(self, execution_id: str, status: Sequence[str], *, timeout: float = 60.0) -> dict[str, Any]:
        wait_until(lambda: self.get(execution_id)["status"] in status, f"status {status}", timeout)
        return self.get(execution_id)


@contextmanager
def running_platform(
    folder: Path, *, rules: Sequence[Mapping[str, Any]] = (), env: Mapping[str, str] | None = None
) -> Iterator[Platform]:
    """A platform of its own; quick to retry, so that tests of failures are quick too."""
    with ModelServer(list(rules)) as model:
        settings = {
            "OMIUM_LLM_BASE_URL": model.base_url,
            "OMIUM_LLM_API_KEY": "provider-secret",
            "OMIUM_LLM_MODEL": "test-model",
            # a worker that has just started imports frameworks, perhaps beside other tests
            "OMIUM_WORKER_CHECK_TIMEOUT": "90",
            "OMIUM_RETRY_INITIAL_INTERVAL": "0.1",
            "OMIUM_RETRY_MAX_INTERVAL": "0.5",
            "OMIUM_HTTP_ALLOW_PRIVATE": "127.0.0.1",
            **(env or {}),
        }
        platform = Platform(start_stack(folder, env=settings), model, folder, settings)
        try:
            yield platform
        finally:
            # a call that is held would hold the worker too, until its grace is over
            model.stop()
            platform.stack.stop()
