"""The API's description of itself: whoever reads it, or makes a client of it, finds words, not placeholders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from api.app import create_app
from api.wording import EXAMPLES, PARTS
from omium_core.settings import Settings


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(Settings(store_path=tmp_path_factory.mktemp("store"))).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
    # PUT is PATCH under another name
    summaries = [operation["summary"] for door, operation in operations(document) if not door.startswith("put ")]
    assert len(summaries) == len(set(summaries))
    assert not [summary for summary in summaries if len(summary.split()) < 2 and summary not in ("Sign in", "Sign up")]


def test_parts_are_described_and_used(document: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    assert used == {tag["name"] for tag in document["tags"]} == set(PARTS)
    assert all(tag["description"] for tag in document["tags"])
    assert all(scheme["description"] for scheme in document["components"]["securitySchemes"].values())


def test_parameters_and_answers_are_described(document: dict[str, Any]) -> None:
    for door, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or parameter["schema"].get("description"), (door, parameter["name"])
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            assert answer["description"] not in ("", "Successful Response", "Validation Error"), (door, status)


def test_every_operation_may_fail_and_says_with_which_codes(document: dict[str, Any]) -> None:
    for door, operation in operations(document):
        assert {"400", "500"} <= operation["responses"].keys(), door
    codes = document["components"]["responses"]["Refused500"]["description"]
    assert {"`CHECKPOINT_CORRUPTED`", "`INTERNAL_ERROR`", "`KEY_UNAVAILABLE`"} <= set(
        codes.rstrip(".").replace(",", "").split()
    )
    assert "CONFIGURATION_ERROR" not in codes, "nobody meets it over HTTP"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_what_is_taken(document: dict[str, Any], name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.validate(EXAMPLES[name], schema, cls=jsonschema.Draft202012Validator)
    assert EXAMPLES[name].keys() <= document["components"]["schemas"][name]["properties"].keys()
