"""The parts that are this project's own Python: the API, the worker, the model, and the variables they get."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from workers.local import postgres, temporal_server
from workers.local.datadir import DataDir, Secrets
from workers.local.model_server import MODEL_NAME
from workers.local.parts import Part
from workers.local.ports import HOST

#: Without compiled modules on disk each start of a part costs seconds of parsing.
_NOT_INHERITED = frozenset({"PYTHONDONTWRITEBYTECODE"})


def module_command(module: str) -> list[str]:
    """Runs a module of ours. Without `-P` a folder `api/` in the user's working directory would be taken for ours."""
    return [sys.executable, "-P", "-m", module]


def environment(directory: DataDir, secrets: Secrets, ports: Mapping[str, int], *, with_model: bool) -> dict[str, str]:
    """The variables of API, worker and schema: what the user set, and over it what this stack decides."""
    own = {
        # this server has no TLS, and to look for it would mean to read the user's certificates
        "OMIUM_DATABASE_URL": f"{postgres.service_url(secrets, ports['postgres'])}?ssl=disable",
        "OMIUM_TEMPORAL_ADDRESS": f"{HOST}:{ports['temporal']}",
        "OMIUM_TEMPORAL_NAMESPACE": temporal_server.NAMESPACE,
        "OMIUM_TEMPORAL_UI_URL": f"http://{HOST}:{ports['api']}{temporal_server.UI_PATH}",
        "OMIUM_TEMPORAL_UI_UPSTREAM": f"http://{HOST}:{ports['temporal_ui']}",
        "OMIUM_STORE_PATH": str(directory.objects),
        "OMIUM_API_HOST": HOST,
        "OMIUM_API_PORT": str(ports["api"]),
        # another address is the user's to say, for a stack behind a proxy
        "OMIUM_PUBLIC_URL": os.environ.get("OMIUM_PUBLIC_URL") or f"http://{HOST}:{ports['api']}",
        "OMIUM_API_KEY_PEPPER": secrets.api_key_pepper,
        "OMIUM_MASTER_KEY": secrets.master_key,
        "OMIUM_BOOTSTRAP_API_KEY": secrets.api_key,
    }
    if with_model:
        own["OMIUM_LLM_BASE_URL"] = f"http://{HOST}:{ports['model']}/v1"
        own["OMIUM_LLM_MODEL"] = os.environ.get("OMIUM_LLM_MODEL") or MODEL_NAME
    # parts talk to each other directly, whatever proxy the user has for the world outside
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST, "localhost"]))
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**inherited, "NO_PROXY": direct, "no_proxy": direct, **own}


def schema_environment(env: Mapping[str, str], secrets: Secrets, port: int) -> dict[str, str]:
    """The same for the process that prepares the database: it alone may sign in as the owner of the tables."""
    return {**env, "OMIUM_OWNER_DATABASE_URL": f"{postgres.url(secrets, port, driver='+asyncpg')}?ssl=disable"}


def api(directory: DataDir, env: Mapping[str, str]) -> Part:
    return _part(directory, "api", "The API", "api", env, address=f"{HOST}:{env['OMIUM_API_PORT']}")


def worker(directory: DataDir, env: Mapping[str, str]) -> Part:
    return _part(directory, "worker", "The worker", "workers.main", env)


def model(directory: DataDir, env: Mapping[str, str], port: int) -> Part:
    env = {**env, "OMIUM_MODEL_PORT": str(port)}
    return _part(directory, "model", "The model", "workers.local.model_server", env, address=f"{HOST}:{port}")


def _part(directory: DataDir, name: str, title: str, module: str, env: Mapping[str, str], *, address: str = "") -> Part:
    ready_file: Path = directory.run / f"{name}.ready"

    async def ready(_pid: int) -> bool:
        return await asyncio.to_thread(ready_file.exists)

    return Part(
        name=name,
        title=title,
        command=module_command(module),
        env={**env, "OMIUM_READY_FILE": str(ready_file)},
        ready=ready,
        address=address,
        before_start=lambda: ready_file.unlink(missing_ok=True),
        explains_its_exit=True,
        # a worker ends its steps, then the gateway waits for answers that are being paid for
        grace=30.0,
    )
