"""Policies: what a tenant, a workflow and a definition say about time, retries, recovery, rollback and notification.

`reading` judges them when they arrive, `resolving` makes them one policy when a run starts. `docs/policies.md` describes
them for users.
"""

from activities.policies.reading import (
    agent_policy_problems,
    definition_policy_problems,
    policy_problems,
    policy_schemas,
    read_action,
)
from activities.policies.resolving import PolicyRow, resolve

__all__ = [
    "PolicyRow",
    "agent_policy_problems",
    "definition_policy_problems",
    "policy_problems",
    "policy_schemas",
    "read_action",
    "resolve",
]
