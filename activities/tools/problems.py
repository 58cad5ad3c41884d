"""Errors of a JSON Schema validator, as problems with the paths that people write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from omium_core.errors import Problem


def argument_problems(validator: Draft202012Validator, arguments: Any) -> list[Problem]:
    """All problems of an instance. What is missing or superfluous is named by the path that it would have or has."""
    return [problem for error in validator.iter_errors(arguments) for problem in _problems(error)]


def _problems(error: ValidationError) -> Iterable[Problem]:
    if error.validator == "required" and isinstance(error.validator_value, list):
        # The validator reports each missing property in an error of its own.
        name = next(name for name in error.validator_value if error.message.startswith(repr(name)))
        return [Problem(_path([*error.absolute_path, name]), "is required")]
    if (
        error.validator == "additionalProperties"
        and error.validator_value is False
        and isinstance(error.instance, dict)
    ):
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        unknown = [name for name in error.instance if name not in known]
        return [Problem(_path([*error.absolute_path, name]), "is not known") for name in unknown]
    # The validator's words hold the instance, which may be long.
    message = error.message if len(error.message) <= 300 else f"{error.message[:300]}..."
    return [Problem(_path(error.absolute_path), message)]


def _path(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
