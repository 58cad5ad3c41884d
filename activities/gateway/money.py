"""What calls cost: the most of it is held before a call is made, and what it did cost is settled with its answer.

A call without a price costs nothing: nothing is held for it and nothing is written. See docs/prices.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from activities.adapters.base import Unaffordable
from activities.gateway.bounds import Bound, bound
from activities.gateway.prices import FREE, PriceBook, Prices
from activities.gateway.session import StepSession
from models.database import Database, is_database_away
from models.pricing import Rate, Used, cost, most
from models.repositories.ledger import CallKey, Charge, release, reserve
from models.tables.base import now
from omium_core.credits import MOST_MICRO
from omium_core.settings import Settings

log = structlog.get_logger(__name__)

#: How long a hold waits for the database, in seconds; and how long one that is not needed any more is tried to be released
#: before that is left to the next attempt or to the bookkeeper.
HOLD_PATIENCE: Final = 60.0
RELEASE_PATIENCE: Final = 5.0


class Unpriced(Exception):
    """The model has no price, and models without one are refused."""


class Costly(Protocol):
    """What the price of an answer goes by."""

    name: str
    used: Used
    estimated: bool
    failed: bool


@dataclass(frozen=True)
class Quote:
    """What is known of a call's cost before it is made: `most` of it, and the price that it will be settled at.

    That price holds whatever becomes of the prices while the call is under way. Only where the name that was asked for has
    none can the name in the answer have one (`late`).
    """

    usage_type: str
    rate: Rate
    most: int = 0
    limit: Used | None = None
    late: Callable[[str], Rate] | None = None
    #: It is under way already, so that it has to be paid for in any case: what can be held for it is held.
    begun: bool = False

    def charge(self, answer: Costly, agent: str, attempt: int) -> Charge | None:
        """What an answer costs; None if it is free and nothing was held for it."""
        rate = self.rate if self.late is None else self.late(answer.name)
        if rate.is_free and not self.most:
            return None
        used = answer.used
        if answer.estimated and self.limit is not None:
            used = replace(used, input=min(used.input, self.limit.input), output=min(used.output, self.limit.output))
        is_model = self.usage_type == "model"
        return Charge(
            cost=0 if answer.failed else min(cost(rate, used), MOST_MICRO),
            usage_type=self.usage_type,
            resource=answer.name,
            agent=agent,
            attempt=attempt,
            input_tokens=used.input if is_model else None,
            cached_tokens=used.cached if is_model else None,
            output_tokens=used.output if is_model else None,
            price_id=rate.id,
            description="Tokens are estimated: the provider did not report them." if answer.estimated else None,
        )


#: Gives the quote of a call, when its tenant's prices are known.
Quoting = Callable[[Prices], Awaitable[Quote]]

FREE_OF_CHARGE: Final = Quote("model", FREE)


def models_quote(
    prices: Prices, endpoint: str, request: Mapping[str, Any], name: str, most_output_tokens: int
) -> Quote:
    """A call of a model of the platform's provider. Raises `Unpriced`."""
    at = now()
    late: Callable[[str], Rate] | None = None
    rate = prices.model(name, at)
    if rate is None:
        unpriced = prices.unpriced
        if unpriced is None:
            raise Unpriced
        rate, late = unpriced, lambda answered: prices.model(answered, at) or unpriced
    if rate.is_free:
        return Quote("model", rate, late=late)
    bounds = bound(endpoint, request)
    limit = _limit(bounds, rate.max_output_tokens, most_output_tokens)
    amount = min(most(rate, input_tokens=limit.input, output_tokens=limit.output), MOST_MICRO)
    return Quote("model", rate, amount, limit, late)


def _limit(bounds: Bound, models_limit: int | None, usual: int) -> Used:
    if models_limit is not None and bounds.output is not None:
        bounds = replace(bounds, output=min(bounds.output, models_limit))
    return Used(input=bounds.input, output=bounds.outputs(models_limit or usual))


def tools_quote(prices: Prices, *names: str) -> Quote:
    """A call of a tool, or a run of an agent elsewhere: priced by the call alone."""
    rate = Rate(per_call=(found := prices.tool(*names)).per_call, id=found.id)
    return Quote("tool", rate, min(cost(rate, Used()), MOST_MICRO))


class Till:
    """Holds and releases. Lives on the gateway's event loop."""

    def __init__(self, database: Database, settings: Settings, prices: PriceBook) -> None:
        self.prices = prices
        self._database = database
        self._enforced = settings.enforces_credits

    async def hold(self, session: StepSession, call: CallKey, quote: Quote) -> None:
        """Holds the most that a call can cost. `Unaffordable` if it cannot be paid for; then it must not be made.

        While other calls of the attempt hold something, it waits for what they leave.
        """
        if not quote.most:
            return
        while True:
            freed = session.holds.freed
            reserved = await reserve(
                self._database,
                session.tenant_id,
                call,
                session.attempt,
                quote.most,
                enforced=self._enforced and not quote.begun,
                patience=HOLD_PATIENCE,
            )
            if reserved.outcome == "held":
                session.holds.add(call)
                return
            if quote.begun:
                return
            if not (session.holds or freed.is_set()):
                budget = "" if reserved.budget_id is None else str(reserved.budget_id)
                log.info("call cannot be paid for", reason=reserved.outcome, step=session.step.step_index)
                raise Unaffordable(reserved.outcome, quote.most, budget)
            await freed.wait()
            if session.outcome is not None:
                raise session.outcome

    async def release(self, session: StepSession, call: CallKey, quote: Quote) -> None:
        """The call was not made, or gave nothing: it costs nothing. What is not released here is found by the bookkeeper."""
        if not quote.most:
            return
        try:
            await release(self._database, session.tenant_id, call, attempt=session.attempt, patience=RELEASE_PATIENCE)
        except Exception as error:
            if not is_database_away(error):
                raise
            log.warning("a hold could not be released yet", step=session.step.step_index)
        finally:
            session.holds.remove(call)
