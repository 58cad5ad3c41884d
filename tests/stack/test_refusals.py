"""What `omium up` cannot do: one sentence that says what to do, exit code 1, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.stack import OMIUM, plain_environment


def refused(*arguments: str, env: Mapping[str, str] | None = None, **popen: object) -> str:
    """The error output of a command that must fail as agreed."""
    done = subprocess.run(  # type: ignore[call-overload]
        [OMIUM, *arguments],
        env=plain_environment(env),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **popen,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    said: str = done.stderr.strip()
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    return said


def test_taken_port_is_named_with_who_wants_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        arguments = ("up", "--data-dir", str(tmp_path / "data"), "--no-model", "--ports", "auto", "--json")
        said = refused(*arguments, env={"OMIUM_API_PORT": port})
    assert f"Port {port}" in said
    assert "the API" in said
    assert "--ports auto" in said
    assert f"process {os.getpid()}" in said


def test_port_that_is_no_port(tmp_path: Path) -> None:
    said = refused("up", "--data-dir", str(tmp_path / "data"), "--no-model", env={"OMIUM_POSTGRES_PORT": "many"})
    assert "OMIUM_POSTGRES_PORT is 'many'" in said


def test_data_directory_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for folder in (file, file / "below"):
        said = refused("up", "--data-dir", str(folder), "--no-model")
        assert str(folder) in said
        assert "--data-dir" in said
    assert file.read_text() == "precious"


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_data_directory_that_cannot_be_written(tmp_path: Path, detach: tuple[str, ...]) -> None:
    # on /proc not even root can make a folder
    said = refused("up", "--data-dir", "/proc/omium", "--no-model", *detach)
    assert "/proc/omium cannot be used" in said


@pytest.mark.parametrize("detach", [(), pytest.param(("--detach",), marks=pytest.mark.thorough)])
def test_wrong_setting_ends_the_start_with_its_name(tmp_path: Path, detach: tuple[str, ...]) -> None:
    folder = tmp_path / "data"
    arguments = ("up", "--data-dir", str(folder), "--no-model", "--ports", "auto", *detach)
    said = refused(*arguments, env={"OMIUM_MAX_STEPS": "few"})
    assert "OMIUM_MAX_STEPS" in said


def test_status_and_down_of_a_directory_without_a_stack(tmp_path: Path) -> None:
    for command in ("status", "down"):
        assert str(tmp_path) in refused(command, "--data-dir", str(tmp_path))
