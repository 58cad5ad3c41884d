"""Nothing that a tenant gave or got lies readable on any disk: words are sent through a whole platform and looked for everywhere.

Each word holds one mark; the mark is looked for as it is, in UTF-16, in hexadecimal and in Base64. Names (of workflows, steps
and tools) stay readable on purpose: one of them is looked for too, so that a search that finds nothing would be noticed.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.loopback import free_port
from tests.support.platform import Platform, running_platform
from tests.support.stack import wait_until

MARK = "cAnArY-7f3a-ZuGvOgEl"
#: What people list and filter by, and what no platform can hide from itself.
NAME = "rEaDaBlE-91c2-nAmE"
AGENTS = Path(__file__).resolve().parents[1] / "e2e" / "agents"


def word(place: str) -> str:
    return f"{place} {MARK} {place}"


def workflow(letters: Path) -> dict[str, Any]:
    return {
        "name": NAME,
        "description": word("description"),
        "framework": "langgraph",
        "workflow_definition": {
            "state": {name: {"type": "string"} for name in ("topic", "draft", "published")}
            | {"review": {"type": "object"}, "sent": {"type": "object"}},
            "nodes": [
                {"id": "write", "type": "llm", "prompt": word("prompt") + " {{ topic }}", "output": "draft"},
                {
                    "id": "send",
                    "type": "tool",
                    "tool": "send_letter",
                    "args": {"text": word("argument") + " {{ draft }}", "folder": str(letters)},
                    "output": "sent",
                },
                {
                    "id": "review",
                    "type": "approval",
                    "description": word("title"),
                    "question": "{{ draft }}",
                    "output": "review",
                },
                {"id": "publish", "type": "template", "template": "{{ review.value }}", "output": "published"},
            ],
            "edges": [
                {"from": "START", "to": "write"},
                {"from": "write", "to": "send"},
                {"from": "send", "to": "review"},
                {"from": "review", "to": "publish"},
                {"from": "publish", "to": "END"},
            ],
        },
        "input_schema": {"type": "object", "description": word("schema")},
    }


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    env = {"OMIUM_AGENT_PATH": str(AGENTS), "OMIUM_TOOL_MODULES": "user_tools", "OMIUM_LLM_API_KEY": word("provider")}
    with running_platform(tmp_path / "data", env=env) as platform:
        yield platform


def test_no_word_of_a_tenant_lies_readable_anywhere(platform: Platform, tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    secrets = use(platform, letters)
    patterns = [*encodings(MARK), *(form for secret in secrets for form in encodings(secret))]
    readable = encodings(NAME)

    dumped = asyncio.run(dump(platform.stack["database_url"]))
    assert found(readable, dumped), "the search itself does not work"
    assert found(patterns, dumped) == []

    root = platform.stack.data_dir / "objects"
    objects = [path for path in root.rglob("*") if path.is_file()]
    of_tenant = [path for path in objects if not path.is_relative_to(root / "platform")]
    assert len(of_tenant) > 5
    # what is only packed could not be searched
    assert [str(path) for path in of_tenant if path.read_bytes()[:2] != b"\x10\x01"] == []
    assert found(patterns, files(objects)) == []

    temporal = sorted(platform.stack.data_dir.glob("temporal.db*"))
    assert {path.name for path in temporal} >= {"temporal.db", "temporal.db-wal"}
    assert found(encodings("AgentRun"), files(temporal)), "the search itself does not work"
    assert found(patterns, files(temporal)) == []

    of_postgres = [path for path in Path(platform.stack["postgres_data_dir"]).rglob("*") if path.is_file()]
    assert found(readable, files(of_postgres)), "the search itself does not work"
    assert found(patterns, files(of_postgres)) == []

    logs = list((platform.stack.data_dir / "logs").glob("*"))
    assert found(encodings("call answered"), files(logs)), "the search itself does not work"
    assert found(patterns, files(logs)) == []


def use(platform: Platform, letters: Path) -> list[str]:
    """Puts words wherever they fit; the secrets without the mark that it made or that the platform has."""
    http = platform.http
    policy = {
        "name": "tells",
        "description": word("policy"),
        "policy_type": "notification",
        "policy_config": {
            "events": ["execution.completed", "execution.failed"],
            "channels": [
                {
                    "type": "webhook",
                    "url": f"http://127.0.0.1:{free_port()}/{MARK}",
                    "secret": word("webhook"),
                    "headers": {"X-Token": word("header")},
                }
            ],
        },
    }
    assert http.post("/policies", json=policy).status_code == 201
    created = http.post("/api-keys", json={"name": "a key"})
    assert created.status_code == 201, created.text

    platform.model.set_script([{"reply": {"content": word("answer")}}])
    workflow_id = platform.register(workflow(letters))
    inputs = {"topic": word("input") * 1000}
    body: dict[str, Any] = {"inputs": inputs, "metadata": {"note": word("metadata")}}
    answer = http.post(f"/workflows/{workflow_id}/execute", json=body)
    assert answer.status_code == 201, answer.text
    execution_id = str(answer.json()["execution_id"])
    answer_the_question(platform, execution_id)
    done = platform.finish(execution_id)
    assert (done["status"], MARK in str(done["outputs"])) == ("completed", True)
    assert MARK in (letters / "letters.txt").read_text()

    first = http.get(f"/checkpoints?execution_id={execution_id}").json()["checkpoints"][-1]
    edits = {"prompts": {"write": word("edit")}, "values": {"draft": word("value")}}
    body = {"reason": word("reason"), "edits": edits, "force": True, "resume": True}
    answer = http.post(f"/checkpoints/{first['id']}/rollback", json=body)
    assert answer.status_code in (200, 202), answer.text
    answer_the_question(platform, execution_id)
    platform.finish(execution_id)

    refusal = {"reply": {"error": {"status": 400, "message": word("refusal")}}}
    platform.model.set_script([refusal])
    failed = platform.finish(platform.start(workflow_id, {"topic": word("short")}))
    assert (failed["status"], MARK in failed["error"]) == ("failed", True)
    [failure] = http.get("/failures", params={"execution_id": failed["id"]}).json()["failures"]
    assert http.post(f"/failures/{failure['id']}/resolve", json={"note": word("note")}).status_code == 200

    platform.model.set_script([{"reply": {"content": word("waits")}}])
    waiting = platform.start(workflow_id, {"topic": word("waiting")})
    platform.wait_for_status(waiting, ["paused"])
    assert http.post(f"/executions/{waiting}/cancel", json={"reason": word("cancelled")}).status_code < 300
    platform.finish(waiting)
    wait_until(
        lambda: any(row["attempts"] for row in http.get("/notifications").json()["notifications"]),
        "an attempt to tell somebody",
    )
    return [created.json()["key"], platform.stack["api_key"], *use_what_reaches_out(platform, workflow_id)]


def use_what_reaches_out(platform: Platform, workflow_id: str) -> list[str]:
    """Connections, webhooks and schedules; the secrets without the mark that these have."""
    connection = {
        "connection_name": "a crew",
        "connection_type": "crewai_aop",
        "crew_url": f"http://127.0.0.1:{free_port()}/{MARK}",
        "bearer_token": f"token-{MARK}",
        "metadata": {"meta": {"key": word("connection")}},
    }
    answer = platform.http.post("/external-connections", json=connection)
    assert answer.status_code == 201, answer.text
    assert f"token-{MARK}" not in answer.text
    schedule = {
        "workflow_id": workflow_id,
        "name": "each year",
        "cron": "0 0 1 1 *",
        "inputs": {"topic": word("scheduled")},
        "description": word("timetable"),
    }
    answer = platform.http.post("/schedules", json=schedule)
    assert answer.status_code == 201, answer.text
    answer = platform.http.post(f"/schedules/{answer.json()['id']}/pause", json={"note": word("holidays")})
    assert answer.status_code == 200, answer.text
    webhook = {"url": f"http://127.0.0.1:{free_port()}/{MARK}", "description": word("receiver")}
    answer = platform.http.post("/webhooks", json=webhook)
    assert answer.status_code == 201, answer.text
    return [answer.json()["secret"], answer.json()["secret"].removeprefix("whsec_")]


def answer_the_question(platform: Platform, execution_id: str) -> None:
    platform.wait_for_status(execution_id, ["paused"])
    [question] = platform.client.approvals.list(status="pending", execution_id=execution_id)["approvals"]
    platform.client.approvals.edit(question["id"], word("approved"), comment=word("comment"))


def encodings(text: str) -> list[bytes]:
    """How a text may lie somewhere without being sealed."""
    plain = text.encode()
    forms = [
        plain,
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        plain.hex().encode(),
        plain.hex().upper().encode(),
    ]
    for shift in range(3):
        # without what depends on the letters before and after it
        whole = base64.b64encode(b"x" * shift + plain).rstrip(b"=")
        middle = whole[4 if shift else 0 : len(whole) - 2]
        forms += [middle, middle.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(forms))


def files(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        # a log of transactions may be removed while it is looked for
        if path.exists():
            yield str(path), path.read_bytes()


def found(forms: Sequence[bytes], where: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where one of these forms lies, with what stands before it."""
    return [
        f"{name}: {data[max(0, place - 60) : place]!r} {form!r}"
        for name, data in where
        for form in forms
        # faster by far than one regular expression for all
        if (place := data.find(form)) >= 0
    ]


async def dump(url: str) -> list[tuple[str, bytes]]:
    """Every table as text, as the owner of the database sees it; and what memory holds is written to its files."""
    connection = await asyncpg.connect(url)
    names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    tables = [row["tablename"] for row in await connection.fetch(names)]
    dumped = []
    for table in tables:
        rows = await connection.fetch(f"SELECT t::text AS row FROM {table} t")
        dumped.append((table, "\n".join(row["row"] for row in rows).encode()))
    await connection.execute("CHECKPOINT")
    await connection.close()
    assert len(dumped) > 20
    return dumped


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_every_way_to_write_a_word_is_found(before: str) -> None:
    text = f"{before}{MARK} and more"
    raw = text.encode()
    written = (raw, text.encode("utf-16"), raw.hex().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw))
    for data in written:
        assert found(encodings(MARK), [("here", data)]), data
