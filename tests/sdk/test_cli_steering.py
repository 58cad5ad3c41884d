"""The commands that steer runs: what is sent, what people see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sdk.command_line import run, write_json
from tests.sdk.fake_api import FakeApi

pytestmark = pytest.mark.usefixtures("configured")


def test_actions_on_a_run(api: FakeApi) -> None:
    paused = run("executions", "pause", "e1", "--reason", "look", "--hard", "--idempotency-key", "k1")
    assert (paused.exit_code, paused.stderr) == (0, "Told to pause\n")
    assert "running" in paused.stdout
    assert (api.seen[-1].path, api.seen[-1].body) == (
        "/api/v1/executions/e1/pause",
        {"reason": "look", "mode": "hard"},
    )
    assert api.seen[-1].headers["idempotency-key"] == "k1"
    assert json.loads(run("executions", "resume", "e1", "--json").stdout)["message"] == "Told to resume"
    assert api.seen[-1].body is None
    assert "cancelled" in run("executions", "cancel", "e1", "--reason", "enough").stdout
    assert api.seen[-1].body == {"reason": "enough"}


def test_fork_with_changes(api: FakeApi) -> None:
    changes = ("--edit", "prompts.writer=a=b", "--edit", "values.score=3", "--edit", "values.name=Ada")
    done = run("executions", "fork", "e1", "--checkpoint", "c1", *changes, "--inputs", '{"topic": "x"}', "--json")
    assert json.loads(done.stdout)["execution"]["id"] == "e9"
    edits = {"prompts": {"writer": "a=b"}, "values": {"score": 3, "name": "Ada"}}
    assert api.seen[-1].body == {"checkpoint_id": "c1", "edits": edits, "inputs": {"topic": "x"}}


@pytest.mark.parametrize("edit", ["prompts.writer", "prompts=x", "nothing.writer=x", "=", ".=x"])
def test_an_edit_that_cannot_be_read(api: FakeApi, edit: str) -> None:
    done = run("checkpoints", "rollback", "c1", "--edit", edit)
    assert (done.exit_code, api.seen) == (2, [])
    assert "write it as PATH=VALUE" in done.stderr


def test_an_edit_over_edits_that_are_no_object(api: FakeApi) -> None:
    done = run("checkpoints", "rollback", "c1", "--edits", '{"prompts": 3}', "--edit", "prompts.a=b")
    assert (done.exit_code, api.seen) == (2, [])


def test_lineage_is_a_tree() -> None:
    shown = run("executions", "lineage", "e1").stdout
    assert "\x1b" not in shown
    lines = [line.split("─ ")[-1] for line in shown.splitlines()]
    assert lines[0].startswith("lineage 0")
    assert lines[1].startswith("[red]plan")
    assert lines[2].startswith("lineage 1 from step_1_plan (bad) current")
    assert [line[4:].split("─ ")[-1] for line in shown.splitlines()[3:]] == ["named mine  c1", "fork e9  running"]


def test_rollback(api: FakeApi) -> None:
    blocked = run("checkpoints", "rollback", "c1", "--reason", "bad")
    assert (blocked.exit_code, "ROLLBACK_BLOCKED" in blocked.stderr) == (1, True)
    done = run("checkpoints", "rollback", "c1", "--resume", "--confirm", "--edits", '{"models": {"*": "m"}}')
    assert (done.exit_code, "r1" in done.stdout, done.stderr) == (0, True, "Rolled back\n")
    assert api.seen[-1].body == {"resume": True, "confirm": True, "edits": {"models": {"*": "m"}}}


def test_a_dry_run_is_a_table(api: FakeApi) -> None:
    shown = run("checkpoints", "rollback", "c1", "--dry-run").stdout
    assert api.seen[-1].body == {"dry_run": True}
    for words in ("step_1_plan (number 1)", "0 -> 1", "reserve", "by release", "cannot be undone", "0.5 credits"):
        assert words in shown
    assert json.loads(run("checkpoints", "rollback", "c1", "--dry-run", "--json").stdout)["dry_run"] is True


def test_named_checkpoints(api: FakeApi, tmp_path: Path) -> None:
    state = write_json(tmp_path / "state.json", {"values": {}})
    made = run("checkpoints", "create", "--execution-id", "e1", "--name", "mine", "--state", f"@{state}")
    assert (made.exit_code, "c9" in made.stdout) == (0, True)
    assert api.seen[-1].body == {"execution_id": "e1", "checkpoint_name": "mine", "state": {"values": {}}}
    assert run("checkpoints", "delete", "c1").stdout == "Checkpoint c1 is deleted.\n"
    assert run("checkpoints", "delete", "c1", "--json").stdout == ""


def test_approvals(api: FakeApi) -> None:
    listed = run("approvals", "list", "--status", "pending", "--assignee", "ada")
    assert ("[red]May it?" in listed.stdout, "\x1b" in listed.stdout) == (True, False)
    assert api.seen[-1].query == {"status": "pending", "assignee": "ada"}
    assert '"Grüße"' in run("approvals", "show", "a1").stdout
    assert "approved" in run("approvals", "approve", "a1", "--comment", "fine").stdout
    assert api.seen[-1].body == {"comment": "fine"}
    assert "rejected" in run("approvals", "reject", "a1", "--value", "too long").stdout
    assert api.seen[-1].body == {"value": "too long"}
    edited = run("approvals", "edit", "a1", "--value", "-", "--json", stdin='{"draft": "Ours"}\n')
    assert json.loads(edited.stdout)["approval"]["value"] == {"draft": "Ours"}
    assert run("approvals", "edit", "a1").exit_code == 2
    late = run("approvals", "approve", "a2")
    assert (late.exit_code, "approved already" in late.stderr) == (1, True)


def test_votes(api: FakeApi) -> None:
    shown = run("consensus", "show", "e1").stdout
    assert "writer -> editor" in shown
    assert "1 of 2" in shown
    assert run("consensus", "acknowledge", "l1", "--agent", "ada").exit_code == 0
    assert api.seen[-1].body == {"agent_id": "ada", "valid": True}
    late = run("consensus", "acknowledge", "l1", "--agent", "ada", "--reject", "--reason", "no", "--term", "1")
    assert (late.exit_code, late.stderr) == (1, "Term 1 is over.\n")
    assert api.seen[-1].body == {"agent_id": "ada", "valid": False, "reason": "no", "term": 1}


def test_notifications(api: FakeApi) -> None:
    shown = run("notifications", "list", "--status", "failed", "--execution-id", "e1").stdout
    for word in ("n1", "execution.failed", "hooks.example", "12", "answered 503"):
        assert word in shown
    assert api.seen[-1].query == {"status": "failed", "execution_id": "e1"}
    assert json.loads(run("notifications", "list", "--json").stdout)["total"] == 1
    assert run("notifications", "retry", "n1").stdout == "The notification is sent again.\n"
    assert (api.seen[-1].method, api.seen[-1].path) == ("POST", "/api/v1/notifications/n1/retry")
