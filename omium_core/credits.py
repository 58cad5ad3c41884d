"""Credits as people write them, and as they are counted: in millionths of a credit ("micro"), as integers.

One credit is one US cent. A single model call costs a small part of it, so nothing inside is ever a fraction.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

MICRO = 1_000_000
#: Credits in a US dollar.
PER_DOLLAR = 100
#: More than anybody owns, and still far from what a BIGINT holds.
MOST_MICRO = 10**15


def to_credits(micro: int) -> int | float:
    """For answers: a whole number where it is one, else up to six decimals."""
    whole, rest = divmod(micro, MICRO)
    return whole if rest == 0 else micro / MICRO


def to_micro(credits: Decimal | float) -> int:
    """Parts of a millionth are rounded up: what is paid for is never a little less."""
    return int((Decimal(str(credits)) * MICRO).to_integral_value(ROUND_CEILING))


def to_dollars(micro: int) -> float:
    return micro / (MICRO * PER_DOLLAR)
