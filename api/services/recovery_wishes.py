"""Reads what a person wants to have done about a failure: what policies know too, and what only a person can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activities.policies import read_action
from api.schemas.common import json_problems
from models.wire_recovery import RecoveryAction
from omium_core.errors import InvalidInput, Problem

#: Other names for where a rollback goes, and for whose prompt is edited.
_TARGETS = ("checkpoint_id", "checkpoint", "number", "name")
_AGENTS = ("agent_id",)
#: What a policy says of an action that is taken without a person, later and perhaps again.
_OF_POLICIES = ("times", "delay_seconds", "delay_ms", "backoff", "max_delay_seconds", "max_delay_ms")
_NOTES = ("note", "reason", "message")
_LONGEST_NAME, _LONGEST_NOTE = 255, 1000


@dataclass(frozen=True)
class Wanted:
    """An action that is taken now. `to` is where a rollback goes, empty for the failure's own checkpoint.

    `confirm` agrees that effects which cannot be undone stay; `assignee` and `note` are for the person who takes over.
    """

    action: RecoveryAction
    to: str = ""
    confirm: bool = False
    assignee: str = ""
    note: str = ""


def read_wanted(action_type: str, config: Mapping[str, Any]) -> Wanted:
    """Raises `InvalidInput` with paths below `action_config`."""
    problems = json_problems(dict(config), "action_config")
    problems += [
        Problem(f"action_config.{name}", "Is for policies: this action is taken now and once.")
        for name in _OF_POLICIES
        if name in config
    ]
    if problems:
        raise _invalid(problems)
    given = dict(config)
    confirm = given.pop("confirm", False)
    if not isinstance(confirm, bool):
        raise _invalid([Problem("action_config.confirm", "Must be true or false.")])
    assignee = _text(given, "assignee", _LONGEST_NAME)
    renamed: dict[str, str] = {}
    if action_type == "rollback":
        renamed |= _rename(given, _TARGETS, "to")
    elif action_type == "prompt_edit":
        renamed |= _rename(given, _AGENTS, "agent")
    note = _note(given)
    says_where = "to" in given
    try:
        action = read_action(action_type, given)
    except InvalidInput as error:
        raise _invalid([_as_given(problem, renamed) for problem in error.problems]) from None
    return Wanted(action, action.to if says_where else "", confirm, assignee, note or action.note)


def _text(given: dict[str, Any], name: str, longest: int) -> str:
    text = given.pop(name, None)
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > longest:
        raise _invalid([Problem(f"action_config.{name}", f"Must be a text of {longest} characters at most.")])
    return text


def _rename(given: dict[str, Any], names: tuple[str, ...], known_as: str) -> dict[str, str]:
    """Puts the one of these fields that is given under the name that policies know; which one it was."""
    used = [name for name in (known_as, *names) if given.get(name) is not None]
    if len(used) > 1:
        raise _invalid([Problem(f"action_config.{used[1]}", f"Give only one of {', '.join(used)}.")])
    for name in names:
        value = given.pop(name, None)
        if value is not None:
            given[known_as] = value
    return {known_as: used[0]} if used else {}


def _note(given: dict[str, Any]) -> str:
    """Whoever acts may say why, whatever the action."""
    texts = [_text(given, name, _LONGEST_NOTE) for name in _NOTES]
    return next(filter(None, texts), "")


def _as_given(problem: Problem, renamed: Mapping[str, str]) -> Problem:
    for known_as, name in renamed.items():
        if problem.path == f"action_config.{known_as}":
            return Problem(f"action_config.{name}", problem.message)
    return problem


def _invalid(problems: list[Problem]) -> InvalidInput:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidInput(f"{problems[0].path}: {problems[0].message}{more}", problems)
