"""Channels as users write them: what is refused and where, and what is shown of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.policies import definition_policy_problems, policy_problems
from activities.policies.channels import MASK, address_problems
from activities.policies.configs import NotificationConfig
from activities.tools.addresses import AddressPolicy
from tests.api.conftest import app, as_caller, http, key_of, settings, tenant

__all__ = ["app", "as_caller", "http", "key_of", "settings", "tenant"]
HOOK = "https://hooks.example.com/services/T0"
SECRET = "whsec-1234"


def of(*channels: Any) -> dict[str, Any]:
    return {"events": ["execution.failed", "handoff.*"], "channels": list(channels)}


@pytest.mark.parametrize(
    "channels",
    [
        [],
        ["log"],
        [{"type": "log"}],
        [{"url": HOOK}],
        [{"type": "webhook", "url": HOOK, "headers": {"Authorization": "Bearer x"}, "secret": SECRET}, "log"],
    ],
)
def test_right(channels: list[Any]) -> None:
    assert policy_problems("notification", of(*channels)) == []


@pytest.mark.parametrize(
    ("channel", "path", "message"),
    [
        ("mail", "[0]", "object"),
        ({"type": "mail", "url": HOOK}, "[0].type", "'webhook' or 'log'"),
        ({"type": "webhook"}, "[0].url", "Is required."),
        ({"type": "log", "url": HOOK}, "[0].url", "A log has no settings."),
        ({"url": "ftp://example.com"}, "[0].url", "http:// or https://"),
        ({"url": "https:///path"}, "[0].url", "name a host"),
        ({"url": "https://exa mple.com:port/"}, "[0].url", "Is no address."),
        ({"url": "https://user:pass@example.com/"}, "[0].url", "no user name or password"),
        ({"url": HOOK, "headers": {"x-omium-signature": "t=1"}}, "[0].headers", "cannot be set"),
        ({"url": HOOK, "headers": {"Host": "other"}}, "[0].headers", "cannot be set"),
        ({"url": HOOK, "headers": {"X-A": "b\r\nX-C: d"}}, "[0].headers", "plain ASCII"),
        ({"url": HOOK, "secret": MASK}, "[0].secret", "give the secret itself"),
        ({"url": HOOK, "sekret": "x"}, "[0].sekret", "Did you mean 'secret'?"),
    ],
)
def test_wrong(channel: Any, path: str, message: str) -> None:
    [problem] = policy_problems("notification", of(channel))
    assert problem.path == f"policy_config.channels{path}"
    assert message in problem.message
    assert "pass@" not in problem.message


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "168.63.129.16",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "localhost",
        "a.localhost.",
        "127.1",
        "2130706433",
    ],
)
def test_private_address(host: str) -> None:
    channels = ["log", {"url": f"http://{host}:8000/"}]
    [problem] = address_problems(channels, AddressPolicy([]), "channels")
    assert problem.path == "channels[1].url"
    everywhere = AddressPolicy(["0.0.0.0/0", "::/0"])
    assert address_problems(channels, everywhere, "channels") == []


@pytest.mark.parametrize("host", ["example.com", "mylocalhost", "8.8.8.8", "[2606:4700::1111]", "intern"])
def test_address_that_is_public_or_only_a_name(host: str) -> None:
    assert address_problems([{"url": f"https://{host}/"}], AddressPolicy([]), "") == []


def test_definition_holds_no_secrets() -> None:
    assert definition_policy_problems({"notification": of({"url": HOOK})}) == []
    for name, value in (("secret", SECRET), ("headers", {"X-A": "b"})):
        [problem] = definition_policy_problems({"notification": of("log", {"url": HOOK, name: value})})
        assert problem.path == f"policies.notification.channels[1].{name}"
        assert "stored policy" in problem.message


def test_which_events_go_where() -> None:
    config = NotificationConfig.model_validate(of("log", {"url": HOOK}))
    assert [place for place, _ in config.channels_for("execution.failed")] == [0, 1]
    assert [channel.type for _, channel in config.channels_for("handoff.committed")] == ["log", "webhook"]
    assert config.channels_for("execution.failed_again") == config.channels_for("handoffs.x") == []
    everything = NotificationConfig.model_validate({"events": ["*"]})
    assert [channel.type for _, channel in everything.channels_for("effect.undone")] == ["log"]


async def test_secrets_are_kept_and_not_shown(http: httpx.AsyncClient) -> None:
    config = of({"url": HOOK, "headers": {"Authorization": "Bearer b-token"}, "secret": SECRET})
    body = {"name": "n", "policy_type": "notification", "policy_config": config}
    made = await http.post("/api/v1/policies", json=body)
    assert made.status_code == 201, made.text
    path = f"/api/v1/policies/{made.json()['id']}"
    answers = [made, await http.get(path), await http.get(f"{path}/versions"), await http.get("/api/v1/policies")]
    for answer in answers:
        assert MASK in answer.text
        assert SECRET not in answer.text
        assert "b-token" not in answer.text
    # what was shown may come back, but leads nowhere else
    shown = made.json()["policy_config"]
    assert (await http.patch(path, json={"policy_config": {**shown, "events": ["*"]}})).status_code == 200
    shown["channels"][0]["url"] = "https://elsewhere.example.com/"
    moved = await http.patch(path, json={"policy_config": shown})
    assert (moved.status_code, moved.json()["error"]["code"]) == (422, "INVALID_INPUT")


async def test_private_address_is_refused_when_it_arrives(http: httpx.AsyncClient) -> None:
    body = {"name": "n", "policy_type": "notification", "policy_config": of({"url": "http://10.0.0.1/"})}
    refused = await http.post("/api/v1/policies", json=body)
    assert refused.json()["error"]["details"]["errors"][0]["path"] == "policy_config.channels[0].url"
    graph = {
        "nodes": [{"id": "a", "type": "template", "template": "x", "output": "out"}],
        "edges": [{"from": "START", "to": "a"}, {"from": "a", "to": "END"}],
        "state": {"out": {"type": "string"}},
        "policies": {"notification": of({"url": "http://localhost/"})},
    }
    workflow = {"name": "w", "framework": "langgraph", "workflow_definition": graph}
    refused = await http.post("/api/v1/workflows", json=workflow)
    told = refused.json()["error"]["details"]["errors"][0]["path"]
    assert told == "workflow_definition.policies.notification.channels[0].url"
