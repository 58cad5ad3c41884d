"""Pure: which price holds for a call, what the call can cost at most, and what it did cost.

Prices are in credits per million tokens, which is the same number in millionths of a credit per token.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from uuid import UUID

from omium_core.credits import MICRO

#: Tokens that a model's own way of writing a message down may add to it.
MESSAGE_OVERHEAD = 16

GIGABYTE = 10**9


@dataclass(frozen=True)
class Rate:
    """What a price says, in credits. `id` is that of its version in the table, None for one of the settings."""

    input_per_1m: Decimal = Decimal(0)
    output_per_1m: Decimal = Decimal(0)
    #: None: cached input costs what other input costs.
    cached_per_1m: Decimal | None = None
    per_call: Decimal = Decimal(0)
    id: UUID | None = None
    #: The longest answer of the model; None where nobody said.
    max_output_tokens: int | None = None

    @property
    def is_free(self) -> bool:
        return not (self.input_per_1m or self.output_per_1m or self.cached_per_1m or self.per_call)


@dataclass(frozen=True)
class PriceVersion:
    """A row of the table of prices."""

    kind: str
    name: str
    own: bool
    effective_from: datetime
    number: int
    withdrawn: bool
    rate: Rate


@dataclass(frozen=True)
class Used:
    """Tokens of an answer. `cached` are among the `input`."""

    input: int = 0
    cached: int = 0
    output: int = 0


def rate_at(versions: Iterable[PriceVersion], kind: str, name: str, at: datetime) -> Rate | None:
    """The price that holds at a moment: the tenant's own before that for all, of each the one that took effect last."""
    best: dict[bool, PriceVersion] = {}
    for version in versions:
        if version.kind == kind and version.name == name and version.effective_from <= at:
            known = best.get(version.own)
            if known is None or (known.effective_from, known.number) < (version.effective_from, version.number):
                best[version.own] = version
    for own in (True, False):
        found = best.get(own)
        if found is not None and not found.withdrawn:
            return found.rate
    return None


def cost(rate: Rate, used: Used) -> int:
    """In millionths of a credit, rounded up once."""
    cached_price = rate.input_per_1m if rate.cached_per_1m is None else rate.cached_per_1m
    cached = min(used.cached, used.input)
    amount = (
        rate.input_per_1m * (used.input - cached)
        + cached_price * cached
        + rate.output_per_1m * used.output
        + rate.per_call * MICRO
    )
    return int(amount.to_integral_value(ROUND_CEILING))


def most(rate: Rate, *, input_tokens: int, output_tokens: int) -> int:
    """The most that a call can cost with at most so many tokens; cached input never makes it dearer than the dearer price."""
    dearest = max(rate.input_per_1m, rate.cached_per_1m or Decimal(0))
    return cost(Rate(dearest, rate.output_per_1m, None, rate.per_call), Used(input=input_tokens, output=output_tokens))


def storage_cost(rate: Rate, stored: int, day: date) -> int:
    """A day of so many bytes, at a price for a gigabyte (10^9 bytes) in a month, rounded up once."""
    days = monthrange(day.year, day.month)[1]
    return int((rate.per_call * MICRO * stored / GIGABYTE / days).to_integral_value(ROUND_CEILING))
