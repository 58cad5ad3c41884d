"""One attempt of one step, as the gateway knows it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from activities.adapters.base import ModelRejected, StepError
from models.repositories.journal import StepKey


@dataclass
class StepSession:
    """Holds what the gateway must remember while an attempt runs; it is gone with the attempt.

    `attempt` is the fence that the step's row must still show. `token` is the unguessable part of the base URL.
    """

    tenant_id: UUID
    step: StepKey
    attempt: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    #: Called once, from the gateway's thread, when `outcome` is decided.
    on_decided: Callable[[], None] = lambda: None

    #: How often each request was made in this attempt: the n-th equal request gets the n-th answer.
    seen: Counter[str] = field(default_factory=Counter)
    #: What decides the step, whatever the framework makes of it: the model is away, or the attempt is stale.
    outcome: StepError | None = None
    #: The last refusal by the model (400, 401 ...). The framework may cope with it; if the step fails, this is why.
    rejection: ModelRejected | None = None
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0

    def next_occurrence(self, request_hash: str) -> int:
        self.seen[request_hash] += 1
        return self.seen[request_hash] - 1

    def decide(self, outcome: StepError) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.on_decided()
