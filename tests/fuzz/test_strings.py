"""What PostgreSQL cannot store, NUL and half of a surrogate pair, in every text of every body: refused, and never our fault."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fuzz.world import Server, World

BAD = ("a\x00b", "a\ud800b")
#: Words that no check of a format or of a list of words refuses before the text itself is looked at.
_GOOD = {"uuid": "01890a5d-ac96-774b-bcce-b302099a8057", "email": "a@example.com", "date-time": "2026-01-01T00:00:00Z"}
#: Both are the credential's own business: a password is hashed, a token is looked up, and neither is stored or shown.
_SECRETS = ("password", "token", "code", "secret")
_MOST = 60
#: Stands for the name of one more field.
_NAME = None


def is_our_fault(answer: requests.Response) -> bool:
    """What this installation has no keys for is told as such, and is nobody's fault."""
    return answer.status_code >= 500 and answer.json()["error"]["code"] != "BILLING_NOT_CONFIGURED"


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("anyOf", schema.get("allOf", ())):
        found = _resolved(part, document)
        if found.get("type") != "null":
            return found
    return schema


def _body(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> Any:
    """A body with every field that the description names."""
    schema = _resolved(schema, document)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        if not fields or depth > 4:
            return {"field": "text"}
        return {name: _body(inner, document, depth + 1) for name, inner in fields.items()}
    if kind == "array":
        return [_body(schema.get("items", {}), document, depth + 1)]
    simple = {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": True}
    return simple.get(kind, _GOOD.get(schema.get("format", ""), "text"))


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a body are; for those that are names of fields, where their object is, and no more."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        yield (*path, _NAME)
        for name, inner in value.items():
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _with(body: Any, path: tuple[Any, ...], text: str) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for part in path[:-1]:
        inner = inner[part]
    if path[-1] is _NAME:
        inner[text] = "text"
    else:
        inner[path[-1]] = text
    return changed


@pytest.mark.timeout(600)
def test_no_text_is_taken_that_cannot_be_stored(server: Server) -> None:
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    world = World(server)
    # a key outlives the sign-outs among these
    headers = {**dict(world.callers)["a key of the role owner"], "content-type": "application/json"}
    found: list[str] = []
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                content = operation.get("requestBody", {}).get("content", {}).get("application/json")
                if content is None:
                    continue
                url = server.url + path.format_map(_Any(**world.ids))
                body = _body(content["schema"], document)
                for place in list(_texts(body))[:_MOST]:
                    for bad in BAD:
                        data = json.dumps(_with(body, place, bad))
                        answer = session.request(method, url, data=data, headers=headers, timeout=60)
                        statuses[answer.status_code] += 1
                        # Temporal's tools may say more than the codec knows, and nothing of it is kept
                        unread = place[-1] is _NAME and path.startswith("/api/v1/temporal/codec/")
                        secret = unread or any(word in str(place[-1]) for word in _SECRETS)
                        if is_our_fault(answer) or (answer.ok and not secret):
                            found.append(f"{method} {path} {place} {bad!r}: {answer.status_code} {answer.text[:200]}")
    assert not found, "\n".join(found)
    # most of them get as far as that
    assert statuses[422] > 200, statuses
    assert statuses[422] > statuses.total() * 0.8, statuses


@pytest.mark.timeout(600)
def test_no_path_and_no_query_is_our_fault(server: Server) -> None:
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    headers = dict(World(server).callers)["a key of the role owner"]
    found: list[str] = []
    with requests.Session() as session:
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                names = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
                for bad in ("%00", "%ED%A0%80", "9" * 400):
                    url = server.url + path.format_map(_Any(bad))
                    query = "&".join(f"{name}={bad}" for name in names)
                    answer = session.request(
                        method, f"{url}?{query}", headers=headers, timeout=60, allow_redirects=False
                    )
                    if is_our_fault(answer):
                        found.append(f"{method} {url}?{query}: {answer.status_code} {answer.text[:200]}")
    assert not found, "\n".join(found)


class _Any(dict[str, str]):
    """A value for every parameter of a path."""

    def __init__(self, value: str = _GOOD["uuid"], **known: str) -> None:
        super().__init__(known)
        self._value = value

    def __missing__(self, name: str) -> str:
        return self._value
