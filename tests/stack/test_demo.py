"""`omium demo` from beginning to end, with a scripted model in the place of the small one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support.model_server import ModelServer
from tests.support.stack import OMIUM, plain_environment

ANSWERS = {"Researcher": "three facts", "Writer": "one paragraph", "Editor": "Headline and paragraph"}


@pytest.mark.parametrize(
    ("status", "code"),
    [pytest.param(None, 0, id="completes"), pytest.param(400, 1, id="fails", marks=pytest.mark.thorough)],
)
def test_demo_shows_the_run_and_leaves_nothing_running(tmp_path: Path, status: int | None, code: int) -> None:
    rules = [
        {"when": {"system": role}, "reply": {"error": {"status": status}} if status else {"content": answer}}
        for role, answer in ANSWERS.items()
    ]
    with ModelServer(rules) as model:
        settings = {"OMIUM_LLM_BASE_URL": model.base_url, "OMIUM_LLM_MODEL": "scripted"}
        done = subprocess.run(
            [OMIUM, "demo", "--once", "--data-dir", str(tmp_path / "data")],
            env=plain_environment(settings),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        asked = len(model.calls)

    assert done.returncode == code, done.stdout + done.stderr
    assert re.search(r"http://127\.0\.0\.1:\d+/docs", done.stdout)
    assert re.search(
        r"http://127\.0\.0\.1:\d+/temporal/namespaces/default/workflows/[0-9a-f-]+%2F[0-9a-f-]+", done.stdout
    )
    victims = [int(pid) for pid in re.findall(r"kill -9 (\d+)", done.stdout)]
    assert len(victims) == 4
    assert not any(psutil.pid_exists(pid) for pid in victims)
    if code == 0:
        assert asked == len(ANSWERS)
        assert "Headline and paragraph" in done.stdout
        assert "research · researcher: completed" in done.stdout
