"""A running stack: what it prints, what it keeps alive, how it is looked at."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import subprocess
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from tests.support.stack import OMIUM, Stack, is_alive, plain_environment, wait_until

PARTS = ("postgres", "temporal", "api", "worker")


def omium(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OMIUM, *arguments], env=plain_environment(), capture_output=True, text=True, timeout=120, check=False
    )


def status(stack: Stack) -> tuple[int, dict[str, Any]]:
    done = omium("status", "--data-dir", str(stack.data_dir), "--json")
    return done.returncode, json.loads(done.stdout)


def test_prints_one_complete_object_and_keeps_the_same_in_a_private_file(stack: Stack) -> None:
    printed = stack.printed
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", printed["api_url"])
    assert re.fullmatch(r"127\.0\.0\.1:\d+", printed["temporal_address"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/temporal", printed["temporal_ui_url"])
    assert re.fullmatch(r"omium_local_[A-Za-z0-9]{32}", printed["api_key"])
    assert printed["temporal_namespace"] == "default"
    assert set(printed["pids"]) == {"up", *PARTS}
    assert all(is_alive(pid) for pid in printed["pids"].values())

    file = stack.data_dir / "stack.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()).keys() == printed.keys()


def test_api_answers_the_key_and_the_web_ui_is_served(stack: Stack) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{stack['api_url']}/health/ready").status_code == 200
        listed = client.get(f"{stack['api_url']}/api/v1/workflows", headers=stack.headers)
        assert listed.status_code == 200
        assert client.get(stack["temporal_ui_url"], follow_redirects=True).status_code == 200


async def test_database_wants_its_password(stack: Stack) -> None:
    connection = await asyncpg.connect(stack["database_url"])
    assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
    await connection.close()
    user, _, address = stack["database_url"].rpartition("@")
    without = f"{user.rpartition(':')[0]}:wrong@{address}"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(without)


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    own = {process.pid for pid in stack.pids.values() for process in [psutil.Process(pid)]}
    listening = [connection for connection in psutil.net_connections("tcp") if connection.status == psutil.CONN_LISTEN]
    addresses = {connection.laddr.ip for connection in listening if connection.pid in own}
    assert addresses == {"127.0.0.1"}


def test_status_is_well_only_when_all_parts_are(stack: Stack) -> None:
    code, found = status(stack)
    assert (code, found["healthy"]) == (0, True)
    assert set(found["parts"]) == {"up", *PARTS}
    assert all(part["up"] and part["age"] >= 0 for part in found["parts"].values())

    psutil.Process(stack.pids["api"]).suspend()
    try:
        code, found = status(stack)
    finally:
        psutil.Process(stack.pids["api"]).resume()
    assert (code, found["healthy"], found["parts"]["api"]["up"]) == (1, False, False)
    assert "answer" in found["parts"]["api"]["problem"]


def test_second_up_says_who_runs(stack: Stack) -> None:
    done = omium("up", "--data-dir", str(stack.data_dir), "--ports", "auto", "--no-model")
    assert done.returncode == 1
    assert f"process {stack.pids['up']}" in done.stderr
    assert "omium down" in done.stderr
    assert "Traceback" not in done.stderr


def test_detached_up_on_a_running_stack_prints_it(stack: Stack) -> None:
    done = omium("up", "--data-dir", str(stack.data_dir), "--detach", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["pids"] == stack.pids


@pytest.mark.parametrize("part", [*PARTS[:2], *(pytest.param(part, marks=pytest.mark.thorough) for part in PARTS[2:])])
def test_killed_part_is_back_on_the_same_address(stack: Stack, part: str) -> None:
    killed = stack.kill(part)
    assert stack.wait_ready(part) != killed
    wait_until(lambda: status(stack)[1]["healthy"], "all parts are well", timeout=60)
    assert f"(process {stack.pids[part]}" in stack.said()


async def test_what_was_written_survives_a_killed_database(stack: Stack) -> None:
    connection = await asyncpg.connect(stack["database_url"])
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.execute("INSERT INTO kept VALUES (42)")
    await asyncio.to_thread(stack.kill, "postgres")
    await asyncio.to_thread(stack.wait_ready, "postgres")
    connection = await asyncpg.connect(stack["database_url"])
    assert await connection.fetchval("SELECT n FROM kept") == 42
    await connection.execute("DROP TABLE kept")
    await connection.close()
