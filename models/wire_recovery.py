"""What a run may do about its failures, and what it has done so far, as it hands them on when it continues as new.

Standard library only, like `models.wire`, and for the same reasons. `activities.policies` makes a `RunPolicy` out of the
tenant's, the workflow's and the definition's policies when a run starts; `workflows.recovery` decides by it.
"""

# no `from __future__ import annotations` here: annotations that are text make decoding three times as slow
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ActionType = Literal[
    "retry", "retry_failed_part", "rollback", "prompt_edit", "model_fallback", "escalate", "manual_intervention"
]


@dataclass(frozen=True)
class RetryPolicy:
    """How often a step is tried again, and how long to wait before: `initial_interval` seconds, each time `backoff` times as long."""

    max_retries: int = 0
    initial_interval: float = 1.0
    backoff: float = 2.0
    max_interval: float = 30.0


@dataclass(frozen=True)
class RecoveryAction:
    """One thing to do about a failure.

    `times` is how often it may be taken in one run; 0 is without bound, for actions that wait for a person. The n-th time
    waits `delay` seconds times `backoff` to the power n, `max_delay` at most.

    With `redo` the models are asked anew from the last checkpoint, in a new lineage; without it the answers that the failed
    attempt got are kept. `to` is where a rollback goes: `last`, `start`, or a checkpoint's number or name, and `steps_back`
    checkpoints before that; then the run goes on, or without `resume` waits for a person. `prompts` and `models` are the
    edits that go along, by the name of an agent or `*`; with `append` a prompt is added to what is there.
    """

    type: ActionType = "retry"
    times: int = 1
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float = 3600.0
    redo: bool = False
    to: str = "last"
    steps_back: int = 0
    resume: bool = True
    prompts: dict[str, str] = field(default_factory=dict)
    append: bool = False
    models: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class RecoveryRule:
    """What to do, in order, about failures of these types in steps of these agents; an empty list means all."""

    failure_types: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    actions: list[RecoveryAction] = field(default_factory=list)


@dataclass(frozen=True)
class AgentPolicy:
    """What holds for the steps of one agent instead of the run's own; None where it says nothing. Seconds."""

    step_timeout: float | None = None
    retry: RetryPolicy | None = None


@dataclass(frozen=True)
class PolicySource:
    """A stored policy that took part, in the version that held when the run began."""

    id: str = ""
    version: int = 1


@dataclass(frozen=True)
class RunPolicy:
    """All policies of a run, resolved. A bound of 0 is none; `max_cost` is in millionths of a credit.

    `max_actions` bounds what is done without a person in the whole run; the other bounds hold for what the run spends
    after its first failure. `rollback_on_failure` rolls back to the last checkpoint when no rule has anything left to do.
    """

    step_timeout: float | None = None
    retry: RetryPolicy | None = None
    agents: dict[str, AgentPolicy] = field(default_factory=dict)
    rules: list[RecoveryRule] = field(default_factory=list)
    max_actions: int = 10
    max_tokens: int = 0
    max_model_calls: int = 0
    max_cost: int = 0
    rollback_on_failure: bool = False
    allow_irreversible: bool = False
    max_rollbacks: int = 0
    on_exhausted: Literal["fail", "escalate"] = "fail"
    notify: list[str] = field(default_factory=list)
    sources: list[PolicySource] = field(default_factory=list)

    def timeout_of(self, agents: Sequence[str]) -> float | None:
        """Seconds for one attempt of a step in which these agents run; None where no policy says so.

        Agents that run at once each get their time, so the longest counts.
        """
        own = [self.agents[name].step_timeout for name in agents if name in self.agents]
        return max((seconds for seconds in own if seconds is not None), default=self.step_timeout)

    def retry_of(self, agents: Sequence[str]) -> RetryPolicy | None:
        """How a step in which these agents run is tried again: as the most patient of them, else as the run's policy says."""
        own = [self.agents[name].retry for name in agents if name in self.agents]
        return max((retry for retry in own if retry is not None), key=lambda r: r.max_retries, default=self.retry)


@dataclass(frozen=True)
class FailureInfo:
    """A step's failure, as far as a policy looks at it. `agents` are the names of what ran in the step.

    `retryable` says whether the same step could end otherwise when it is done again. `node` is the step's branch of a flow.
    """

    failure_type: str = "agent_error"
    retryable: bool = True
    step: str = ""
    agents: list[str] = field(default_factory=list)
    node: str = ""


@dataclass(frozen=True)
class Usage:
    """What a run has used since it began. `cost` is in millionths of a credit."""

    tokens: int = 0
    model_calls: int = 0
    cost: int = 0


@dataclass(frozen=True)
class Spent:
    """What was done about failures so far: how often each action was taken, by its place in the policy.

    `actions` counts what was done without a person, `rollbacks` those among them. `before` is what the run had used at
    its first failure.
    """

    taken: dict[str, int] = field(default_factory=dict)
    actions: int = 0
    rollbacks: int = 0
    before: Usage | None = None


@dataclass(frozen=True)
class Decision:
    """What to do now: `act` on `action` after `delay` seconds, `wait` for a person, or `fail`.

    `source` is the action's place in the policy (`rules[0].actions[1]`), `why` a sentence for people, `spent` what counts
    from now on.
    """

    outcome: Literal["act", "wait", "fail"] = "fail"
    action: RecoveryAction | None = None
    delay: float = 0.0
    source: str = ""
    why: str = ""
    spent: Spent = field(default_factory=Spent)
