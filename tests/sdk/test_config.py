"""Where the address and the key come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omium.config import check_key, file_path, normalize_url, read_file, resolve, write_setting
from omium.errors import ConfigurationError


def write_stack(folder: Path, api_url: str = "http://127.0.0.1:8123", api_key: str = "stack-key") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stack.json").write_text(json.dumps({"api_url": api_url, "api_key": api_key, "pids": {}}))


def test_nearer_sources_go_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing = resolve()
    assert (nothing.base_url, nothing.api_key) == ("http://127.0.0.1:8000/api/v1", None)

    write_stack(tmp_path / ".omium")
    stack = resolve()
    assert (stack.base_url, stack.api_key) == ("http://127.0.0.1:8123/api/v1", "stack-key")

    write_setting("base_url", "https://file.example")
    write_setting("api_key", "file-key")
    file = resolve()
    assert (file.base_url, file.api_key) == ("https://file.example/api/v1", "file-key")

    monkeypatch.setenv("OMIUM_BASE_URL", "https://variable.example")
    monkeypatch.setenv("OMIUM_API_KEY", "variable-key")
    variable = resolve()
    assert (variable.base_url, variable.api_key) == ("https://variable.example/api/v1", "variable-key")

    argument = resolve("argument-key", "https://argument.example")
    assert (argument.base_url, argument.api_key) == ("https://argument.example/api/v1", "argument-key")
    assert "argument-key" not in repr(argument)


def test_each_setting_has_its_own_source(monkeypatch: pytest.MonkeyPatch) -> None:
    write_setting("base_url", "https://file.example")
    monkeypatch.setenv("OMIUM_API_KEY", "variable-key")
    connection = resolve()
    assert (connection.base_url, connection.api_key) == ("https://file.example/api/v1", "variable-key")
    assert connection.api_key_source == "OMIUM_API_KEY"


def test_the_data_directory_of_the_stack_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_stack(tmp_path / "elsewhere")
    monkeypatch.setenv("OMIUM_DATA_DIR", str(tmp_path / "elsewhere"))
    assert resolve().api_key == "stack-key"


def test_the_key_of_the_stack_is_sent_nowhere_else(tmp_path: Path) -> None:
    write_stack(tmp_path / ".omium")
    assert resolve(base_url="https://omium.example").api_key is None
    assert resolve(base_url="http://127.0.0.1:8123/api/v1/").api_key == "stack-key"


def test_a_stack_on_another_machine_gets_no_key(tmp_path: Path) -> None:
    write_stack(tmp_path / ".omium", api_url="https://collector.example")
    with pytest.raises(ConfigurationError, match="not on this machine"):
        resolve(api_key="my-own-key")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://localhost:8000", "http://localhost:8000/api/v1"),
        ("http://localhost:8000/", "http://localhost:8000/api/v1"),
        ("http://localhost:8000/api/v1", "http://localhost:8000/api/v1"),
        ("https://api.example/api/v1/", "https://api.example/api/v1"),
        (" https://api.example/omium\n", "https://api.example/omium/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/api/v1"),
    ],
)
def test_the_prefix_may_be_given_or_not(given: str, used: str) -> None:
    assert normalize_url(given) == used


@pytest.mark.parametrize("given", ["", "localhost:8000", "ftp://a.example", "http://", "http://a:b", "http://a/?b=c"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address such as"):
        normalize_url(given)


@pytest.mark.parametrize("given", ["", "  ", "schlüssel", "a\nb"])
def test_what_is_no_key(given: str) -> None:
    with pytest.raises(ConfigurationError, match="API key"):
        check_key(given)


def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    path = file_path()
    path.parent.mkdir()
    path.write_text('api_key = "old"\ntheme = "dark"\n')
    path.chmod(0o644)
    write_setting("api_key", "new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert 'theme = "dark"' in path.read_text()
    assert read_file() == {"api_key": "new"}
    assert list(path.parent.iterdir()) == [path]


def test_a_refused_value_changes_nothing() -> None:
    write_setting("base_url", "https://file.example")
    with pytest.raises(ConfigurationError):
        write_setting("base_url", "nonsense")
    assert read_file() == {"base_url": "https://file.example/api/v1"}


@pytest.mark.parametrize("content", ["api_key = ", "api_key = 7", "\x00"])
def test_a_broken_file_is_named(content: str) -> None:
    file_path().parent.mkdir()
    file_path().write_text(content)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        resolve()


def test_a_broken_stack_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".omium").mkdir()
    (tmp_path / ".omium" / "stack.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"stack\.json is not valid JSON"):
        resolve()
