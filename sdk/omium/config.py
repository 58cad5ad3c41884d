"""Where the API is and which key opens it: arguments, environment, configuration file, local stack, in this order.

The file is TOML, readable by its owner alone; `omium config set` writes it. The local stack's `stack.json` is a
convenience for newcomers: after `omium up`, nothing has to be configured in the same folder.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from omium.errors import ConfigurationError

#: Settings that the file may hold, each with the environment variable that goes before it.
VARIABLES = {"api_key": "OMIUM_API_KEY", "base_url": "OMIUM_BASE_URL"}

DEFAULT_BASE_URL = "http://127.0.0.1:8000/api/v1"
API_PREFIX = "/api/v1"


@dataclass(frozen=True)
class Connection:
    """The address, always ending in /api/v1, and the key, if there is one; each with its source in words for people."""

    base_url: str
    base_url_source: str
    api_key: str | None = field(default=None, repr=False)
    api_key_source: str = "not set"
    #: Of a person who signed in; counts instead of a key.
    access_token: str | None = field(default=None, repr=False)


def resolve(api_key: str | None = None, base_url: str | None = None, access_token: str | None = None) -> Connection:
    """The connection to use.

    Raises:
        ConfigurationError: a value or a file cannot be used; the message names it.
    """
    saved = read_file() if api_key is None or base_url is None else {}
    url, url_source = _first(base_url, "base_url", saved)
    key, key_source = _first(api_key, "api_key", saved)
    stack = read_stack() if url is None or key is None else {}
    if url is None:
        url, url_source = (stack["api_url"], _stack_source()) if stack else (DEFAULT_BASE_URL, "default")
    url = normalize_url(url)
    # the stack's key opens only its own door: it is never sent to another address
    if key is None and stack.get("api_key") and normalize_url(stack["api_url"]) == url:
        key, key_source = stack["api_key"], _stack_source()
    if access_token is not None:
        return Connection(url, url_source, access_token=check_key(access_token))
    return Connection(url, url_source, check_key(key) if key is not None else None, key_source)


def _first(argument: str | None, name: str, saved: dict[str, str]) -> tuple[str | None, str]:
    if argument is not None:
        return argument, "argument"
    if value := os.environ.get(VARIABLES[name]):
        return value, VARIABLES[name]
    if name in saved:
        return saved[name], f"configuration file {file_path()}"
    return None, "not set"


def _stack_source() -> str:
    return f"local stack {stack_path()}"


def normalize_url(value: str) -> str:
    """The base URL with /api/v1 at its end, whether or not it was given.

    Raises:
        ConfigurationError: it is no http or https address.
    """
    text = value.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in text):
        raise ConfigurationError(
            f"The base URL {value!r} is not an address such as http://127.0.0.1:8000 or https://omium.example.com/api/v1."
        )
    return text if text.endswith(API_PREFIX) else text + API_PREFIX


def check_key(value: str) -> str:
    """The key without surrounding white space.

    Raises:
        ConfigurationError: it is empty, or a header cannot carry it.
    """
    key = value.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigurationError("The API key is empty or holds characters that no key has.")
    return key


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def file_path() -> Path:
    """The configuration file; `OMIUM_CONFIG_FILE` moves it."""
    if given := os.environ.get("OMIUM_CONFIG_FILE"):
        return Path(given).expanduser()
    from platformdirs import user_config_path

    return user_config_path("omium", appauthor=False) / "config.toml"


def read_file() -> dict[str, str]:
    """The settings in the configuration file; none if there is no file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    content = _load(file_path(), tomllib.loads, "TOML")
    settings = {name: content[name] for name in VARIABLES if name in content}
    for name, value in settings.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} in {file_path()} must be text in quotes.")
    return settings


def write_setting(name: str, value: str) -> Path:
    """Saves one setting, and leaves everything else in the file as it is. Returns the file.

    Raises:
        ConfigurationError: the value is not usable, or the file cannot be written.
    """
    import tomli_w

    usable = normalize_url(value) if name == "base_url" else check_key(value)
    path = file_path()
    content = _load(path, tomllib.loads, "TOML") | {name: usable}
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # a new file each time (its mode is 0600 from birth), so that a crash leaves the old or the new, never half
        with NamedTemporaryFile("w", dir=target.parent, encoding="utf-8", delete=False) as draft:
            draft.write(tomli_w.dumps(content))
            written = Path(draft.name)
        try:
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"Cannot write {path}: {error.strerror}.") from error
    return path


def stack_path() -> Path:
    """Where a local stack says how to reach it: in `OMIUM_DATA_DIR`, or in .omium below the current folder."""
    return Path(os.environ.get("OMIUM_DATA_DIR") or ".omium").expanduser() / "stack.json"


def read_stack() -> dict[str, str]:
    """`api_url`, and `api_key` if it has one, of the local stack; empty if there is none.

    Raises:
        ConfigurationError: the file cannot be read, or names an address on another machine. A folder that came from
            elsewhere must not be able to send the user's own key somewhere.
    """
    path = stack_path()
    content = _load(path, json.loads, "JSON")
    stack = {name: content[name] for name in ("api_url", "api_key") if isinstance(content.get(name), str)}
    if not stack.get("api_url"):
        return {}
    if not is_loopback(normalize_url(stack["api_url"])):
        raise ConfigurationError(f"{path} names an address that is not on this machine. Set OMIUM_BASE_URL to use it.")
    return stack


def _load(path: Path, parse: Callable[[str], Any], form: str) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid {form}: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold an object.")
    return content
