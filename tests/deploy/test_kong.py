"""Kong's routes and limits are the API's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from ruamel.yaml import YAML

from api import cors
from api.app import create_app
from api.limits.requests import _OF_EXECUTIONS
from omium_core.settings import Settings

FILE = Path(__file__).parents[2] / "deploy" / "kong" / "kong.yml"
CONFIG: dict[str, Any] = YAML(typ="safe").load(FILE)
ROUTES: list[dict[str, Any]] = [route for service in CONFIG["services"] for route in service["routes"]]
#: Plugins that Kong brings, and what each of them takes of what is set here.
KNOWN = {
    "rate-limiting": {"minute", "hour", "limit_by", "header_name", "policy", "fault_tolerant", "redis"},
    "cors": {"origins", "credentials", "methods", "headers", "exposed_headers", "max_age", "preflight_continue"},
    "correlation-id": {"header_name", "generator", "echo_downstream"},
    "request-size-limiting": {"allowed_payload_size", "size_unit", "require_content_length"},
    "ip-restriction": {"allow"},
}


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Method and path of everything that the API serves, described or not, with something in place of each parameter."""
    app = create_app(Settings(store_path=tmp_path_factory.mktemp("store")))
    return [
        (method, re.sub(r"\{[^}]+\}", "01a2", route.path or ""))
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ("GET",)
    ]


def chosen(method: str, path: str) -> list[str]:
    """The routes that Kong would choose: regular expressions go before prefixes, longer prefixes before shorter ones."""
    found: list[tuple[int, int, str]] = []
    for route in ROUTES:
        if method not in route.get("methods", [method]):
            continue
        for place in route["paths"]:
            if place.startswith("~"):
                if re.match(place[1:], path):
                    found.append((1, route.get("regex_priority", 0), route["name"]))
            elif path.startswith(place):
                found.append((0, len(place), route["name"]))
    return [name for *rank, name in found if tuple(rank) == max(entry[:2] for entry in found)]


def plugins() -> Iterator[dict[str, Any]]:
    yield from CONFIG["plugins"]
    for part in (*CONFIG["services"], *ROUTES):
        yield from part.get("plugins", [])


def plugin(name: str, route: str | None = None) -> dict[str, Any]:
    owner = CONFIG if route is None else next(entry for entry in ROUTES if entry["name"] == route)
    [found] = [entry["config"] for entry in owner["plugins"] if entry["name"] == name]
    config: dict[str, Any] = found
    return config


def test_every_operation_of_the_api_has_one_route(operations: list[tuple[str, str]]) -> None:
    assert len(operations) > 100
    assert {("GET", "/temporal"), ("POST", "/sign-in"), ("GET", "/docs"), ("GET", "/api/v1/health/live")} <= set(
        operations
    )
    assert {operation: chosen(*operation) for operation in operations if len(chosen(*operation)) != 1} == {}


def test_every_path_of_a_route_leads_to_the_api(operations: list[tuple[str, str]]) -> None:
    idle = [
        place
        for route in ROUTES
        for place in route["paths"]
        if not any(
            re.match(place[1:], path) if place.startswith("~") else re.match(re.escape(place) + r"(/|$)", path)
            for _, path in operations
        )
    ]
    assert idle == []


def test_limits_are_those_of_the_settings() -> None:
    defaults = Settings.model_fields
    everywhere, executions = plugin("rate-limiting"), plugin("rate-limiting", "executions")
    assert everywhere["minute"] == defaults["requests_per_minute"].default == 600
    assert everywhere["hour"] == defaults["requests_per_hour"].default == 6000
    assert executions["minute"] == defaults["execution_requests_per_minute"].default == 200
    assert executions["hour"] == defaults["execution_requests_per_hour"].default == 4000
    assert plugin("request-size-limiting")["allowed_payload_size"] == defaults["max_body_bytes"].default


def test_same_routes_count_as_those_of_executions(operations: list[tuple[str, str]]) -> None:
    for method, path in operations:
        assert (chosen(method, path) == ["executions"]) == bool(_OF_EXECUTIONS.match(path)), path


def test_pages_of_other_origins_are_told_the_same() -> None:
    config = plugin("cors")
    assert config["credentials"] is True
    assert {"https://app.omium.ai", "https://omium.ai"} <= set(config["origins"])
    assert not [origin for origin in config["origins"] if "*" in origin]
    assert tuple(config["methods"]) == cors.METHODS
    assert tuple(config["headers"]) == cors.ACCEPTED
    assert tuple(config["exposed_headers"]) == cors.EXPOSED
    assert plugin("correlation-id") == {"header_name": "X-Request-ID", "generator": "uuid", "echo_downstream": True}


def test_file_says_nothing_that_kong_does_not_know() -> None:
    assert CONFIG.keys() == {"_format_version", "_transform", "services", "plugins"}
    for entry in plugins():
        assert entry.keys() == {"name", "config"}
        assert entry["config"].keys() <= KNOWN[entry["name"]], entry["name"]
    for service in CONFIG["services"]:
        assert service.keys() <= {"name", "url", "tags", "read_timeout", "routes"}
        assert service["url"] == "http://api:8000"
    for route in ROUTES:
        assert route.keys() <= {"name", "paths", "methods", "strip_path", "preserve_host", "plugins"}
        assert route["strip_path"] is False
    names = [entry["name"] for entry in (*ROUTES, *CONFIG["services"])]
    assert len(names) == len(set(names))
