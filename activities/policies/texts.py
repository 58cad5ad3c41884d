"""The prompts of a policy's actions stay out of Temporal's history: a run carries their names, the row has the texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from models.wire_recovery import RecoveryAction, RunPolicy

_PLACE: Final = re.compile(r"rules\[(\d+)\]\.actions\[(\d+)\]")
_ALL: Final = "*"


def without_texts(policy: RunPolicy) -> RunPolicy:
    """The policy as a run may carry it."""

    def bare(action: RecoveryAction) -> RecoveryAction:
        return replace(action, prompts=dict.fromkeys(action.prompts, ""))

    rules = [replace(rule, actions=[bare(action) for action in rule.actions]) for rule in policy.rules]
    return replace(policy, rules=rules)


def filled(prompts: Mapping[str, str], policy: Mapping[str, Any] | None, source: str) -> dict[str, str]:
    """Prompts by their names with the texts of the action at `source` (`rules[0].actions[1]`) in a stored policy.

    A name that the action does not know was `*` there.
    """
    place = _PLACE.fullmatch(source)
    if place is None or policy is None:
        return dict(prompts)
    texts = policy["rules"][int(place[1])]["actions"][int(place[2])]["prompts"]
    return {name: text or texts.get(name) or texts.get(_ALL, "") for name, text in prompts.items()}
