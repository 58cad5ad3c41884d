"""A process that cannot start says why in one sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.sampling import sampled
from tests.support.stack import plain_environment

ROOT = Path(__file__).parents[2]
CASES: dict[str, tuple[dict[str, str], str]] = {
    "a module named like one of ours": ({"OMIUM_AGENT_MODULES": "models"}, "'models' is a module of Omium itself"),
    "a module inside one of ours": ({"OMIUM_AGENT_MODULES": "workflows.mine"}, "Rename yours"),
    "a module of Python's": ({"OMIUM_AGENT_MODULES": "json"}, "of Omium or of Python"),
    "a module that is missing": ({"OMIUM_AGENT_MODULES": "no_such_module"}, "'no_such_module' is not found"),
    "a module without a name": ({"OMIUM_AGENT_MODULES": ".relative"}, "'.relative' is not found"),
    "a folder that does not exist": ({"OMIUM_AGENT_PATH": "/no/such/folder"}, "/no/such/folder"),
    "tools that are missing": ({"OMIUM_TOOL_MODULES": "no_such_tools"}, "no_such_tools"),
    "an unknown framework": ({"OMIUM_FRAMEWORKS": "langgraf"}, "OMIUM_FRAMEWORKS"),
    "a time that is none": ({"OMIUM_STEP_TIMEOUT": "soon"}, "OMIUM_STEP_TIMEOUT"),
    "a time that never ends": ({"OMIUM_HEARTBEAT_TIMEOUT": "inf"}, "OMIUM_HEARTBEAT_TIMEOUT"),
    "a time of nothing": ({"OMIUM_HEARTBEAT_TIMEOUT": "0"}, "OMIUM_HEARTBEAT_TIMEOUT"),
    "no steps at all": ({"OMIUM_MAX_CONCURRENT_STEPS": "0"}, "OMIUM_MAX_CONCURRENT_STEPS"),
    "prices that are no JSON": ({"OMIUM_MODEL_PRICES": "{cheap"}, "OMIUM_MODEL_PRICES"),
    "an unknown log level": ({"OMIUM_LOG_LEVEL": "chatty"}, "OMIUM_LOG_LEVEL"),
    "a database of another kind": ({"OMIUM_DATABASE_URL": "mysql://db/omium"}, "OMIUM_DATABASE_URL"),
    "a database without a driver": ({"OMIUM_DATABASE_URL": "postgresql://db/omium"}, "postgresql+asyncpg://"),
    "a database at no port": ({"OMIUM_DATABASE_URL": "postgresql+asyncpg://db:x/omium"}, "OMIUM_DATABASE_URL"),
    "the default master key in production": ({"OMIUM_ENVIRONMENT": "production"}, "OMIUM_MASTER_KEY"),
    "the default pepper in production": (
        {"OMIUM_ENVIRONMENT": "production", "OMIUM_MASTER_KEY": b64encode(bytes(range(32))).decode()},
        "OMIUM_API_KEY_PEPPER",
    ),
    "a store that is a file": ({"OMIUM_STORE_PATH": str(Path(__file__))}, "OMIUM_STORE_PATH"),
}

CASES_OF_API = ("an unknown log level", "prices that are no JSON", "a store that is a file")


def start(module: str, settings: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    env = plain_environment({"OMIUM_STORE_PATH": str(folder / "objects"), "PYTHONPATH": str(ROOT), **settings})
    return subprocess.run(
        [sys.executable, "-P", "-m", module],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_worker_says_what_is_wrong:
        metafunc.parametrize("case", sampled(metafunc.config, sorted(CASES), 1))
    if metafunc.function is test_api_says_what_is_wrong:
        metafunc.parametrize("case", sampled(metafunc.config, sorted(CASES_OF_API), 1))


def test_worker_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    settings, told = CASES[case]
    assert_refused(start("workers.main", settings, tmp_path), told)


def test_api_says_what_is_wrong(case: str, tmp_path: Path) -> None:
    settings, told = CASES[case]
    assert_refused(start("api", settings, tmp_path), told)


def assert_refused(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("omium ")
    assert told in last


def test_secrets_are_not_told(tmp_path: Path) -> None:
    done = start("workers.main", {"OMIUM_DATABASE_URL": "postgres://omium:hidden@db/omium"}, tmp_path)
    assert done.returncode == 1
    assert "hidden" not in done.stderr + done.stdout


def test_taken_port_of_metrics(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = start("workers.main", {"OMIUM_METRICS_PORT": str(taken.getsockname()[1])}, tmp_path)
    assert_refused(done, "OMIUM_METRICS_PORT")


@pytest.mark.thorough
def test_user_module_of_that_name_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(f"open({os.fspath(tmp_path / 'ran')!r}, 'w')")
    settings = {"OMIUM_AGENT_PATH": str(tmp_path), "OMIUM_AGENT_MODULES": "models"}
    assert_refused(start("workers.main", settings, tmp_path), "'models'")
    assert not (tmp_path / "ran").exists()
