"""Judges policies when they arrive: every problem with the path of its field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from activities.policies.actions import ACTION_TYPES, Action, AnyAction
from activities.policies.channels import Channel
from activities.policies.configs import (
    FAILURE_TYPES,
    AgentRecovery,
    DefinitionPolicies,
    NotificationConfig,
    RecoveryConfig,
    RetryConfig,
    RollbackConfig,
    Rule,
    TimeoutConfig,
)
from models.wire_recovery import RecoveryAction
from omium_core.errors import InvalidInput, Problem

AnyConfig = TimeoutConfig | RetryConfig | RecoveryConfig | RollbackConfig | NotificationConfig
CONFIGS: Final[Mapping[str, type[AnyConfig]]] = {
    "timeout": TimeoutConfig,
    "retry": RetryConfig,
    "recovery": RecoveryConfig,
    "rollback": RollbackConfig,
    "notification": NotificationConfig,
}
#: A policy goes along with each run that it holds for.
MAX_BYTES = 64 * 1024

_ACTION: TypeAdapter[AnyAction] = TypeAdapter(Action)
_MODELS: tuple[type[BaseModel], ...] = (
    *CONFIGS.values(),
    DefinitionPolicies,
    AgentRecovery,
    Rule,
    Channel,
    *AnyAction.__args__,
)
_NAMES = sorted({name for model in _MODELS for name in model.model_fields})
_MESSAGES = {
    "string_type": "Must be a text.",
    "int_type": "Must be a whole number.",
    "float_type": "Must be a number.",
    "bool_type": "Must be true or false.",
    "list_type": "Must be an array.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "model_attributes_type": "Must be an object.",
    "missing": "Is required.",
    "too_short": "Must not be empty.",
    "string_too_short": "Must not be empty.",
    "union_tag_not_found": "Needs a type: one of " + ", ".join(ACTION_TYPES) + ".",
    "string_pattern_mismatch": "Is no event: `execution.failed`, `recovery.*` or `*`, for example.",
}


def read_config(policy_type: str, config: Any) -> AnyConfig:
    """A stored policy. `InvalidInput` with its problems, if it has some."""
    problems = policy_problems(policy_type, config)
    if problems:
        raise InvalidInput(f"The {policy_type} policy cannot be used.", problems)
    return CONFIGS[policy_type].model_validate(config)


def policy_problems(policy_type: Any, config: Any) -> list[Problem]:
    """What is wrong with a policy; paths from an object that holds `policy_type` and `policy_config`."""
    if not isinstance(policy_type, str) or policy_type not in CONFIGS:
        return [Problem("policy_type", _unknown("policy type", policy_type, CONFIGS))]
    return _problems(CONFIGS[policy_type], config, "policy_config")


def definition_policy_problems(policies: Any, path: str = "policies") -> list[Problem]:
    """What is wrong with the `policies` of a definition; `path` is where they stand in it."""
    return _problems(DefinitionPolicies, policies, path)


def agent_policy_problems(policies: Any, path: str = "recovery_policies") -> list[Problem]:
    """What is wrong with the `recovery_policies` of an agent; `path` is where they stand in the definition."""
    return _problems(AgentRecovery, policies, path)


def read_action(action_type: Any, config: Any) -> RecoveryAction:
    """An action that a person asks for. `InvalidInput` with paths `action_type` and `action_config`."""
    if action_type not in ACTION_TYPES:
        problem = Problem("action_type", _unknown("action", action_type, ACTION_TYPES))
        raise InvalidInput("The recovery action cannot be taken.", [problem])
    given = {} if config is None else config
    if not isinstance(given, dict) or "type" in given:
        wrong = "Is given as action_type." if isinstance(given, dict) else "Must be an object."
        path = "action_config.type" if isinstance(given, dict) else "action_config"
        raise InvalidInput("The recovery action cannot be taken.", [Problem(path, wrong)])
    try:
        return _ACTION.validate_python({**given, "type": action_type}).action()
    except ValidationError as error:
        problems = [_problem(details, "action_config") for details in error.errors(include_url=False)]
        raise InvalidInput("The recovery action cannot be taken.", problems) from None


def policy_schemas() -> dict[str, Any]:
    """The JSON Schemas of all policies: the types under their names, and `definition`, `agent`, `action`."""
    models: dict[str, type[BaseModel]] = {**CONFIGS, "definition": DefinitionPolicies, "agent": AgentRecovery}
    schemas = {name: model.model_json_schema() for name, model in models.items()}
    schemas["action"] = _ACTION.json_schema()
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: {**dialect, **schema} for name, schema in schemas.items()}


def _problems(model: type[BaseModel], raw: Any, path: str) -> list[Problem]:
    try:
        model.model_validate(raw)
    except ValidationError as error:
        return [_problem(details, path) for details in error.errors(include_url=False)]
    size = len(json.dumps(raw))
    return [Problem(path, f"Is larger than {MAX_BYTES // 1024} KB.")] if size > MAX_BYTES else []


def _problem(details: ErrorDetails, path: str) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    location = _without_tags(details["loc"])
    if "at" in context:
        location = [*location, context["at"]]
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if kind == "extra_forbidden":
        return Problem(path, _unknown("field", location[-1], _NAMES, listed=False))
    if kind == "union_tag_invalid":
        return Problem(f"{path}.type", _unknown("action", context["tag"], ACTION_TYPES))
    if kind == "literal_error" and "failure_types" in location:
        return Problem(path, _unknown("failure type", details["input"], FAILURE_TYPES))
    return Problem(path, _MESSAGES.get(kind) or _sentence(details["msg"]))


def _without_tags(location: tuple[int | str, ...]) -> list[int | str]:
    """A location without what pydantic adds: the action's type after its place in a list, or at the very beginning."""
    kept: list[int | str] = []
    for place, part in enumerate(location):
        before = location[place - 1] if place else 0
        if not (isinstance(before, int) and part in ACTION_TYPES):
            kept.append(part)
    return kept


def _unknown(what: str, name: object, known: Iterable[str], *, listed: bool = True) -> str:
    near = get_close_matches(str(name)[:100], list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    told = repr(name)[:100]
    return f"Unknown {what} {told}" + (f"; known are: {', '.join(known)}." if listed else ".") + hint


def _sentence(message: str) -> str:
    text = message.replace("Input should be", "Must be").replace("Value should", "Must")
    return text if text.endswith(".") else f"{text}."
