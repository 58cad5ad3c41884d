"""Makes one policy for a run out of all that hold for it. Pure.

From the weakest to the strongest: the tenant's policies, the definition's, its agents' own, the workflow's. The author of a
definition knows it better than the tenant's defaults; who runs a workflow can change its behaviour without a new
definition. Within one level the later row is the stronger.

- What the stronger says of one thing (a time, retries, a rollback on failure) takes the weaker's place.
- Rules are kept, the stronger first: the first that fits a failure counts.
- Bounds only become tighter, and irreversible effects may be rolled over only if nobody forbids it: what a tenant bounds,
  no definition widens.
- Notifications add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from activities.policies.configs import AgentRecovery, DefinitionPolicies
from activities.policies.parts import Layer
from activities.policies.reading import agent_policy_problems, definition_policy_problems, read_config
from models.wire_recovery import AgentPolicy, PolicySource, RecoveryRule, RetryPolicy, RunPolicy
from omium_core.errors import InvalidInput, Problem


class PolicyRow(NamedTuple):
    """A stored policy that is active: of the tenant, or (`workflow_level`) of the run's workflow."""

    id: str
    version: int
    policy_type: str
    config: dict[str, Any]
    workflow_level: bool = False


def resolve(
    rows: Sequence[PolicyRow],
    definition_policies: Mapping[str, Any] | None = None,
    agents: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunPolicy:
    """The policy of a run. `agents` are the `recovery_policies` of a definition's agents, by the agents' names.

    `InvalidInput` if one of them cannot be read.
    """
    tenant = [read_config(row.policy_type, row.config).layer() for row in rows if not row.workflow_level]
    workflow = [read_config(row.policy_type, row.config).layer() for row in rows if row.workflow_level]
    definition = _definition(definition_policies)
    own = _agents(agents or {})
    policy = _with_values(RunPolicy(), [*tenant, *definition, *workflow])
    agent_rules = [rule for name, agent in own.items() for rule in agent.short_rules([name])]
    return replace(
        policy,
        agents=_agent_policies(own, policy, workflow),
        rules=[*_rules(workflow), *agent_rules, *_rules(definition), *_rules(tenant)],
        sources=[PolicySource(row.id, row.version) for row in rows],
    )


def _definition(policies: Mapping[str, Any] | None) -> list[Layer]:
    if not policies:
        return []
    _refuse(definition_policy_problems(dict(policies)))
    return DefinitionPolicies.model_validate(policies).layers()


def _agents(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, AgentRecovery]:
    for name, policies in agents.items():
        _refuse(agent_policy_problems(dict(policies), f"agents.{name}.recovery_policies"))
    return {name: AgentRecovery.model_validate(policies) for name, policies in agents.items()}


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidInput("The definition's policies cannot be used.", problems)


def _with_values(policy: RunPolicy, layers: Sequence[Layer]) -> RunPolicy:
    """A policy with what the layers say, the weakest first; without their rules."""
    values: dict[str, Any] = {}
    bounds: dict[str, int] = {}
    for layer in layers:
        values |= layer.values
        for name, bound in layer.bounds.items():
            bounds[name] = min(bound, bounds.get(name, bound))
    permissions = [layer.allow_irreversible for layer in layers if layer.allow_irreversible is not None]
    events = [event for layer in reversed(layers) for event in layer.notify]
    return replace(
        policy,
        **{**values, **bounds},
        retry=_retry(layers),
        allow_irreversible=bool(permissions) and all(permissions),
        notify=list(dict.fromkeys(events)),
    )


def _retry(layers: Iterable[Layer]) -> RetryPolicy | None:
    retry: RetryPolicy | None = None
    for layer in layers:
        retry = layer.retry or retry
        if layer.max_retries is not None:
            retry = replace(retry or RetryPolicy(), max_retries=layer.max_retries)
    return retry


def _rules(layers: Sequence[Layer]) -> list[RecoveryRule]:
    return [rule for layer in reversed(layers) for rule in layer.rules]


def _agent_policies(
    agents: Mapping[str, AgentRecovery], policy: RunPolicy, workflow: Sequence[Layer]
) -> dict[str, AgentPolicy]:
    """The agents' own times and retries, as far as no policy of the workflow speaks of the same."""
    timed = any("step_timeout" in layer.values for layer in workflow)
    retried = _retry(workflow) is not None
    own: dict[str, AgentPolicy] = {}
    for name, agent in agents.items():
        layer = agent.layer()
        timeout = None if timed else layer.values.get("step_timeout")
        retries = None if retried else layer.max_retries
        retry = None if retries is None else replace(policy.retry or RetryPolicy(), max_retries=retries)
        if timeout is not None or retry is not None:
            own[name] = AgentPolicy(timeout, retry)
    return own
