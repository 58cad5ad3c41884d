"""The types of policies as users write them, one model per type, and what each contributes to a run's policy.

The same models read the rows of `execution_policies`, `policies` in a definition, and an agent's `recovery_policies`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from activities.policies.actions import Actions
from activities.policies.channels import Channel, Channels
from activities.policies.parts import Count, Layer, Millis, Name, Part, Seconds, missing
from models.wire_recovery import RecoveryAction, RecoveryRule, RetryPolicy

#: What a rule may name; `failures` knows what they mean.
FailureType = Literal[
    "agent_error",
    "consensus_violation",
    "external_failed",
    "external_refused",
    "external_unavailable",
    "external_unknown",
    "hallucination",
    "model_rejected",
    "model_unavailable",
    "state_sync",
    "storage_unavailable",
    "timeout",
    "tool_invocation",
    "validation_error",
    "worker_lost",
]

FAILURE_TYPES: tuple[str, ...] = get_args(FailureType)
Event = Annotated[
    str,
    Field(
        pattern=r"^(\*|(execution|step|checkpoint|failure|recovery|rollback|effect|approval|handoff|consensus)\.(\*|[a-z_]+))$",
        description="An event's name, such as `execution.failed`; `recovery.*` for all of a kind, `*` for all.",
    ),
]


_TIMEOUTS = ("timeout_seconds", "timeout_ms")
_STEP_TIMEOUTS = (*_TIMEOUTS, "step_timeout_seconds", "step_timeout_ms")


class TimeoutConfig(Part):
    """How long one attempt of a step may take."""

    timeout_seconds: Seconds | None = None
    timeout_ms: Millis | None = None
    step_timeout_seconds: Seconds | None = None
    step_timeout_ms: Millis | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> TimeoutConfig:
        self.only_one(*_STEP_TIMEOUTS)
        if self.duration(*_STEP_TIMEOUTS) is None:
            raise missing("timeout_seconds")
        return self

    def layer(self) -> Layer:
        return Layer(values={"step_timeout": self.duration(*_STEP_TIMEOUTS)})


class RetryConfig(Part):
    """How often a step is tried again, and how long to wait before."""

    max_retries: Annotated[int, Field(ge=0, le=100)]
    initial_interval_seconds: Seconds | None = None
    initial_interval_ms: Millis | None = None
    backoff: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = RetryPolicy.backoff
    max_interval_seconds: Seconds | None = None
    max_interval_ms: Millis | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> RetryConfig:
        self.only_one("initial_interval_seconds", "initial_interval_ms")
        self.only_one("max_interval_seconds", "max_interval_ms")
        return self

    def layer(self) -> Layer:
        first = self.duration("initial_interval_seconds", "initial_interval_ms") or RetryPolicy.initial_interval
        longest = self.duration("max_interval_seconds", "max_interval_ms") or max(RetryPolicy.max_interval, first)
        return Layer(retry=RetryPolicy(self.max_retries, first, self.backoff, longest))


class Rule(Part):
    """What to do, in this order, about failures of these types in steps of these agents; empty lists mean all."""

    failure_types: list[FailureType] = Field(default_factory=list)
    agents: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    actions: Actions

    def rule(self) -> RecoveryRule:
        return RecoveryRule(list(self.failure_types), list(self.agents), [given.action() for given in self.actions])


class AgentRecovery(Part):
    """What to do when a step fails, in short: `recovery_policies` of an agent.

    `max_retries` comes first: a step is tried again that often. Then `on_failure` is done once, or the `actions` in order.
    """

    on_failure: Literal["retry", "retry_failed_part", "rollback", "escalate", "manual_intervention"] | None = None
    actions: Actions | None = None
    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    timeout_seconds: Seconds | None = None
    timeout_ms: Millis | None = None

    @model_validator(mode="after")
    def _short_form_is_clear(self) -> AgentRecovery:
        self.only_one("on_failure", "actions")
        self.only_one(*_TIMEOUTS)
        return self

    def short_rules(self, agents: list[str]) -> list[RecoveryRule]:
        """The rule that the short form stands for, if it needs one."""
        if self.actions is not None:
            return [RecoveryRule(agents=agents, actions=[given.action() for given in self.actions])]
        if self.on_failure is None:
            return []
        if self.on_failure == "retry" and self.max_retries is not None:
            return []  # the retries themselves
        times = 0 if self.on_failure in ("escalate", "manual_intervention") else 1
        return [RecoveryRule(agents=agents, actions=[RecoveryAction(self.on_failure, times=times)])]

    def layer(self) -> Layer:
        timeout = self.duration(*_TIMEOUTS)
        values = {} if timeout is None else {"step_timeout": timeout}
        return Layer(values=values, max_retries=self.max_retries, rules=self.short_rules([]))


class RecoveryConfig(AgentRecovery):
    """What to do about failures: rules, of which the first that fits counts, and bounds for the whole run.

    The bounds of spend hold for what a run uses after its first failure.
    """

    rules: Annotated[list[Rule], Field(max_length=50)] = Field(default_factory=list)
    max_actions: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_tokens: Count | None = None
    max_model_calls: Count | None = None
    max_credits: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    on_exhausted: Literal["fail", "escalate"] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RecoveryConfig:
        if not self.model_dump(exclude_defaults=True):
            raise missing("rules")
        return self

    def layer(self) -> Layer:
        layer = super().layer()
        # the short form is for all failures that no rule takes
        layer.rules = [rule.rule() for rule in self.rules] + layer.rules
        bounds = {
            "max_actions": self.max_actions,
            "max_tokens": self.max_tokens,
            "max_model_calls": self.max_model_calls,
        }
        if self.max_credits is not None:
            bounds["max_cost"] = max(1, round(self.max_credits * 1_000_000))
        layer.bounds = {name: bound for name, bound in bounds.items() if bound is not None}
        if self.on_exhausted is not None:
            layer.values["on_exhausted"] = self.on_exhausted
        return layer


class RollbackConfig(Part):
    """Whether a run rolls back by itself, how often at most, and whether over effects that cannot be undone."""

    on_failure: bool | None = None
    max_rollbacks: Annotated[int, Field(ge=1, le=100)] | None = None
    allow_irreversible: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RollbackConfig:
        if not self.model_dump(exclude_none=True):
            raise missing("on_failure")
        return self

    def layer(self) -> Layer:
        return Layer(
            values={} if self.on_failure is None else {"rollback_on_failure": self.on_failure},
            bounds={} if self.max_rollbacks is None else {"max_rollbacks": self.max_rollbacks},
            allow_irreversible=self.allow_irreversible,
        )


class NotificationConfig(Part):
    """Which events of a run are told to people, and where: without a channel, in the log of the worker."""

    events: Annotated[list[Event], Field(min_length=1, max_length=100)]
    channels: Channels = Field(default_factory=list)

    def layer(self) -> Layer:
        return Layer(notify=list(self.events))

    def channels_for(self, event_type: str) -> list[tuple[int, Channel]]:
        """The channels that an event is told to, with their places."""
        kind = event_type.partition(".")[0]
        if not {event_type, f"{kind}.*", "*"} & set(self.events):
            return []
        return list(enumerate(self.channels or [Channel(type="log")]))


_PER_AGENT = ("timeout_per_agent_seconds", "timeout_per_agent_ms")


class DefinitionPolicies(Part):
    """`policies` of a definition: the short form, and each type of policy under its name."""

    timeout_per_agent_seconds: Seconds | None = None
    timeout_per_agent_ms: Millis | None = None
    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    rollback_on_failure: bool | None = None
    timeout: TimeoutConfig | None = None
    retry: RetryConfig | None = None
    recovery: RecoveryConfig | None = None
    rollback: RollbackConfig | None = None
    notification: NotificationConfig | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> DefinitionPolicies:
        self.only_one(*_PER_AGENT, "timeout")
        self.only_one("max_retries", "retry")
        for place, channel in enumerate(self.notification.channels if self.notification else ()):
            if channel.secret or channel.headers:
                # a definition is shown as it was written, and kept where code is kept
                at = f"notification.channels[{place}].{'secret' if channel.secret else 'headers'}"
                raise PydanticCustomError("secret", "Belongs in a stored policy of the workflow.", {"at": at})
        return self

    def layers(self) -> list[Layer]:
        parts = (self.timeout, self.retry, self.recovery, self.rollback, self.notification)
        short = Layer(max_retries=self.max_retries)
        timeout = self.duration(*_PER_AGENT)
        if timeout is not None:
            short.values["step_timeout"] = timeout
        if self.rollback_on_failure is not None:
            short.values["rollback_on_failure"] = self.rollback_on_failure
        return [*(part.layer() for part in parts if part is not None), short]
