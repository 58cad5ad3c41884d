"""The command line: what people see, what programs read, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import typer
from omium.cli import EXTENDED, GROUPS, build_app, main
from omium.cli.plugins import load_plugins
from typer.testing import CliRunner

from tests.sdk.command_line import run, write_json
from tests.sdk.fake_api import API_KEY, NOW, STATE, ApiServer, FakeApi, Instead

OMIUM = Path(sys.executable).with_name("omium")


@pytest.mark.usefixtures("configured")
class TestWorkflows:
    def test_create_from_a_definition(self, api: FakeApi, tmp_path: Path) -> None:
        definition = write_json(tmp_path / "flow.json", {"nodes": []})
        schema = write_json(tmp_path / "schema.json", {"type": "object"})
        options = ("--description", "Adds", "--input-schema", schema, "--tag", "a", "--tag", "b")
        done = run("workflows", "create", "--name", "Sums", "--framework", "langgraph", "--file", definition, *options)
        assert (done.exit_code, "w1" in done.stdout) == (0, True)
        assert api.seen[-1].body == {
            "name": "Sums",
            "framework": "langgraph",
            "description": "Adds",
            "workflow_definition": {"nodes": []},
            "input_schema": {"type": "object"},
            "tags": ["a", "b"],
        }

    def test_create_from_a_whole_workflow(self, api: FakeApi) -> None:
        whole = {"name": "Sums", "framework": "crewai", "workflow_definition": {"agents": {}}, "tags": ["a"]}
        done = run("workflows", "create", "--file", "-", "--name", "Totals", "--json", stdin=json.dumps(whole))
        assert json.loads(done.stdout) == api.workflows["w1"]
        assert api.seen[-1].body == whole | {"name": "Totals"}

    def test_a_misspelt_field_does_not_vanish(self, api: FakeApi) -> None:
        whole = {"name": "Sums", "framework": "crewai", "workflow_definition": {}, "input_shema": {}}
        done = run("workflows", "create", "--file", "-", stdin=json.dumps(whole))
        assert (done.exit_code, api.seen) == (2, [])
        assert "input_shema is no field of a workflow" in done.stderr

    def test_what_was_printed_can_be_given_back(self, api: FakeApi) -> None:
        whole = {"name": "Sums", "framework": "crewai", "workflow_definition": {"agents": {}}}
        run("workflows", "create", "--file", "-", stdin=json.dumps(whole))
        printed = run("workflows", "get", "w1", "--json").stdout
        assert run("workflows", "create", "--file", "-", stdin=printed).exit_code == 0
        assert api.seen[-1].body == whole

    def test_create_needs_a_name(self, api: FakeApi) -> None:
        done = run("workflows", "create", "--file", "-", "--framework", "crewai", stdin="{}")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "Error: Give the workflow's name with --name, or in the file.\n"
        assert api.seen == []

    def test_a_refused_definition_names_its_fields(self) -> None:
        arguments = ("workflows", "create", "--file", "-", "--name", "Sums", "--framework", "langgraph")
        done = run(*arguments, "--json", stdin='{"bad": 1}')
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == (
            "Error: The definition is not valid: workflow_definition.bad: is not a field "
            "(INVALID_INPUT, request req_7)\n"
        )

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b'{"a": 1,\n  "b" 2}', "standard input is not valid JSON: Expecting ':' delimiter (line 2, column 7)."),
            (b'{"a": NaN}', "NaN is no number that JSON knows"),
            (b'{"a": "\xff"}', "standard input is not valid UTF-8 (byte 8)."),
            (b"[1]", "must hold a JSON object"),
            (b"[" * 100_000, "is not valid JSON"),
        ],
    )
    def test_what_is_no_json(self, api: FakeApi, content: bytes, complaint: str) -> None:
        done = run("workflows", "create", "--file", "-", "--name", "Sums", "--framework", "langgraph", stdin=content)
        assert (done.exit_code, done.stdout, api.seen) == (2, "", [])
        assert complaint in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_file_that_is_not_there(self) -> None:
        done = run("workflows", "create", "--file", "nowhere.json", "--name", "Sums", "--framework", "langgraph")
        assert done.exit_code == 2
        assert done.stderr == "Error: --file: cannot read nowhere.json: No such file or directory.\n"

    def test_list_get_update_delete(self, api: FakeApi) -> None:
        api.workflows["w1"] = {"id": "w1", "name": "[bold]Sums\x1b[2J", "version": 1, "created_at": NOW}
        listed = run("workflows", "list")
        assert "[bold]Sums" in listed.stdout
        assert "\x1b[2J" not in listed.stdout
        assert listed.stderr == "There is more: add --cursor c2\n"
        assert run("workflows", "get", "w1").exit_code == 0
        updated = run("workflows", "update", "w1", "--name", "Totals", "--json")
        assert json.loads(updated.stdout)["version"] == 2
        assert run("workflows", "update", "w1").exit_code == 2
        deleted = run("workflows", "delete", "w1", "--json")
        assert (deleted.exit_code, deleted.stdout) == (0, "")
        gone = run("workflows", "get", "w1", "--json")
        assert (gone.exit_code, gone.stdout) == (1, "")
        assert gone.stderr == "Error: There is no such workflow (WORKFLOW_NOT_FOUND, request req_7)\n"

    def test_execute(self, api: FakeApi, tmp_path: Path) -> None:
        write_json(tmp_path / "inputs.json", {"a": 1})
        arguments = ("workflows", "execute", "w1", "--idempotency-key", "order-7", "--json", "--inputs")
        first = run(*arguments, "@inputs.json")
        assert json.loads(first.stdout) == {"execution_id": "e1", "status": "pending", "started_at": NOW}
        assert run(*arguments, '{"a": 1}').stdout == first.stdout
        assert run(*arguments, "-", stdin='{"a": 1}').stdout == first.stdout
        assert list(api.executions) == ["e1"]
        assert run(*arguments, '{"a": 2}').exit_code == 1
        assert run(*arguments, "{a}").exit_code == 2

    def test_execute_and_wait(self, api: FakeApi) -> None:
        done = run("workflows", "execute", "w1", "--wait", "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["outputs"] == {"answer": 42}
        api.script = [{"status": "failed", "error_message": "The model is away"}]
        failed = run("workflows", "execute", "w1", "--wait")
        assert failed.exit_code == 1
        assert "The model is away" in failed.stdout


@pytest.mark.usefixtures("configured")
class TestExecutions:
    def test_list_and_get(self, api: FakeApi) -> None:
        run("workflows", "execute", "w1")
        listed = run("executions", "list", "--status", "pending", "--workflow-id", "w1", "--limit", "5")
        assert "pending" in listed.stdout
        assert api.seen[-1].query == {"status": "pending", "workflow_id": "w1", "limit": "5"}
        assert json.loads(run("executions", "list", "--json").stdout)["total"] == 1
        assert "running" in run("executions", "get", "e1").stdout
        ended = json.loads(run("executions", "get", "e1", "--json").stdout)
        assert (ended["status"], ended["outputs"]) == ("completed", {"answer": 42})
        assert '"answer": 42' in run("executions", "get", "e1").stdout

    def test_no_runs(self) -> None:
        assert run("executions", "list").stdout == "No runs.\n"

    def test_retry(self, api: FakeApi) -> None:
        run("workflows", "execute", "w1")
        done = run("executions", "retry", "e1", "--idempotency-key", "again-1", "--json")
        assert json.loads(done.stdout)["message"] == "Taken up again"
        assert api.executions["e1"]["retried_with"] == "again-1"

    def test_watch_prints_a_line_of_json_for_each_change(self, api: FakeApi) -> None:
        agent = {"name": "plan", "status": "running", "llm_calls": 2, "tokens_used": 9}
        working = {"status": "running", "agents": [agent]}
        api.script = [working, working, {"agents": [agent | {"status": "completed"}]}, {"status": "completed"}]
        run("workflows", "execute", "w1")
        done = run("executions", "watch", "e1", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(line["status"], line["agents"][0]["status"]) for line in lines] == [
            ("running", "running"),
            ("running", "completed"),
            ("completed", "completed"),
        ]
        assert (done.exit_code, done.stderr) == (0, "")

    def test_watch_without_a_terminal_prints_a_line_for_each_change(self, api: FakeApi) -> None:
        agent = {"name": "plan", "status": "running"}
        api.script = [{"status": "running", "agents": [agent]}, {"agents": [agent | {"status": "failed"}]}]
        api.script += [{"agents": [agent]}, {"status": "cancelled", "error_message": "Stopped by Ada"}]
        run("workflows", "execute", "w1")
        done = run("executions", "watch", "e1")
        lines = [line.split(" after ")[0].strip() for line in done.stdout.splitlines()]
        assert lines == ["plan: running", "running", "plan: failed", "plan: running", "cancelled", "Stopped by Ada"]
        assert done.exit_code == 1

    def test_watch_for_a_while(self, api: FakeApi) -> None:
        api.script = [{"status": "paused", "reason": "credits"}]
        run("workflows", "execute", "w1")
        done = run("executions", "watch", "e1", "--timeout", "0.2")
        assert done.exit_code == 1
        assert "had not ended after 0.2 s; it is paused and goes on." in done.stderr


@pytest.mark.usefixtures("configured")
class TestCheckpointsAndFailures:
    def test_list_and_get(self) -> None:
        listed = run("checkpoints", "list", "--execution-id", "e1")
        assert "[red]plan" in listed.stdout
        assert "\x1b" not in listed.stdout
        assert "2.0 kB" in listed.stdout
        assert "sha256:ab" in run("checkpoints", "get", "c1").stdout

    def test_download(self, tmp_path: Path) -> None:
        done = run("checkpoints", "download", "c1", "--output", "state.json")
        assert done.stdout == "Checkpoint c1 is in state.json.\n"
        assert json.loads((tmp_path / "state.json").read_bytes()) == {"checkpoint_id": "c1", "state": STATE}
        for options in (("--json",), ("--output", "-")):
            assert json.loads(run("checkpoints", "download", "c1", *options).stdout)["state"] == STATE
        assert run("checkpoints", "download", "c1").exit_code == 2
        unwritable = run("checkpoints", "download", "c1", "--output", "no/such/folder.json")
        assert unwritable.exit_code == 1
        assert unwritable.stderr == "Error: Cannot write no/such/folder.json: No such file or directory.\n"

    def test_failures(self, api: FakeApi) -> None:
        assert "Start the model" in run("failures", "list", "--status", "unresolved").stdout
        assert api.seen[-1].query == {"status": "unresolved"}
        assert json.loads(run("failures", "list", "--execution-id", "e1", "--json").stdout)["total"] == 1


class TestConfig:
    def test_set_get_show(self, tmp_path: Path) -> None:
        assert run("config", "set", "api_key", API_KEY).exit_code == 0
        assert run("config", "set", "base-url", "https://omium.example").exit_code == 0
        path = tmp_path / "settings" / "config.toml"
        assert path.stat().st_mode & 0o777 == 0o600
        outputs = [run("config", "get", "api_key"), run("config", "show"), run("config", "show", "--json")]
        assert [API_KEY in done.stdout for done in outputs] == [False] * 3
        assert run("config", "get", "api_key", "--reveal").stdout == API_KEY + "\n"
        assert json.loads(outputs[2].stdout) == {
            "base_url": {"value": "https://omium.example/api/v1", "source": f"configuration file {path}"},
            "api_key": {"value": "omium_test_0...cdef", "source": f"configuration file {path}"},
            "file": str(path),
        }

    def test_a_key_from_standard_input_stays_out_of_the_history(self) -> None:
        done = run("config", "set", "api_key", "-", stdin=API_KEY + "\n")
        assert API_KEY not in done.stdout
        assert run("config", "get", "api_key", "--reveal").stdout == API_KEY + "\n"

    def test_refused(self) -> None:
        unknown = run("config", "set", "colour", "red")
        assert (unknown.exit_code, unknown.stderr) == (
            2,
            "Error: There is no setting 'colour'; there are: api_key, base_url.\n",
        )
        assert run("config", "set", "base_url", "nonsense").exit_code == 1
        assert run("config", "get", "api_key").exit_code == 1

    def test_saved_settings_are_used(self, server: ApiServer) -> None:
        run("config", "set", "api_key", API_KEY)
        run("config", "set", "base_url", server.url)
        assert run("workflows", "list").exit_code == 0


@pytest.mark.usefixtures("configured")
def test_json_is_exactly_the_answer(api: FakeApi) -> None:
    answer = {"executions": [{"name": "Grüße \ud83d 𝄞", "n": 2**70, "x": None}], "next_cursor": "c2", "new_field": []}
    api.faults = [Instead(200, json.dumps(answer).encode())]
    done = run("executions", "list", "--json")
    assert json.loads(done.stdout) == answer
    assert done.stderr == ""


def test_a_wrong_key_says_where_to_look(configured: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMIUM_API_KEY", "omium_test_wrong")
    done = run("workflows", "list", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "The API key is not valid (AUTH_INVALID_CREDENTIALS, request req_7)" in done.stderr
    assert "omium config show" in done.stderr


def plug_in(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    found = EntryPoints(EntryPoint(f"plugin{i}", value, "omium.commands") for i, value in enumerate(values))
    monkeypatch.setattr("omium.cli.plugins.entry_points", lambda group: found.select(group=group))


def add_hello(app: typer.Typer) -> None:
    @app.command()
    def hello() -> None:
        typer.echo("Hello from a plug-in")


def add_nothing(app: typer.Typer) -> None:
    raise RuntimeError("no database driver")


def test_commands_of_plugins(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plug_in(monkeypatch, f"{__name__}:add_nothing", "no_such_module:add", f"{__name__}:add_hello")
    with pytest.raises(SystemExit) as caught:
        main(["hello"])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (0, "Hello from a plug-in\n")
    assert "no database driver" in err
    assert "no_such_module" in err


@pytest.mark.parametrize("group", sorted(set(GROUPS) - set(EXTENDED)))
def test_client_commands_do_without_plugins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    plug_in(monkeypatch, f"{__name__}:add_nothing")
    with pytest.raises(SystemExit) as caught:
        main([group, "--help"])
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert f"omium {group}" in out


def test_plugins_in_an_application_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, f"{__name__}:add_hello")
    app = build_app()
    load_plugins(app)
    assert "hello" in CliRunner().invoke(app, ["--help"]).stdout


class TestInstalledScript:
    """The real thing: a process of its own, with its own standard streams."""

    def omium(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | environment
        return subprocess.run([OMIUM, *arguments], env=variables, capture_output=True, text=True, timeout=30)

    def test_json_is_alone_on_standard_output(self, configured: ApiServer, api: FakeApi) -> None:
        api.workflows["w1"] = {"id": "w1", "name": "Grüße"}
        done = self.omium("workflows", "list", "--json", PYTHONIOENCODING="ascii")
        assert json.loads(done.stdout)["workflows"] == [{"id": "w1", "name": "Grüße"}]
        assert (done.returncode, done.stderr) == (0, "")

    def test_tables_keep_ids_whole_in_a_pipe(self, configured: ApiServer, api: FakeApi) -> None:
        identifier = "0197b1c4-7a31-7c3e-9d2b-0123456789ab"
        api.workflows["w1"] = {"id": identifier, "name": "n" * 100}
        assert identifier in self.omium("workflows", "list", COLUMNS="40").stdout

    def test_nobody_listens(self) -> None:
        done = self.omium("workflows", "list", OMIUM_API_KEY=API_KEY, OMIUM_BASE_URL="http://127.0.0.1:9")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: Cannot reach Omium at http://127.0.0.1:9/api/v1")
        assert done.stderr.count("\n") == 1

    def test_version_and_usage(self) -> None:
        assert self.omium("--version").stdout.startswith("omium 0.")
        wrong = self.omium("workflows", "fly")
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "No such command 'fly'" in wrong.stderr

    def test_help_loads_neither_the_client_nor_rich(self) -> None:
        code = (
            "import sys\n"
            "from omium.cli import build_app\n"
            "try: build_app()(['workflows', '--help'])\n"
            "except SystemExit: print(sorted({'httpx', 'rich', 'tenacity'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout.splitlines()[-1] == "[]"
