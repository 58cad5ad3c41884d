"""Finds what the schema of compose files cannot: names that lead nowhere, open ports, secrets with a default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from omium_core.settings import Settings
from tests.deploy.dockerfile import Dockerfile

Compose = dict[str, Any]

_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")
_SECRET = re.compile(r"PASSWORD|PWD|SECRET|PEPPER|TOKEN|_KEY$")
#: `host:port`, alone or inside a URL
_ADDRESS = re.compile(r"(?:^|//|@)([a-z][a-z0-9-]*):(\d{2,5})(?:/|$)")


def load(path: Path) -> Compose:
    """A compose file as Python data, its anchors and merges resolved."""
    return dict(YAML(typ="safe").load(path))


def variables(compose: Compose) -> dict[str, str]:
    """The names that the file takes from its environment, each with what follows the name (`:?message`, `:-default`)."""
    return {found["name"]: found["rest"] for text in _texts(compose) for found in _VARIABLE.finditer(text)}


def problems(compose: Compose, root: Path) -> list[str]:
    """One sentence for each thing that is wrong; `root` is the folder that paths start from."""
    return [
        *_unknown_settings(compose),
        *(f"{kind} {name!r} is used by nobody" for kind in ("volumes", "networks") for name in _unused(compose, kind)),
        *(
            f"{name}: {problem}"
            for name, service in compose["services"].items()
            for check in (_names, _dependencies, _mounts, _addresses, _build, _ports, _secrets, _health)
            for problem in check(service, compose, root)
        ),
    ]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _unknown_settings(compose: Compose) -> Iterator[str]:
    ours = [name for service in compose["services"].values() for name in _environment(service)]
    images = [service for service in compose["services"].values() if "build" in service]
    set_for_us = {name for service in images for name in _environment(service)}
    for name in sorted({*ours, *variables(compose)}):
        known = name.removeprefix("OMIUM_").lower() in Settings.model_fields
        if name.startswith("OMIUM_") and not known and (name in set_for_us or name in variables(compose)):
            yield f"{name} is no setting"


def _environment(service: Compose) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def _unused(compose: Compose, kind: str) -> list[str]:
    used = {name for service in compose["services"].values() for name in _used(service, kind)}
    return sorted(set(compose.get(kind, {})) - used)


def _used(service: Compose, kind: str) -> list[str]:
    if kind == "volumes":
        sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
        return [source for source in sources if not source.startswith((".", "/"))]
    return [entry["source"] if isinstance(entry, dict) else entry for entry in service.get(kind, [])]


def _names(service: Compose, compose: Compose, _root: Path) -> Iterator[str]:
    for kind in ("volumes", "networks", "configs", "secrets"):
        for name in _used(service, kind):
            if name not in compose.get(kind, {}):
                yield f"{kind} {name!r} is not declared"


def _dependencies(service: Compose, compose: Compose, _root: Path) -> Iterator[str]:
    for name, dependency in service.get("depends_on", {}).items():
        other = compose["services"].get(name)
        if other is None:
            yield f"depends on {name!r}, which does not exist"
        elif dependency["condition"] == "service_healthy" and not _has_health(other):
            yield f"waits until {name!r} is healthy, which has no health check"
        elif dependency["condition"] == "service_completed_successfully" and not _is_job(other):
            yield f"waits until {name!r} has ended, which never ends"


def _mounts(service: Compose, _compose: Compose, root: Path) -> Iterator[str]:
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith(".") and not (root / source).exists():
            yield f"mounts {source}, which does not exist"


def _addresses(service: Compose, compose: Compose, _root: Path) -> Iterator[str]:
    """Hosts in the environment must be services that share a network with this one."""
    for name, value in _environment(service).items():
        for host, _port in _ADDRESS.findall(_VARIABLE.sub("x", value)):
            other = compose["services"].get(host)
            if other is None:
                yield f"{name} names the host {host!r}, which is no service"
            elif not set(_used(service, "networks")) & set(_used(other, "networks")):
                yield f"{name} names {host!r}, which is on no network of this service"


def _build(service: Compose, _compose: Compose, root: Path) -> Iterator[str]:
    if build := service.get("build"):
        path = root / build["context"] / build["dockerfile"]
        if not path.exists():
            yield f"is built from {build['dockerfile']}, which does not exist"
        elif build["target"] not in Dockerfile(path).stages:
            yield f"is built from the target {build['target']!r}, which does not exist"


def _ports(service: Compose, _compose: Compose, _root: Path) -> Iterator[str]:
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"publishes {port} beyond this machine"


def _secrets(service: Compose, _compose: Compose, _root: Path) -> Iterator[str]:
    for name, value in _environment(service).items():
        if _SECRET.search(name) or "PASSWORD" in value:
            found = list(_VARIABLE.finditer(value))
            if not found or not all(one["rest"].startswith(":?") for one in found):
                yield f"{name} is a secret that has a default"


def _health(service: Compose, _compose: Compose, _root: Path) -> Iterator[str]:
    if "restart" not in service:
        yield "has no restart policy"
    if not _is_job(service) and not _has_health(service):
        yield "has no health check"


def _is_job(service: Compose) -> bool:
    return str(service.get("restart", "no")).startswith(("on-failure", "no"))


def _has_health(service: Compose) -> bool:
    health = service.get("healthcheck", {})
    return "test" in health and not health.get("disable")
