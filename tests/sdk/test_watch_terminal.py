"""`omium executions watch` as a person sees it: a process of its own on a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.sdk.fake_api import ApiServer, FakeApi

OMIUM = Path(sys.executable).with_name("omium")
AGENT = {"name": "plan", "status": "running", "attempt": 1, "llm_calls": 2, "tool_calls": 1, "tokens_used": 345}


def start_watching() -> tuple[subprocess.Popen[bytes], int]:
    """The process, and our end of its terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [OMIUM, "executions", "watch", "e1"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # a shell that runs tests in the background has them, and what they start, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: str | None) -> str:
    """What the terminal shows up to a text, or up to its end."""
    shown = ""
    while wanted is None or wanted not in shown:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        shown += chunk.decode(errors="replace")
    return shown


def test_a_run_is_shown_live(configured: ApiServer, api: FakeApi) -> None:
    api.executions["e1"] = {"id": "e1", "looks": 0, "started_at": "2026-01-02T03:04:05Z"}
    progress = {"current_step": 1, "total_steps": 2}
    api.script = [
        {"status": "running", "agents": [AGENT], "progress": progress, "temporal": {"ui_url": "http://127.0.0.1:1/e1"}},
        {"agents": [AGENT | {"status": "completed"}]},
        {"status": "completed", "outputs": {"answer": 42}, "completed_at": "2026-01-02T03:04:09Z"},
    ]
    process, terminal = start_watching()
    shown = read_until(terminal, None)
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    for text in ("running", "1 of 2", "plan", "345", "http://127.0.0.1:1/e1", "completed", '"answer": 42'):
        assert text in shown
    assert "\x1b[32m" in shown, "a completed run is green"


def test_who_stops_watching_does_not_stop_the_run(configured: ApiServer, api: FakeApi) -> None:
    api.executions["e1"] = {"id": "e1", "looks": 0}
    api.script = [{"status": "running"}]
    process, terminal = start_watching()
    read_until(terminal, "running")
    process.send_signal(signal.SIGINT)
    shown = read_until(terminal, None)
    os.close(terminal)
    assert process.wait(timeout=60) == 130
    assert "The run goes on: omium executions watch e1" in shown
    assert {seen.method for seen in api.seen} == {"GET"}
