"""One attempt of one step, as the gateway knows it."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from activities.adapters.base import ModelRejected, StaleAttempt, StepError
from models.repositories.journal import StepKey
from models.repositories.ledger import CallKey


class Holds:
    """The calls of an attempt for which credits are held. Used on the gateway's loop alone."""

    def __init__(self) -> None:
        self._calls: set[CallKey] = set()
        #: Set when the next of them is settled or released.
        self.freed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: CallKey) -> None:
        self._calls.add(call)

    def remove(self, call: CallKey) -> None:
        if call in self._calls:
            self._calls.remove(call)
            freed, self.freed = self.freed, asyncio.Event()
            freed.set()


@dataclass
class StepSession:
    """Holds what the gateway must remember while an attempt runs; it is gone with the attempt.

    `attempt` is the fence that the step's row must still show. `token` is the unguessable part of the base URL.
    Occurrences are taken and given back on the gateway's loop alone.
    """

    tenant_id: UUID
    step: StepKey
    attempt: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    #: Called once, from the gateway's thread, when `outcome` is decided while the attempt runs.
    on_decided: Callable[[], None] = lambda: None

    #: What decides the step, whatever the framework makes of it: the model is away, or the attempt is stale.
    outcome: StepError | None = None
    #: The last refusal by the model (400, 401 ...). The framework may cope with it; if the step fails, this is why.
    rejection: ModelRejected | None = None
    model_calls: int = 0
    tool_calls: int = 0
    #: Answered calls of tools whose answer is an error.
    tool_failures: int = 0
    tokens: int = 0
    #: In millionths of a credit.
    cost: int = 0

    holds: Holds = field(default_factory=Holds)
    #: How often each request was made in this attempt.
    seen: Counter[str] = field(default_factory=Counter)
    _given_back: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _counted: set[tuple[str, int]] = field(default_factory=set)

    def take_occurrence(self, request_hash: str) -> int:
        """Which one of the equal requests this is, from 0: the n-th equal request gets the n-th answer."""
        if self._given_back[request_hash]:
            return heapq.heappop(self._given_back[request_hash])
        self.seen[request_hash] += 1
        return self.seen[request_hash] - 1

    def give_back_occurrence(self, request_hash: str, occurrence: int) -> None:
        """The caller went away unanswered: when it asks again, that is the same call, and is paid for once."""
        heapq.heappush(self._given_back[request_hash], occurrence)

    def count(self, kind: str, request_hash: str, occurrence: int, tokens: int, cost: int) -> None:
        """Adds an answered call to the totals, once however often it is asked for."""
        if (request_hash, occurrence) in self._counted:
            return
        self._counted.add((request_hash, occurrence))
        self.tokens += tokens
        self.cost += cost
        if kind == "model":
            self.model_calls += 1
        else:
            self.tool_calls += 1

    @property
    def answered(self) -> frozenset[tuple[str, int]]:
        """The calls that this attempt has the answers of: the hash of the request, and its occurrence."""
        return frozenset(self._counted)

    def decide(self, outcome: StepError) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.on_decided()

    def close(self) -> None:
        """The attempt is over: what still wants to be sent for it is refused, and nobody waits for its outcome."""
        self.on_decided = lambda: None
        self.decide(StaleAttempt(f"Attempt {self.attempt} of the step is over."))
