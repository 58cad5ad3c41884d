"""Whatever the API's description allows, and what it does not, sent by every kind of caller: each answer is one that the
description tells, in its words, and none is our fault.

The sample is small in a quick run, and fixed by `--seed`; `--all` sends several times as much.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import content_type_conformance, response_schema_conformance, status_code_conformance
from schemathesis.core.failures import FailureGroup

from tests.fuzz.world import Server, World
from tests.support.sampling import sampled

QUICK, ALL = 2, 30
#: A part that is away is told so: no worker serves the frameworks here.
AWAY = 503
#: What a route never sees: the path that was made leads to none.
NO_ROUTE = (404, 405)
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
#: After these, what others need is gone: each has a tenant of its own.
_ENDS = ("erasure", "rotate", "revoke", "logout", "change-password", "switch-tenant", "retention", "mfa")


@dataclass
class Findings:
    """What is wrong, each once."""

    by_operation: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)


@pytest.mark.timeout(1800)
def test_every_answer_is_described(server: Server, request: pytest.FixtureRequest) -> None:
    budget = ALL if request.config.getoption("--all") else QUICK
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", timeout=60)
    operations = [result.ok() for result in schema.get_all_operations()]
    shared, found = World(server), Findings()
    for number in sampled(request.config, list(range(len(operations))), len(operations) // 2):
        operation = operations[number]
        fresh = operation.method.upper() == "DELETE" or any(word in operation.path for word in _ENDS)
        world = World(server) if fresh else shared
        _fuzz(operation, world, found, budget, request.config.getoption("--seed") + number)
    told = "\n\n".join(f"{name}\n{text}" for name, text in found.by_operation.items())
    print(f"{found.requests} requests: {dict(sorted(found.statuses.items()))}")  # noqa: T201 - shown with a failure
    assert not found.by_operation, told
    # the sample says something only if it gets past the door
    assert found.statuses.get(200, 0) > found.requests / 20


def _fuzz(operation: Any, world: World, found: Findings, budget: int, number: int) -> None:
    cases = st.one_of(
        operation.as_strategy(),
        operation.as_strategy(),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @seed(number)
    @examples(
        max_examples=budget,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, caller=st.sampled_from(world.callers), known=st.integers(0, 3))
    def send(case: Any, caller: tuple[str, dict[str, str]], known: int) -> None:
        if known:
            world.use_known_ids(case, foreign=known == 1)
        name, headers = caller
        for credential in ("X-API-Key", "Authorization"):
            # the description names both, so both are made up
            case.headers.pop(credential, None)
        response = case.call(base_url=world.server.url, headers=headers, timeout=60)
        found.requests += 1
        found.statuses[response.status_code] = found.statuses.get(response.status_code, 0) + 1
        problem = _problem(case, response, headers)
        if problem:
            body = getattr(case, "body", None)
            found.by_operation.setdefault(
                f"{operation.method.upper()} {operation.path} -> {response.status_code}",
                f"  as {name}: {response.request.url}\n  body: {body!r:.600}\n  {problem:.900}\n  {response.text:.600}",
            )

    try:
        send()
    except Exception as error:
        # a case that cannot even be made or sent: a path that HTTP has no letters for
        if "Unsatisfiable" not in type(error).__name__ and not isinstance(error, requests.exceptions.InvalidURL):
            found.by_operation.setdefault(f"{operation.method.upper()} {operation.path}", f"  {error!r:.900}")


def _problem(case: Any, response: Any, headers: dict[str, str]) -> str | None:
    """What is wrong with an answer, in words."""
    status = response.status_code
    if status >= 500 and status != AWAY:
        return "A fault of ours."
    if status >= 400 and (problem := _envelope_problem(response)):
        return problem
    if status in NO_ROUTE:
        return None
    try:
        case.validate_response(response, checks=_CHECKS, headers=headers)
    except FailureGroup as group:
        return "\n".join(f"{failure.title}: {failure.message}" for failure in group.exceptions)
    return None


def _envelope_problem(response: Any) -> str | None:
    try:
        body = response.json()
    except ValueError:
        return "An error that is no JSON."
    if set(body) == {"status", "checks"}:
        return None
    if set(body) != {"error"} or not {"code", "message", "details", "request_id"} <= set(body["error"]):
        return "An error outside of the envelope."
    uuid_or_given = body["error"]["request_id"]
    if response.headers.get("x-request-id", [""])[0] != uuid_or_given:
        return "The id of the request differs between header and body."
    return None
